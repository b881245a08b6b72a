"""Deadlines of many connections, kept with one timer: to set or lift one costs an attribute.

It ends nothing itself. Who is late is told so, up to half a second after the time.
"""

import asyncio
from typing import Final, Protocol

__all__ = ["NEVER", "Deadlines", "Punctual"]

NEVER: Final = float("inf")
_PAUSE: Final = 0.5  # seconds between two looks; what is limited is limited to many seconds


class Punctual(Protocol):
    """Something with deadlines."""

    def expire(self, now: float) -> None:
        """Act where a deadline has passed at `now`, of the loop's clock. Called again and again."""


class Deadlines:
    """Those who have deadlines. There is a timer only while there are any."""

    __slots__ = ("_items", "_timer")

    def __init__(self) -> None:
        self._items: set[Punctual] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Deadlines({len(self._items)})"

    def add(self, item: Punctual) -> None:
        """Look after `item` from here on."""
        self._items.add(item)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._look)

    def discard(self, item: Punctual) -> None:
        """Look after `item` no more."""
        self._items.discard(item)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        # First, so that what goes wrong with one ends the looking after none.
        self._timer = loop.call_later(_PAUSE, self._look) if self._items else None
        now = loop.time()
        for item in tuple(self._items):
            item.expire(now)
