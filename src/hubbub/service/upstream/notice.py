"""Log lines about deliveries: one each, and no flood of the same complaint.

The first of a kind is a warning. Those that follow within a minute are there at level DEBUG.
"""

import logging
import time
from collections.abc import Callable, Hashable
from typing import Final

__all__ = ["Notices"]

_logger = logging.getLogger("hubbub.service")
_QUIET_SECONDS: Final = 60.0
_MAX_KINDS: Final = 1000  # clients choose method names, so there is no end of kinds


class Notices:
    """Writes complaints and remembers what it has complained about."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[Hashable, float] = {}
        self._repeated: dict[Hashable, int] = {}

    def __repr__(self) -> str:
        return f"Notices({len(self._told)})"

    def complain(self, kind: Hashable, text: str) -> None:
        """Write `text` as a warning, unless one of this kind was written a short time ago."""
        now = self._clock()
        last = self._told.get(kind)
        if last is not None and now - last < _QUIET_SECONDS:
            self._repeated[kind] = self._repeated.get(kind, 0) + 1
            _logger.debug("upstream: %s", text)
            return
        if len(self._told) >= _MAX_KINDS:
            self._told.clear()
            self._repeated.clear()
        self._told[kind] = now
        more = self._repeated.pop(kind, 0)
        _logger.warning("upstream: %s%s", text, f" ({more} more like it before)" if more else "")
