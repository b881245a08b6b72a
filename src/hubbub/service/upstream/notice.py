"""Log lines about deliveries: one each, and no flood of the same complaint.

The first of a kind is a warning. Those that follow within a minute are there at level DEBUG, and
so is what is over a limit for all kinds: clients choose names, so they could make up kinds.
"""

import logging
import time
from collections.abc import Callable, Hashable
from typing import Final

__all__ = ["Notices"]

_logger = logging.getLogger("hubbub.service")
_QUIET_SECONDS: Final = 60.0
_MAX_KINDS: Final = 30  # in a minute


class Notices:
    """Writes complaints and remembers what it has complained about."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0
        self._told: set[Hashable] = set()
        self._repeated = 0

    def __repr__(self) -> str:
        return f"Notices({len(self._told)})"

    def complain(self, kind: Hashable, text: str) -> None:
        """Write `text` as a warning, unless one of this kind was written a short time ago."""
        now = self._clock()
        if now >= self._until:
            self._until = now + _QUIET_SECONDS
            self._told.clear()
            repeated, self._repeated = self._repeated, 0
            if repeated:
                _logger.warning("upstream: %d more complaints in the last minute", repeated)
        if kind in self._told or len(self._told) >= _MAX_KINDS:
            self._repeated += 1
            _logger.debug("upstream: %s", text)
            return
        self._told.add(kind)
        _logger.warning("upstream: %s", text)
