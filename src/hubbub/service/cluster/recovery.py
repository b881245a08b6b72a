"""After an outage: whether everybody is back who was there before, so that nothing is lost unseen.

Who reaches the others first would publish to nobody and be told that all went well. So until all
are back, what others might have to get is not said to have reached them.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from hubbub.service.backplane.backplane import Backplane, BackplaneError
from hubbub.service.leases import Leases

__all__ = ["Recovery"]

_logger = logging.getLogger("hubbub.service")
_MISSING: Final = "Other nodes are not back yet, and may have missed this."
# Only nodes that hear everything they shall hear listen to it: so its listeners can be counted.
_READY: Final = "ready"
_LOOK: Final = 0.05  # seconds between two looks while some are missing


class Recovery:
    """One node's view of whether the cluster is whole."""

    def __init__(self, backplane: Backplane, leases: Leases, lease: float) -> None:
        """`lease` is for how many seconds after an outage others are waited for at most."""
        self._backplane = backplane
        self._leases = leases
        self._lease = lease
        self.known = 0  # nodes that were there when last looked, while nothing was wrong
        self._task: asyncio.Task[None] | None = None
        self.is_whole = True

    def __repr__(self) -> str:
        return f"Recovery(is_whole={self.is_whole}, known={self.known})"

    def check(self) -> Callable[[], None]:
        """What raises `BackplaneError` when something that is published next has been published.

        It must not be said to have reached all where some are missing: as far as that is known now.
        """
        return _nothing if self.is_whole else _raise

    def begin(self) -> None:
        """This node hears everything that it shall hear, for the first time."""
        self._backplane.listen(_READY)

    def sweep(self) -> None:
        """Count who is there. Called about once a second."""
        if self.is_whole and self._task is None:
            self._start(self._count())

    def lost(self) -> None:
        """The others cannot be reached, or not all that they say is heard."""
        self.is_whole = False
        self._stop()
        # What would be listened to again with everything else says nothing about the rest.
        self._backplane.ignore(_READY)

    def joined(self) -> None:
        """The others can be reached, and everything is heard again."""
        self._backplane.listen(_READY)
        self._stop()
        self._start(self._wait())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _count(self) -> None:
        with suppress(BackplaneError):
            (known,) = await self._backplane.listeners([_READY])
            if self.is_whole:
                self.known = known

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._lease
        while not await self._are_back():
            if loop.time() >= deadline:
                _logger.warning("not all nodes are back after an outage; they are not waited for")
                break
            await asyncio.sleep(_LOOK)
        self.is_whole = True
        _logger.info("the other nodes are back")

    async def _are_back(self) -> bool:
        # Leases may have run out meanwhile, or be lost with what keeps them: so both are counted.
        try:
            (ready,) = await self._backplane.listeners([_READY])
            return ready >= max(self.known, len(await self._leases.live()))
        except BackplaneError:
            return False

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("looking for the other nodes failed", exc_info=error)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None


def _nothing() -> None:
    """All are there."""


def _raise() -> None:
    raise BackplaneError(_MISSING)
