"""One HTTP connection of the host with a transport that keeps what is written: packets and time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from hubbub.functions.cors import CorsPolicy
from hubbub.functions.joinedwrite import EXTENSION, JOINED_BYTES, JoinedWrite
from hubbub.functions.limitedhttp import LimitedHttp
from hubbub.functions.reply import Reply
from hubbub.functions.response import Response

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
IDLE = 5.0  # seconds, uvicorn's default


class Timer:
    """A call that is due."""

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.when = when
        self.call = call
        self.is_due = True

    def cancel(self) -> None:
        self.is_due = False


class Loop:
    """The running loop with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], object]) -> Timer:
        self.timers.append(Timer(when, call))
        return self.timers[-1]

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        return self.call_at(self.now + delay, call)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.is_due and timer.when <= self.now]:
            timer.cancel()
            timer.call()

    @property
    def waiting(self) -> int:
        return sum(timer.is_due for timer in self.timers)


class Socket(asyncio.Transport):
    """A transport that keeps what is written to it, a write at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Peer:
    """A client at the other end of one connection to `app`."""

    def __init__(self, app: Any) -> None:
        self.loop, self.socket = Loop(), Socket()
        config = Config(app, lifespan="off", log_config=None)
        config.load()
        self._state = ServerState()
        self.http = LimitedHttp(config, self._state, {}, self.loop)  # type: ignore[arg-type]
        self.http.connection_made(self.socket)

    async def ask(self, request: bytes = GET) -> list[bytes]:
        """What is written while a request is answered, a write at a time."""
        before = len(self.socket.writes)
        self.http.data_received(request)
        async with asyncio.timeout(30):
            while self._state.tasks:
                await asyncio.gather(*self._state.tasks)
        return self.socket.writes[before:]


def answering(body: bytes, *, joins: bool = True) -> Any:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        if not joins:
            await send(start)
            await send({"type": "http.response.body", "body": body})
            return
        with scope["extensions"][EXTENSION]:
            await send(start)
            await send({"type": "http.response.body", "body": body})

    return app


async def test_head_and_body_of_a_whole_answer_are_one_write() -> None:
    peer = Peer(answering(b"hello"))

    assert [write.endswith(b"\r\n\r\nhello") for write in await peer.ask()] == [True]
    assert [write.endswith(b"\r\n\r\nhello") for write in await peer.ask()] == [True]


async def test_what_nobody_joins_is_written_at_once() -> None:
    head, body = await Peer(answering(b"hello", joins=False)).ask()

    assert (head[-4:], body) == (b"\r\n\r\n", b"hello")


async def test_an_answer_without_a_body_is_not_kept_back() -> None:
    (head,) = await Peer(answering(b"hello")).ask(GET.replace(b"GET", b"HEAD"))

    assert head.endswith(b"\r\n\r\n")


async def test_an_answer_that_is_the_last_is_written_before_the_end() -> None:
    peer = Peer(answering(b"hello"))
    request = GET.replace(b"host: a", b"host: a\r\nconnection: close")

    assert b"".join(await peer.ask(request)).endswith(b"hello")
    assert peer.socket.is_closed


def test_nothing_is_written_to_a_client_that_has_gone() -> None:
    socket = Socket()
    joined = JoinedWrite(socket)
    with joined:
        joined.write(b"hello")
        socket.close()

    assert socket.writes == []


async def test_who_asks_nothing_more_is_let_go_after_its_last_answer() -> None:
    peer = Peer(answering(b"hello"))
    await peer.ask()
    peer.loop.pass_time(IDLE - 1)
    await peer.ask()
    peer.loop.pass_time(IDLE - 1)
    assert not peer.socket.is_closed

    peer.loop.pass_time(1)

    assert peer.socket.is_closed


async def test_who_waits_for_an_answer_is_not_let_go() -> None:
    asked = asyncio.Event()
    answer = answering(b"hello")

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await asked.wait()
        await answer(scope, receive, send)

    peer = Peer(slow)
    await peer.ask()
    waiting = asyncio.ensure_future(peer.ask(GET.replace(b"/ ", b"/slow ")))
    await asyncio.sleep(0)
    peer.loop.pass_time(IDLE * 10)
    assert not peer.socket.is_closed

    asked.set()
    await waiting
    peer.loop.pass_time(IDLE)

    assert peer.socket.is_closed


async def test_no_timer_outlives_its_connection() -> None:
    peer = Peer(answering(b"hello"))
    await peer.ask()

    peer.http.connection_lost(None)

    assert peer.loop.waiting == 0


async def test_a_pipelined_request_is_answered_after_the_one_before() -> None:
    peer = Peer(answering(b"hello"))
    await peer.ask(GET + GET)

    assert b"".join(peer.socket.writes).count(b"hello") == 2
    peer.loop.pass_time(IDLE)
    assert peer.socket.is_closed


@pytest.mark.parametrize("size", [JOINED_BYTES, JOINED_BYTES + 1])
async def test_only_answers_that_are_not_long_are_copied(size: int) -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        reply = Reply(send, CorsPolicy(), None, (), scope["extensions"][EXTENSION])
        await reply.whole(Response(200, (), b"a" * size))

    assert len(await Peer(app).ask()) == (1 if size == JOINED_BYTES else 2)
