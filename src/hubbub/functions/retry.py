"""The retries policy of a function: how often a failed invocation is tried again, and when.

It applies to timers and to what clients of the service call, never to HTTP. It waits for nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubbub.functions.function import FunctionError
from hubbub.functions.timespan import parse_time_span

_STRATEGIES = {"fixeddelay": "fixedDelay", "exponentialbackoff": "exponentialBackoff"}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again."""

    count: int  # tries after the first one; -1: without end
    shortest: float  # seconds
    longest: float  # seconds; the same for a fixed delay

    def delay(self, attempt: int) -> float | None:
        """Seconds to wait before try number `attempt`, the first retry being 1; None: give up."""
        if self.count >= 0 and attempt > self.count:
            return None
        return float(min(self.longest, self.shortest * 2 ** min(attempt - 1, 60)))


def parse_retry(declared: Mapping[str, Any] | None) -> RetryPolicy | None:
    """The policy in the form of function.json, of host.json or of `@app.retry`."""
    if not declared:
        return None
    given = {str(key).replace("_", "").lower(): value for key, value in declared.items()}
    strategy = str(given.get("strategy", "")).replace("_", "").lower()
    if strategy not in _STRATEGIES:
        raise FunctionError(
            f"the retry strategy '{given.get('strategy')}' is not known; write 'fixed_delay' or "
            "'exponential_backoff' ('fixedDelay' or 'exponentialBackoff' in function.json)."
        )
    count = _count(given.get("maxretrycount"))
    if strategy == "fixeddelay":
        delay = _seconds(given, "delayInterval")
        return RetryPolicy(count, delay, delay)
    shortest, longest = _seconds(given, "minimumInterval"), _seconds(given, "maximumInterval")
    if longest < shortest:
        raise FunctionError("the retry policy's maximumInterval is below its minimumInterval.")
    return RetryPolicy(count, shortest, longest)


def _count(value: Any) -> int:
    try:
        count = int(str(value))
    except ValueError:
        count = -2
    if count < -1:
        raise FunctionError(
            f"the retry policy's maxRetryCount is {value!r}; it must be a whole number, "
            "-1 for no end."
        )
    return count


def _seconds(given: Mapping[str, Any], name: str) -> float:
    seconds = parse_time_span(str(given.get(name.lower())))
    if seconds is None:
        raise FunctionError(
            f"the retry policy needs a '{name}' of the form hours:minutes:seconds, "
            f"not {given.get(name.lower())!r}."
        )
    return seconds
