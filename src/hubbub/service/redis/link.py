"""One connection to one Redis, for commands, messages and confirmations alike (RESP3).

What is asked for in one turn of the loop is one write, in order. It never connects again: that is
its keeper's work.

A Redis client library is not used here: all of it goes by one coroutine a message, which costs more
than everything else that a node does with it. The parser is that of those libraries, hiredis.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

import hiredis

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.redis.address import Place, RedisAddress

__all__ = [
    "AWAY",
    "Limits",
    "Link",
    "RedisAnswerError",
    "Refused",
    "Subscribing",
    "dial",
    "fail",
    "shown",
]

_logger = logging.getLogger("hubbub.service.redis")
AWAY: Final = "Redis cannot be reached."
_SLOW: Final = "Redis did not answer in time."
_FULL: Final = "More waits for Redis than it takes."
_NOTHING: Final = object()
_BEGUN: Final = {b"subscribe", b"ssubscribe"}
_ENDED: Final = {b"unsubscribe", b"sunsubscribe"}
_MAX_CHANNELS: Final = 1000  # in one command, so that Redis serves others between
_LOOKS: Final = 6  # at how long answers take, in the time that they may take

Push = Callable[["Link", list[Any]], None]
# Called instead of failing a call that Redis has answered with an error.
Refused = Callable[["Link", tuple[Any, ...], "asyncio.Future[Any]", "RedisAnswerError"], None]
_Owner = tuple[Refused, tuple[Any, ...]]


class RedisAnswerError(BackplaneError):
    """Redis answers a command with an error. Its first word says which kind it is."""

    @property
    def code(self) -> str:
        """The kind of the error, as `MOVED` or `NOPERM`."""
        return str(self).partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long Redis may take, and how much may wait for it."""

    # Seconds until Redis is connected to, and has let this node in.
    connect_timeout: float = 3.0
    # Seconds for an answer. A connection that brings nothing at all for so long is given up.
    answer_timeout: float = 3.0
    # Bytes that the network has not taken yet; past that calls fail.
    max_unsent_bytes: int = 32 * 1024 * 1024
    # Calls that Redis has not answered yet; past that calls fail.
    max_unanswered: int = 100_000


def _pack(*words: Any) -> bytes:
    return hiredis.pack_command(words)  # type: ignore[no-any-return]


class Subscribing:
    """Channels that are asked for together; `done` when Redis has confirmed or refused them."""

    __slots__ = ("channels", "command", "done", "error", "slot", "token", "unconfirmed")

    def __init__(self, command: bytes, slot: int, token: bytes, done: "asyncio.Future[None]"):
        self.command = command
        self.slot = slot
        self.token = token  # what a PING after them brings back: where their answers end
        self.channels: list[bytes] = []
        self.unconfirmed: set[bytes] = set()  # filled when it is sent
        self.error: RedisAnswerError | None = None
        self.done = done

    def pack(self) -> bytes:
        """The command, and the PING that ends its answers."""
        self.unconfirmed.update(self.channels)
        return _pack(self.command, *self.channels) + _pack(b"PING", self.token)


