"""Nodes joined by Redis: each channel is a channel of its pub/sub. It keeps nothing in Redis.

What is remembered here is what this node listens to, so that it can be listened to again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from hubbub.service.backplane.backplane import BackplaneError, Receive
from hubbub.service.redis.cluster import ELSEWHERE
from hubbub.service.redis.link import AWAY, Link, RedisAnswerError, Subscribing, fail
from hubbub.service.redis.redis import Redis

__all__ = ["RedisBackplane"]

_logger = logging.getLogger("hubbub.service.backplane")
_MESSAGES: Final = {b"message", b"smessage"}
_ENDED: Final = {b"unsubscribe", b"sunsubscribe"}
_RETRY: Final = 1.0  # seconds until what was refused for another reason is asked for again


class _Heard:
    """A channel that this node listens to, or is about to."""

    __slots__ = ("asked", "is_confirmed", "link", "name", "slot", "waiting")

    def __init__(self, name: str, slot: int) -> None:
        self.name = name
        self.slot = slot
        self.link: Link | None = None  # on which it has been asked for
        self.asked: Subscribing | None = None  # while it is not answered
        self.is_confirmed = False
        self.waiting: list[asyncio.Future[None]] = []


class RedisBackplane:
    """Channels over Redis. Satisfies `Backplane` and `Observer`."""

    def __init__(self, redis: Redis, prefix: str = "hubbub") -> None:
        """Services that share a Redis have different prefixes. `redis` becomes this one's to open
        and to close.
        """
        self._redis = redis
        self._prefix = f"{prefix}:"
        self._heard: dict[bytes, _Heard] = {}
        self._missing: set[bytes] = set()  # remembered, and not listened to just now
        self._receive: Receive = _nobody
        self._changed: Callable[[bool], object] = bool
        self._was_connected = False
        self._is_open = False
        self._retry: asyncio.TimerHandle | None = None
        self._node_id = ""

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else f"missing={len(self._missing)}"
        return f"RedisBackplane({state}, channels={len(self._heard)}, {self._redis!r})"

    @property
    def is_connected(self) -> bool:
        """Whether Redis can be reached, and everything is listened to that shall be."""
        return self._redis.is_connected and not self._missing

    async def open(self, receive: Receive, changed: Callable[[bool], None]) -> None:
        """Begin, connected. Raises `ConfigError` where Redis cannot be used."""
        self._receive, self._changed = receive, changed
        await self._redis.open(self)
        self._is_open = self._was_connected = True

    async def close(self) -> None:
        """End, when what has been asked for is sent or has failed."""
        self._is_open = False
        if self._retry is not None:
            self._retry.cancel()
        await self._redis.close()

    def publish(self, channel: str, data: bytes) -> asyncio.Future[int]:
        """Send to every node that listens; the result is how many do."""
        redis = self._redis
        name = self._name(channel)
        return redis.call(redis.slot(name), redis.commands.publish, name, data)

    def listen(self, channel: str) -> asyncio.Future[None]:
        """Receive what is published to `channel`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        name = self._name(channel)
        heard = self._heard.get(name)
        if heard is None:
            heard = self._heard[name] = _Heard(channel, self._redis.slot(name))
            self._ask(name, heard)
        if heard.is_confirmed:
            done.set_result(None)
        elif heard.asked is None:
            fail(done, BackplaneError(AWAY))
        else:
            heard.waiting.append(done)
        return done

    def ignore(self, channel: str) -> None:
        """Receive no more from `channel`."""
        name = self._name(channel)
        heard = self._heard.pop(name, None)
        if heard is None:
            return
        self._missing.discard(name)
        _confirm(heard)
        link = self._redis.link(heard.slot)
        if link is not None and link is heard.link:
            link.subscribe(self._redis.commands.ignore, name, heard.slot)
        self._note()

    def call_itself(self, node_id: str) -> None:
        """Be known by this name from here on."""
        self._node_id = node_id
        for link in self._redis.links():
            link.call(b"CLIENT", b"SETNAME", f"hubbub-{node_id}")

    async def expel(self, node_id: str) -> None:
        """Have Redis end the connections of a node that is dead, wherever it has any."""
        ends = [_end_connections(link, f"hubbub-{node_id}") for link in self._redis.links()]
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, BaseException):  # one server's trouble is not the others'
                raise result

    async def listeners(self, channels: Sequence[str]) -> list[int]:
        """How many nodes listen to each of `channels`."""
        names = [self._name(channel) for channel in channels]
        slots: dict[Link | int, list[bytes]] = {}
        for name in names:
            slot = self._redis.slot(name)
            slots.setdefault(self._redis.link(slot) or slot, []).append(name)
        calls = [
            self._redis.call(self._redis.slot(those[0]), *self._redis.commands.ask, *those)
            for those in slots.values()
        ]
        counts: dict[bytes, int] = {}
        for answer in await asyncio.gather(*calls):
            counts |= zip(answer[::2], answer[1::2], strict=True)
        return [counts[name] for name in names]

    def joined(self, link: Link) -> None:
        """Listen to everything again that this server is responsible for."""
        if self._node_id:
            link.call(b"CLIENT", b"SETNAME", f"hubbub-{self._node_id}")
        self._listen_again()

    def lost(self, link: Link) -> None:
        """Remember what is not listened to any more."""
        for name, heard in self._heard.items():
            if heard.link is link:
                self._miss(name, heard)
        self._note()

    def moved(self) -> None:
        """Listen to what is to be found elsewhere."""
        for name, heard in self._heard.items():
            if heard.link is not None and heard.link is not self._redis.link(heard.slot):
                self._miss(name, heard)
        self._listen_again()

    def pushed(self, link: Link, push: list[Any]) -> None:
        """Take a message, or the end of a channel because its slot moves away."""
        kind, name = push[0], push[1]
        if kind in _MESSAGES:
            heard = self._heard.get(name)
            # From a server that has lost the channel since, it would come twice.
            if heard is not None and heard.link is link:
                try:
                    self._receive(heard.name, push[2])
                except Exception:  # this message is lost, the others and the connection go on
                    _logger.exception("a message on %r could not be taken", heard.name)
        elif kind in _ENDED:
            heard = self._heard.get(name)
            if heard is not None and heard.link is link and heard.is_confirmed:
                self._miss(name, heard)
                self._note()
                self._redis.refresh()

    def _name(self, channel: str) -> bytes:
        # A name may have half a surrogate pair, which JSON can write.
        return (self._prefix + channel).encode(errors="surrogatepass")

    def _ask(self, name: bytes, heard: _Heard) -> None:
        """Ask the responsible server for a channel, if there is one."""
        link = self._redis.link(heard.slot)
        if link is None:
            self._miss(name, heard)
            return
        batch = link.subscribe(self._redis.commands.listen, name, heard.slot)
        heard.link, heard.asked = link, batch
        if len(batch.channels) == 1:
            batch.done.add_done_callback(lambda _: self._answered(link, batch))

    def _answered(self, link: Link, batch: Subscribing) -> None:
        """Redis has confirmed or refused some channels, or will not any more."""
        is_lost = batch.done.cancelled() or batch.done.exception() is not None
        for name in batch.channels:
            heard = self._heard.get(name)
            if heard is None or heard.asked is not batch:
                continue  # ignored since, or asked for again
            if is_lost or name in batch.unconfirmed:
                self._miss(name, heard, batch.error)
                continue
            heard.asked, heard.is_confirmed = None, True
            self._missing.discard(name)
            _confirm(heard)
        if batch.error is not None:
            self._refused(batch.error)
        elif is_lost and link.is_up:
            self._retry_later()  # there was no room for it
        self._note()

    def _refused(self, error: RedisAnswerError) -> None:
        """See to it that what was refused is asked for again."""
        if error.code in ELSEWHERE:
            self._redis.refresh()
        else:
            _logger.error("Redis does not let this node listen: %s", error)
        self._retry_later()

    def _retry_later(self) -> None:
        if self._retry is None and self._is_open:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(_RETRY, self._listen_again)

    def _miss(self, name: bytes, heard: _Heard, error: BackplaneError | None = None) -> None:
        """A channel is not listened to, and shall be."""
        heard.link = heard.asked = None
        heard.is_confirmed = False
        self._missing.add(name)
        waiting, heard.waiting = heard.waiting, []
        for done in waiting:
            fail(done, error or BackplaneError(AWAY))

    def _listen_again(self) -> None:
        """Ask for everything that is missing where that can be asked for."""
        self._retry = None
        # By slot, since in a cluster only channels of one slot share a command.
        for name in self._by_slot(self._missing):
            heard = self._heard[name]
            if heard.asked is None:
                self._ask(name, heard)
        self._note()

    def _by_slot(self, names: Iterable[bytes]) -> list[bytes]:
        return sorted(names, key=lambda name: self._heard[name].slot)

    def _note(self) -> None:
        """Tell where the connection has come or gone."""
        if self.is_connected != self._was_connected and self._is_open:
            self._was_connected = not self._was_connected
            self._changed(self._was_connected)


def _confirm(heard: _Heard) -> None:
    """Tell those who wait for a channel."""
    for done in heard.waiting:
        if not done.done():
            done.set_result(None)
    heard.waiting.clear()


def _nobody(channel: str, data: bytes) -> None:
    """Receives before `open`."""


async def _end_connections(link: Link, name: str) -> None:
    """Have one server end those of its connections that listen and are called so."""
    clients: bytes = await link.call(b"CLIENT", b"LIST", b"TYPE", b"PUBSUB")
    for client in map(bytes.split, clients.splitlines()):
        if f"name={name}".encode() in client:
            await link.call(b"CLIENT", b"KILL", b"ID", client[0].removeprefix(b"id="))
