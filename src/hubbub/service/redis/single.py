"""One Redis server, at an address of its own or wherever the sentinels say that it is."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hubbub.errors import ConfigError
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.redis.address import Place, RedisAddress
from hubbub.service.redis.link import AWAY, Limits, Link, dial, fail
from hubbub.service.redis.redis import SHARED, Observer
from hubbub.service.redis.server import Server

__all__ = ["SingleRedis"]


class SingleRedis:
    """All keys and channels on one server. Satisfies `Redis`."""

    def __init__(self, address: RedisAddress, limits: Limits | None = None) -> None:
        self.commands = SHARED
        self._address = address
        self._limits = limits if limits is not None else Limits()
        self._server: Server | None = None

    def __repr__(self) -> str:
        return f"SingleRedis({str(self._address)!r}, {self._server!r})"

    @property
    def is_connected(self) -> bool:
        """Whether the server can be reached."""
        return self._server is not None and self._server.link is not None

    async def open(self, observer: Observer | None = None) -> None:
        """Connect, and stay connected. Raises `ConfigError` where that cannot be."""
        find = self._ask_sentinels if self._address.kind == "sentinel" else self._at_its_address
        server = Server(self._address, find, self._limits, observer or Nobody())
        self._server = server
        try:
            await server.connect()
        except (OSError, BackplaneError) as error:
            self._server = None
            raise ConfigError(
                f"{self._address} cannot be used: {str(error).rstrip('.')}. Is Redis running "
                "there, and is what --backplane says right?"
            ) from None

    async def close(self) -> None:
        """End, when what has been asked for is answered or has failed."""
        if self._server is not None:
            await self._server.close()

    def slot(self, key: bytes) -> int:
        """There is one place for all."""
        return 0

    def link(self, slot: int) -> Link | None:
        """The connection, while it is up."""
        return self._server.link if self._server is not None else None

    def links(self) -> list[Link]:
        """The connection, while it is up."""
        link = self.link(0)
        return [link] if link is not None else []

    def call(self, slot: int, *command: Any) -> asyncio.Future[Any]:
        """Ask the server."""
        link = self.link(slot)
        if link is not None:
            return link.call(*command)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        fail(done, BackplaneError(AWAY))
        return done

    def refresh(self) -> None:
        """It is always the same server."""

    async def _at_its_address(self) -> Place:
        return self._address.places[0]

    async def _ask_sentinels(self) -> Place:
        """Where the primary is, from the first sentinel that knows it."""
        error: Exception = BackplaneError("There is no sentinel.")
        name = self._address.sentinel_name
        # Sentinels have passwords of their own, if any: the one in the URL is that of Redis.
        address = replace(self._address, user=None, password=None, db=0)
        for place in self._address.places:
            try:
                link = await dial(address, place, self._limits, _ignored, _ignored)
            except (OSError, BackplaneError) as failure:
                error = failure
                continue
            with suppress(BackplaneError):
                found = await link.call(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name)
                link.abort()
                if found:
                    return found[0].decode(), int(found[1])
            error = BackplaneError(f"The sentinels do not know a primary named {name!r}.")
            link.abort()
        raise error


class Nobody:
    """Is told what happens, and does nothing. Satisfies `Observer`."""

    def joined(self, link: Link) -> None:
        """A connection is there."""

    def lost(self, link: Link) -> None:
        """A connection is gone."""

    def pushed(self, link: Link, push: list[Any]) -> None:
        """A message has come."""

    def moved(self) -> None:
        """Slots have come to other servers."""


def _ignored(*what: object) -> None:
    """A sentinel is asked one thing only."""
