"""How many requests may be under way at the same time, for each template on its own.

So an app that is slow or dead keeps nobody waiting but those who want it. It sends nothing.
"""

import asyncio
from collections.abc import Iterable

from hubbub.protocol.upstreamtemplate import Template

__all__ = ["Slot", "Slots"]


class Slot:
    """The place of one delivery, as a context. It is left during a pause and taken again."""

    __slots__ = ("_free", "_is_taken", "_slots")

    def __init__(self, slots: "Slots", free: asyncio.Semaphore) -> None:
        self._slots = slots
        self._free = free
        self._is_taken = False

    def __repr__(self) -> str:
        return f"Slot(taken={self._is_taken})"

    async def __aenter__(self) -> "Slot":
        await self.take()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    async def take(self) -> None:
        """Return once there is a place. Those who wait get theirs in order."""
        await self._free.acquire()
        self._is_taken = True
        self._slots.taken += 1

    def leave(self) -> None:
        """Let the next one in. It may have been left before."""
        if self._is_taken:
            self._is_taken = False
            self._slots.taken -= 1
            self._free.release()


class Slots:
    """The places of all templates: `limit` for each."""

    def __init__(self, limit: int) -> None:
        self.taken = 0
        self._limit = limit
        self._free: dict[Template, asyncio.Semaphore] = {}

    def __repr__(self) -> str:
        return f"Slots(taken={self.taken}, templates={len(self._free)})"

    def of(self, template: Template) -> Slot:
        """A place for one delivery by `template`, to be taken."""
        free = self._free.get(template)
        if free is None:
            free = self._free[template] = asyncio.Semaphore(self._limit)
        return Slot(self, free)

    def keep(self, templates: Iterable[Template]) -> None:
        """Forget all other templates; who has a place by them, or waits for one, is not touched."""
        kept = set(templates)
        self._free = {template: free for template, free in self._free.items() if template in kept}