class Link(asyncio.Protocol):
    """A connection that is in use until it is lost, and then never again."""

    def __init__(self, place: Place, limits: Limits, push: Push, lost: "Callable[[Link], None]"):
        """`push` gets what Redis sends unasked, `lost` is called once, after all calls failed."""
        self.place = place
        self.greeting: dict[bytes, Any] = {}
        self._limits = limits
        self._push = push
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=_NOTHING, replyError=RedisAnswerError)
        self._out: list[bytes | Subscribing] = []  # what this turn asks for
        self._out_size = 0
        self._is_full = False
        self._subscribing: Subscribing | None = None  # open for more channels
        # Who is told of anything but a plain answer comes with the future.
        self._waiting: deque[tuple[asyncio.Future[Any], Subscribing | _Owner | None]] = deque()
        self._answers = 0
        # How many calls had been made at which time: what is late is found without a clock a call.
        self._marks: deque[tuple[float, int]] = deque()
        self._heard = self._loop.time()
        self._watcher: asyncio.TimerHandle | None = None
        self._tokens = 0
        self.is_up = False

    def __repr__(self) -> str:
        state = "up" if self.is_up else "down"
        return f"Link({self.place!r}, {state}, waiting={len(self._waiting)})"

    def call(
        self,
        *command: Any,
        refused: Refused | None = None,
        done: "asyncio.Future[Any] | None" = None,
    ) -> asyncio.Future[Any]:
        """Ask Redis for something. Errors are `BackplaneError`; nobody needs to look at them.

        With `refused`, an error that Redis answers goes there, and the future stays open. `done`
        is a future that has been handed out before.
        """
        if done is None:
            done = self._loop.create_future()
        if not self._has_room():
            fail(done, BackplaneError(_FULL if self.is_up else AWAY))
            return done
        packed = _pack(*command)
        self._subscribing = None
        self._put(packed, len(packed))
        self._waiting.append((done, None if refused is None else (refused, command)))
        return done

    def subscribe(self, command: bytes, channel: bytes, slot: int = 0) -> Subscribing:
        """Begin or end to listen, in one command with others of this turn if nothing is between.

        Channels of different slots do not share a command.
        """
        batch = self._subscribing
        if (
            batch is None
            or batch.command != command
            or batch.slot != slot
            or len(batch.channels) >= _MAX_CHANNELS
        ):
            self._tokens += 1
            done = self._loop.create_future()
            batch = Subscribing(command, slot, b"hubbub:%d" % self._tokens, done)
            if not self._has_room():
                fail(done, BackplaneError(_FULL if self.is_up else AWAY))
            else:
                self._subscribing = batch
                self._put(batch, 0)
                self._waiting.append((done, batch))
        batch.channels.append(channel)
        self._out_size += len(channel)
        return batch

    async def close(self) -> None:
        """End, when what has been asked for is answered or has failed."""
        with suppress(BackplaneError):
            await self.call(b"PING")
        self.abort()

    def abort(self) -> None:
        """Give the connection up at once."""
        if self._transport is not None:
            self._transport.abort()
        self._fall()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The network is there; what lets this node in is `dial`'s."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.max_unsent_bytes)
        self.is_up = True
        self._heard = self._loop.time()
        self._watch(self._heard)

    def connection_lost(self, exc: Exception | None) -> None:
        """The network is gone."""
        self._fall()

    def pause_writing(self) -> None:
        """Redis takes less than it is sent."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Redis has caught up."""
        self._is_full = False

    def data_received(self, data: bytes) -> None:
        """Take answers and pushes as they come."""
        self._heard = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                if reply.__class__ is hiredis.PushNotification:
                    self._pushed(reply)
                else:
                    self._answered(reply)
        except Exception:  # this connection is lost, the node goes on
            _logger.exception("what %r says cannot be read", self.place)
            self.abort()

    def _pushed(self, push: list[Any]) -> None:
        kind = push[0]
        if kind in _BEGUN:
            owner = self._waiting[0][1] if self._waiting else None
            if isinstance(owner, Subscribing):
                owner.unconfirmed.discard(push[1])
        elif kind in _ENDED and self._is_asked_for(push[1]):
            pass
        else:
            self._push(self, push)

    def _is_asked_for(self, channel: bytes) -> bool:
        """Whether the end of a channel is the answer to what comes first."""
        owner = self._waiting[0][1] if self._waiting else None
        return isinstance(owner, Subscribing) and channel in owner.unconfirmed

    def _answered(self, reply: Any) -> None:
        done, owner = self._waiting[0]
        if isinstance(owner, Subscribing) and reply != owner.token:
            # No confirmation, so an error, and the PING's answer is still to come.
            owner.error = reply
            return
        self._waiting.popleft()
        self._answers += 1
        if isinstance(owner, Subscribing):
            reply = None
        elif reply.__class__ is RedisAnswerError:
            if owner is None:
                fail(done, reply)
            else:
                owner[0](self, owner[1], done, reply)
            return
        if not done.done():
            done.set_result(reply)

    def _has_room(self) -> bool:
        return (
            self.is_up
            and not self._is_full
            and self._out_size < self._limits.max_unsent_bytes
            and len(self._waiting) < self._limits.max_unanswered
        )

    def _put(self, item: bytes | Subscribing, size: int) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(item)
        self._out_size += size

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._out_size, self._subscribing = 0, None
        if self.is_up and self._transport is not None:
            self._transport.write(
                b"".join([each if isinstance(each, bytes) else each.pack() for each in out])
            )

    def _watch(self, due: float) -> None:
        """Fail what waits for too long, give up a connection that is silent, ask one that idles."""
        now, limit = self._loop.time(), self._limits.answer_timeout
        if not self.is_up:
            return
        if now - due > limit / _LOOKS:
            # This process stood still, and what has come meanwhile is not read yet.
            self._marks.clear()
            self._heard = now
        asked = self._answers
        while self._marks and self._marks[0][0] <= now - limit:
            asked = max(asked, self._marks.popleft()[1])
        if asked > self._answers and self._heard <= now - limit:
            _logger.warning("%s says nothing: connecting again", shown(self.place))
            self.abort()
            return
        for done, _ in islice(self._waiting, asked - self._answers):
            fail(done, BackplaneError(_SLOW))
        if not self._waiting:
            self.call(b"PING")
        self._marks.append((now, self._answers + len(self._waiting)))
        due = now + limit / _LOOKS
        self._watcher = self._loop.call_at(due, self._watch, due)

    def _fall(self) -> None:
        """Nothing is answered any more."""
        if not self.is_up:
            return
        self.is_up = False
        if self._watcher is not None:
            self._watcher.cancel()
        self._out.clear()
        waiting, self._waiting = self._waiting, deque()
        for done, _ in waiting:
            fail(done, BackplaneError(AWAY))
        self._lost(self)


