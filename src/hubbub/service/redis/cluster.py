"""Redis Cluster: which of its servers has which slot, and a connection to each that has any.

It follows slots to other servers, in order, and a shard to its new primary. It changes nothing in
the cluster.
"""

import asyncio
import logging
import random
from binascii import crc_hqx
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from hubbub.errors import ConfigError
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.redis.address import Place, RedisAddress
from hubbub.service.redis.link import AWAY, Limits, Link, RedisAnswerError, dial, fail
from hubbub.service.redis.moving import Moving, Waiting
from hubbub.service.redis.redis import SHARDED, Observer
from hubbub.service.redis.server import Server
from hubbub.service.redis.single import Nobody

__all__ = ["ELSEWHERE", "ClusterRedis", "slot_of"]

_logger = logging.getLogger("hubbub.service.redis")
_SLOTS: Final = 16384
# Seconds between two looks at who has which slot: unasked, and while something is wrong. Nobody
# tells a listener that its server has become a replica: messages still come, but it counts nowhere.
_LOOK: Final = 1.0
_LOOK_SOON: Final = 0.2
_LEAST_PAUSE: Final = 0.02
# Answers by which a server says that it does not, or not now, do what a slot's server does.
ELSEWHERE: Final = {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING"}


def slot_of(key: bytes) -> int:
    """The slot of a key: that of what is in its first braces, if they hold anything."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % _SLOTS


class _Range(NamedTuple):
    """Some slots, and where they are: the primary's place first."""

    first: int
    last: int
    places: list[Place]


class ClusterRedis:
    """Keys and channels spread over primaries. Satisfies `Redis`."""

    def __init__(self, address: RedisAddress, limits: Limits | None = None) -> None:
        self.commands = SHARDED
        self._address = address
        self._limits = limits if limits is not None else Limits()
        self._observer: Observer = Nobody()
        self._servers: dict[Place, Server] = {}
        self._owners: list[Server | None] = [None] * _SLOTS
        self._moving: dict[int, Moving] = {}
        self._known: set[Place] = set()
        self._informed: Place | None = None
        self._is_covered = False
        self._look = asyncio.Event()
        self._looker: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"ClusterRedis({str(self._address)!r}, {list(self._servers.values())!r})"

    @property
    def is_connected(self) -> bool:
        """Whether every slot has a server that can be reached."""
        return self._is_covered and all(each.link for each in self._servers.values())

    async def open(self, observer: Observer | None = None) -> None:
        """Connect, and stay connected. Raises `ConfigError` where that cannot be."""
        self._observer = observer or Nobody()
        try:
            ranges = await self._ask_anybody()
            for place in {each.places[0] for each in ranges}:
                self._servers[place] = server = self._server(place)
                await server.connect()
        except (OSError, BackplaneError) as error:
            await self.close()
            raise ConfigError(
                f"{self._address} cannot be used: {str(error).rstrip('.')}. Is a Redis Cluster of "
                "version 7 or newer running there, and is what --backplane says right?"
            ) from None
        self._assign(ranges)
        self._looker = asyncio.get_running_loop().create_task(self._keep_looking())

    async def close(self) -> None:
        """End, when what has been asked for is answered or has failed."""
        if self._looker is not None:
            self._looker.cancel()
            with suppress(asyncio.CancelledError):
                await self._looker
        for moving in self._moving.values():
            moving.fail(BackplaneError(AWAY))
        await asyncio.gather(*(server.close() for server in self._servers.values()))
        await asyncio.gather(*self._closing)

    def slot(self, key: bytes) -> int:
        """Where a key or channel belongs."""
        return slot_of(key)

    def link(self, slot: int) -> Link | None:
        """The connection to the server of a slot, while it is up."""
        server = self._owners[slot]
        return server.link if server is not None else None

    def links(self) -> list[Link]:
        """The connections that are up, one to each primary."""
        return [each.link for each in self._servers.values() if each.link is not None]

    def call(self, slot: int, *command: Any) -> asyncio.Future[Any]:
        """Ask the server of a slot, or wait for its next server while it moves."""
        if self._moving and slot in self._moving:
            return self._moving[slot].put(command)
        link = self.link(slot)
        if link is not None:
            return link.call(*command, refused=partial(self._refused, slot, None))
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        fail(done, BackplaneError(AWAY))
        return done

    def refresh(self) -> None:
        """Find out anew which server has which slots."""
        self._look.set()

    def joined(self, link: Link) -> None:
        """A server can be reached."""
        self._observer.joined(link)

    def lost(self, link: Link) -> None:
        """A server cannot be reached: another may be made primary for it."""
        self._observer.lost(link)
        self.refresh()

    def pushed(self, link: Link, push: list[Any]) -> None:
        """A message has come."""
        self._observer.pushed(link, push)

    def moved(self) -> None:
        """Never called: this is who finds out."""

    def _server(self, place: Place) -> Server:
        async def find() -> Place:
            return place

        return Server(self._address, find, self._limits, self)

    def _refused(
        self,
        slot: int,
        deadline: float | None,
        link: Link,
        command: tuple[Any, ...],
        done: "asyncio.Future[Any]",
        error: RedisAnswerError,
    ) -> None:
        """Keep for another server what one has not done because it is not its to do."""
        loop = asyncio.get_running_loop()
        if deadline is None:
            deadline = loop.time() + self._limits.answer_timeout
        if error.code not in ELSEWHERE or deadline <= loop.time():
            fail(done, error)
            return
        place = _place_named(error)
        if error.code == "ASK" and place in self._servers:
            # This key alone has moved already; its slot will.
            there = self._servers[place].link
            if there is not None:
                there.call(b"ASKING")
                there.call(*command, refused=partial(self._refused, slot, deadline), done=done)
                return
        moving = self._moving.get(slot)
        if moving is None:
            moving = self._moving[slot] = Moving(self._limits)
            # Its answer comes after those to everything that has been sent there before.
            link.call(b"PING").add_done_callback(partial(self._emptied, moving))
        moving.refused(Waiting(command, done, deadline, error))
        self._informed = place or self._informed
        self.refresh()

    def _emptied(self, moving: Moving, _: object) -> None:
        moving.is_emptied = True
        self.refresh()

    def _release(self) -> None:
        """Send on what has waited for slots whose servers can be reached."""
        now = asyncio.get_running_loop().time()
        for slot, moving in list(self._moving.items()):
            moving.expire(now)
            link = self.link(slot)
            if moving.is_emptied and (link is not None or not moving):
                del self._moving[slot]
                for call in moving.take():
                    assert link is not None
                    refused = partial(self._refused, slot, call.deadline)
                    link.call(*call.command, refused=refused, done=call.done)

    async def _keep_looking(self) -> None:
        while True:
            is_fine = self.is_connected and not self._moving
            pause = _LOOK * random.uniform(0.8, 1.2) if is_fine else _LOOK_SOON  # noqa: S311
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look.wait()
            self._look.clear()
            try:
                self._assign(await self._ask_anybody())
            except (OSError, BackplaneError) as error:
                _logger.warning("which server has which slots cannot be found out: %s", error)
            except Exception:  # what a server says is odd; others may say better
                _logger.exception("which server has which slots cannot be found out")
            self._release()
            await asyncio.sleep(_LEAST_PAUSE)

    async def _ask_anybody(self) -> list[_Range]:
        """Which servers have which slots, from the first server that says so."""
        links = [server.link for server in self._servers.values() if server.link is not None]
        random.shuffle(links)
        # Who has just been named as the owner of a slot knows the newest.
        links.sort(key=lambda link: link.place != self._informed)
        self._informed = None
        for link in links:
            with suppress(BackplaneError):
                return _ranges(await link.call(b"CLUSTER", b"SLOTS"), link.place)
        error: Exception = BackplaneError(AWAY)
        for place in [*self._address.places, *self._known]:
            try:
                link = await dial(self._address, place, self._limits, _ignored, _ignored)
            except (OSError, BackplaneError) as failure:
                error = failure
                continue
            try:
                return _ranges(await link.call(b"CLUSTER", b"SLOTS"), place)
            except BackplaneError as failure:
                error = failure
            finally:
                link.abort()
        raise error

    def _assign(self, ranges: list[_Range]) -> None:
        """Take over what has been found out."""
        self._known = {place for each in ranges for place in each.places}
        primaries = {each.places[0] for each in ranges}
        for place in primaries - self._servers.keys():
            self._servers[place] = self._server(place)
            self._servers[place].keep()
        owners: list[Server | None] = [None] * _SLOTS
        for each in ranges:
            count = each.last + 1 - each.first
            owners[each.first : each.last + 1] = [self._servers[each.places[0]]] * count
        has_changed = owners != self._owners
        self._owners = owners
        self._is_covered = None not in owners
        if has_changed:
            _logger.info("slots of the cluster are with %d servers", len(primaries))
            self._observer.moved()
        for place in self._servers.keys() - primaries:
            task = asyncio.get_running_loop().create_task(self._servers.pop(place).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _ranges(answer: list[Any], asked: Place) -> list[_Range]:
    """Read the answer to CLUSTER SLOTS. A server that names no host means the one asked."""
    return [
        _Range(
            first, last, [((host or b"").decode() or asked[0], port) for host, port, *_ in those]
        )
        for first, last, *those in answer
    ]


def _place_named(error: RedisAnswerError) -> Place | None:
    """The server that an answer as `MOVED 3999 127.0.0.1:6381` names."""
    host, _, port = str(error).rpartition(" ")[2].rpartition(":")
    return (host, int(port)) if host and port.isdecimal() else None


def _ignored(*what: object) -> None:
    """A server is asked one thing only."""
