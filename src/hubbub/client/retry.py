"""When a lost connection is tried again: a policy is asked after each failure."""

import random
from dataclasses import dataclass
from typing import Protocol

from hubbub.errors import ConfigError

__all__ = ["Backoff", "RetryPolicy"]


class RetryPolicy(Protocol):
    """Says how long to wait before the next attempt to reconnect."""

    def delay(self, attempt: int, elapsed: float, error: Exception) -> float | None:
        """Seconds to wait before `attempt`, which counts from 0; `None` gives up.

        `elapsed` is seconds since the connection was lost; `error` is why the last attempt, or
        the connection, failed.
        """


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits as the JavaScript client does, then goes on with the last delay. A `RetryPolicy`.

    The JavaScript client gives up after its four delays: its user can reload the page. A program
    that nobody watches should come back whenever the service does, so this one does not, unless
    `attempts` says so.
    """

    delays: tuple[float, ...] = (0, 2, 10, 30)  # seconds; the last one repeats
    jitter: float = 0.2  # each delay is up to this part longer or shorter, so clients spread
    attempts: int | None = None  # None goes on for ever

    def __post_init__(self) -> None:
        if not self.delays or min(self.delays) < 0 or not 0 <= self.jitter <= 1:
            raise ConfigError(
                "A Backoff needs delays of at least 0 seconds and a jitter from 0 to 1, "
                f"not {self.delays!r} and {self.jitter!r}."
            )

    def delay(self, attempt: int, elapsed: float, error: Exception) -> float | None:
        """Seconds to wait before `attempt`, `None` after the last one."""
        if self.attempts is not None and attempt >= self.attempts:
            return None
        delay = self.delays[min(attempt, len(self.delays) - 1)]
        return delay * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 no secret
