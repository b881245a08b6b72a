"""Says in the log that calls are refused because others cannot be reached: as it begins and ends.

A line for each would bury everything else just when somebody looks.
"""

import logging
from typing import Final

__all__ = ["Unreached"]

_logger = logging.getLogger("hubbub.service")
_QUIET: Final = 5.0  # seconds without such a call after which it is over


class Unreached:
    """The calls that one node has refused since it began."""

    def __init__(self) -> None:
        self._count = 0
        self._last = 0.0

    def __repr__(self) -> str:
        return f"Unreached({self._count})"

    def note(self, method: str, path: str, error: Exception, now: float) -> None:
        """A call has been refused. `now` is the loop's time."""
        if not self._count:
            _logger.warning("%s %s: %s Further calls that fail so are counted", method, path, error)
        self._count += 1
        self._last = now

    def sweep(self, now: float, *, is_whole: bool) -> None:
        """Say how many there were, when it is over. Called about once a second."""
        if is_whole and now - self._last >= _QUIET:
            self.close()

    def close(self) -> None:
        """Say how many there were, if there were any."""
        count, self._count = self._count, 0
        if count:
            _logger.warning(
                "%d %s refused because others could not be reached",
                count,
                "call was" if count == 1 else "calls were",
            )
