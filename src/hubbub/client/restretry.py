"""When a REST call is made again: the Azure SDK's rules. Nothing is, unless a policy is given."""

from dataclasses import dataclass

from hubbub.errors import ConfigError

__all__ = ["RestRetry"]

_REQUEST_TIMEOUT = 408
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class RestRetry:
    """How often a failed call is made again, and after how many seconds.

    A call that could not connect is not made again: the address is wrong, or nobody is there.
    """

    max_retries: int = 3
    delay: float = 0.8  # seconds
    max_delay: float = 60.0  # seconds, of exponential delays
    exponential: bool = False  # each delay is twice the one before

    def __post_init__(self) -> None:
        if self.max_retries < 0 or self.delay < 0 or self.max_delay < 0:
            raise ConfigError(f"A RestRetry has no negative numbers: {self!r}.")

    def delay_before(self, attempt: int) -> float | None:
        """Seconds to wait before `attempt`, which counts from 1; `None` gives up."""
        if attempt > self.max_retries:
            return None
        if not self.exponential:
            return self.delay
        doubled: float = self.delay * 2.0 ** min(attempt - 1, 64)
        return min(doubled, self.max_delay)

    @staticmethod
    def applies(status: int | None, *, is_message: bool) -> bool:
        """Whether a failure may be gone next time. `status` is `None` for no answer in time.

        What clients would get twice is not sent again after a 500 or a timeout: it may have been
        sent. Everything else can be repeated without harm.
        """
        if is_message:
            return status is not None and status > _SERVER_ERROR
        return status is None or status == _REQUEST_TIMEOUT or status >= _SERVER_ERROR