async def dial(
    address: RedisAddress,
    place: Place,
    limits: Limits,
    push: Push,
    lost: Callable[[Link], None],
) -> Link:
    """Connect to one Redis and be let in. Raises `BackplaneError` or `OSError`, which say why."""
    loop = asyncio.get_running_loop()
    link = Link(place, limits, push, lost)
    host, port = place
    try:
        async with asyncio.timeout(limits.connect_timeout):
            if port is None:
                await loop.create_unix_connection(lambda: link, host)
            else:
                name = host if address.tls is not None else None
                await loop.create_connection(
                    lambda: link, host, port, ssl=address.tls, server_hostname=name
                )
            link.greeting = await link.call(*_greeting(address))
            if address.db:
                await link.call(b"SELECT", str(address.db))
    except TimeoutError:
        link.abort()
        raise BackplaneError(_SLOW) from None
    except RedisAnswerError as error:
        link.abort()
        if error.code == "ERR" and "HELLO" in str(error).upper():
            raise BackplaneError("It is older than Redis 6, which is needed.") from None
        raise
    except BaseException:
        link.abort()
        raise
    return link


def _greeting(address: RedisAddress) -> tuple[str, ...]:
    words = ["HELLO", "3"]
    if address.password is not None:
        words += ["AUTH", address.user or "default", address.password]
    return (*words, "SETNAME", "hubbub")


def fail(done: "asyncio.Future[Any]", error: BackplaneError) -> None:
    """Fail what waits; whoever has left it alone is not told."""
    if not done.done():
        done.set_exception(error)
        done.exception()  # looked at, so that the loop does not report it


def shown(place: Place) -> str:
    """A place as people write it."""
    host, port = place
    return host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
