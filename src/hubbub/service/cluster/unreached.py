"""Says in the log what follows from others not being reached: once as it begins, once at the end.

A line for each call or client would bury everything else just when somebody looks.
"""

import logging
from enum import Enum
from typing import Final

__all__ = ["Unreached", "What"]

_logger = logging.getLogger("hubbub.service")
_QUIET: Final = 5.0  # seconds in which nothing like it has happened, after which it is over


class What(Enum):
    """What happens while others, or what all share, cannot be reached."""

    REFUSED = "calls that were refused"
    ELSEWHERE = "clients that were let in though they may have been elsewhere"
    UNKNOWN = "clients that were let in before other nodes could reach them"
    GROUPS = "times that a user's groups could not be read"


class Unreached:
    """What has happened at one node, and how often, since it began."""

    def __init__(self) -> None:
        self._counts: dict[What, int] = {}
        self._last = 0.0

    def __repr__(self) -> str:
        return f"Unreached({ {what.name: count for what, count in self._counts.items()} })"

    def note(self, what: What, text: str, now: float) -> None:
        """It has happened; `text` says to whom and why. `now` is the loop's time."""
        if what not in self._counts:
            _logger.warning("%s What is like it from now on is only counted.", text)
        self._counts[what] = self._counts.get(what, 0) + 1
        self._last = now

    def sweep(self, now: float, *, is_whole: bool) -> None:
        """Say how often, when it is over. Called about once a second."""
        if is_whole and now - self._last >= _QUIET:
            self.close()

    def close(self) -> None:
        """Say how often, if it has happened at all."""
        counts, self._counts = self._counts, {}
        for what, count in counts.items():
            _logger.warning("others could not be reached for a while; %s: %d", what.value, count)
