"""One Redis server that a node stays connected to: a connection that is lost is made again."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.redis.address import Place, RedisAddress
from hubbub.service.redis.link import AWAY, Limits, Link, dial, shown
from hubbub.service.redis.redis import Observer

__all__ = ["Server"]

_logger = logging.getLogger("hubbub.service.redis")
_FIRST_PAUSE: Final = 0.05  # seconds
_LONGEST_PAUSE: Final = 1.0  # seconds; a try costs little, and every try may end an outage

Find = Callable[[], Awaitable[Place]]


class Server:
    """Keeps `link` up, with growing pauses of random length where it cannot."""

    def __init__(
        self, address: RedisAddress, find: Find, limits: Limits, observer: Observer
    ) -> None:
        """`find` tells where the server is, every time that a connection is made."""
        self.link: Link | None = None
        self._address = address
        self._find = find
        self._limits = limits
        self._observer = observer
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Server({self.link!r})"

    async def connect(self) -> None:
        """Connect for the first time; `OSError` or `BackplaneError` say why it cannot be."""
        await self._connect()
        self.keep()

    def keep(self) -> None:
        """Stay connected from here on, without waiting for it."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """End, when what has been asked for is answered or has failed."""
        self._is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self.link is not None:
            await self.link.close()

    async def _connect(self) -> None:
        place = await self._find()
        link = await dial(self._address, place, self._limits, self._observer.pushed, self._fallen)
        if self._is_closed or not link.is_up:
            link.abort()
            raise BackplaneError(AWAY)
        if self._address.kind == "sentinel" and link.greeting.get(b"role") != b"master":
            link.abort()
            raise BackplaneError("It is not the primary yet.")
        self._lost.clear()
        self.link = link
        self._observer.joined(link)

    async def _keep(self) -> None:
        pause, has_failed = 0.0, False
        while True:
            if self.link is not None:
                pause, has_failed = 0.0, False
                await self._lost.wait()
            try:
                await self._connect()
            except Exception as error:  # whatever it is, this node must get back
                if not has_failed:
                    _logger.warning("%s cannot be reached: %s", self._address, error)
                has_failed = True
                pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (no secret)
            else:
                _logger.info("connected to %s again", self._address)

    def _fallen(self, link: Link) -> None:
        if link is not self.link:
            return  # it has never been in use
        self.link = None
        self._lost.set()
        if not self._is_closed:
            _logger.warning("the connection to %s is lost", shown(link.place))
        self._observer.lost(link)
