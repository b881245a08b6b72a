"""A clock that stands still until a test moves it. Satisfies `Clock` of the timers."""

import asyncio
from datetime import UTC, datetime, timedelta


class StandingClock:
    """Time passes when everybody who is expected to wait does: `wait_for` says how many."""

    def __init__(self, start: str) -> None:
        self._now = datetime.fromisoformat(start).replace(tzinfo=UTC)
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + timedelta(seconds=seconds), future))
        self._changed.set()
        await future

    def put(self, moment: str) -> None:
        """Put the clock; who sleeps does not notice."""
        self._now = datetime.fromisoformat(moment).replace(tzinfo=UTC)

    async def wait_for(self, sleepers: int) -> None:
        """Return when so many wait for a later time."""
        while len(self._pending()) < sleepers:
            self._changed.clear()
            await self._changed.wait()

    def _pending(self) -> list[tuple[datetime, asyncio.Future[None]]]:
        self._sleepers = [entry for entry in self._sleepers if not entry[1].done()]
        return self._sleepers

    async def pass_until(self, moment: str, sleepers: int) -> None:
        """Let time pass until `moment`, waking one after the other as their times come."""
        end = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        while True:
            await self.wait_for(sleepers)
            due = min(when for when, _ in self._pending())
            if due > end:
                self._now = end
                return
            self._now = max(self._now, due)
            for when, future in self._pending():
                if when <= self._now:
                    future.set_result(None)
            await asyncio.sleep(0)
