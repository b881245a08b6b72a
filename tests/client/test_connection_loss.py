"""How connections of a hub client end, and how it comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from tests.client.scripted import Peer, ScriptedHub, scripted_hub, soon

from hubbub.client import (
    Backoff,
    ConnectError,
    ConnectionLostError,
    HubClient,
    ServerClosedError,
)
from hubbub.errors import ConfigError
from hubbub.protocol.messages import Close, StreamInvocation

AT_ONCE = Backoff(delays=(0,))
Ending = Callable[[Peer], Any]


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


class Events:
    """What happened to a client, in order."""

    def __init__(self, client: HubClient) -> None:
        self._log: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        client.on_reconnecting(lambda error: self._log.put_nowait(("reconnecting", error)))
        client.on_reconnected(lambda number: self._log.put_nowait(("reconnected", number)))
        client.on_closed(lambda error: self._log.put_nowait(("closed", error)))

    async def next(self) -> tuple[str, Any]:
        return await soon(self._log.get())

    def __len__(self) -> int:
        return self._log.qsize()


async def connect(client: HubClient, hub: ScriptedHub) -> Peer:
    """Open the client; return the hub's end."""
    peer, _ = await soon(asyncio.gather(hub.connected(), client.open()))
    return peer


async def leave(peer: Peer, message: Close) -> None:
    """What a server does that closes a connection."""
    await peer.send(message)
    await peer.close()


async def broken_record(peer: Peer) -> None:
    await peer.write(b'{"type":1}\x1e')
    await peer.close()


async def send_until_it_fails(client: HubClient) -> None:
    while True:
        await client.send("more")


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (Peer.cut, r"WebSocket closed with status code: 1006 \(no reason given\)\."),
        (Peer.close, r"WebSocket closed with status code: 1000 \(no reason given\)\."),
        (
            lambda peer: leave(peer, Close(error="busy", allow_reconnect=True)),
            "Server returned an error on close: busy",
        ),
        (
            lambda peer: leave(peer, Close(allow_reconnect=True)),
            r"The server closed the connection\.",
        ),
        (broken_record, "The server broke the protocol: Not a hub message"),
    ],
    ids=["cut", "closed socket", "Close with error", "Close", "broken record"],
)
async def test_a_client_that_lost_its_connection_gets_another(
    hub: ScriptedHub, ending: Ending, text: str
) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    events = Events(client)
    called: asyncio.Queue[int] = asyncio.Queue()
    client.on("hello")(called.put_nowait)
    first = await connect(client, hub)

    outcome = ending(first)
    if outcome is not None:
        await outcome
    second = await hub.connected()

    what, error = await events.next()
    assert what == "reconnecting"
    with pytest.raises(ConnectionLostError, match=text):
        raise error
    assert await events.next() == ("reconnected", "id2")
    assert (client.state, client.connection_id) == ("Connected", "id2")
    await second.call("hello", 2)
    assert await soon(called.get()) == 2
    await client.close()
    assert await events.next() == ("closed", None)


async def test_what_waits_for_an_answer_fails_with_the_connection(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    peer = await connect(client, hub)

    async def read() -> None:
        async for _ in client.stream("count"):
            pass

    waiting = [asyncio.create_task(client.invoke("add")), asyncio.create_task(read())]
    for _ in waiting:
        await peer.message()
    peer.cut()

    for task in waiting:
        with pytest.raises(ConnectionLostError, match="status code: 1006"):
            await soon(task)
    await hub.connected()
    await client.close()


async def test_while_a_client_reconnects_nothing_can_be_asked(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    peer = await connect(client, hub)
    reconnecting = asyncio.Event()
    client.on_reconnecting(lambda _: reconnecting.set())

    peer.cut()
    await soon(reconnecting.wait())
    assert (client.state, client.connection_id) == ("Reconnecting", None)
    with pytest.raises(ConnectionLostError, match="is reconnecting"):
        await client.send("hello")

    await hub.connected()
    await client.close()


async def test_attempts_that_fail_are_repeated_until_the_policy_gives_up(hub: ScriptedHub) -> None:
    asked: list[tuple[int, str]] = []

    class Policy:
        def delay(self, attempt: int, elapsed: float, error: Exception) -> float | None:
            assert elapsed >= 0
            asked.append((attempt, str(error)))
            return 0 if attempt < 2 else None

    client = HubClient(hub.url, reconnect=Policy())
    events = Events(client)
    peer = await connect(client, hub)
    hub.negotiate = lambda _: web.Response(status=503)
    peer.cut()

    assert (await events.next())[0] == "reconnecting"
    what, error = await events.next()
    assert (what, error.status, client.state) == ("closed", 503, "Disconnected")
    assert [attempt for attempt, _ in asked] == [0, 1, 2]
    assert "status code: 1006" in asked[0][1]
    assert "answered 503" in asked[1][1]
    with pytest.raises(ConnectError, match="answered 503"):
        await client.wait_closed()
    await client.close()


async def test_every_reconnect_asks_for_a_token(hub: ScriptedHub) -> None:
    tokens = iter(("one", "two"))
    client = HubClient(hub.url, reconnect=AT_ONCE, access_token=lambda: next(tokens))

    (await connect(client, hub)).cut()
    await hub.connected()

    used = [request.headers["Authorization"] for request in hub.negotiations]
    assert used == ["Bearer one", "Bearer two"]
    await client.close()


async def test_a_connection_that_is_lost_at_once_does_not_start_the_delays_anew(
    hub: ScriptedHub,
) -> None:
    attempts: asyncio.Queue[int] = asyncio.Queue()

    class Policy:
        def delay(self, attempt: int, elapsed: float, error: Exception) -> float | None:
            attempts.put_nowait(attempt)
            return 0

    client = HubClient(hub.url, reconnect=Policy())
    peer = await connect(client, hub)
    for expected in (0, 1, 2):
        peer.cut()
        peer = await hub.connected()
        assert await soon(attempts.get()) == expected
    await client.close()


@pytest.mark.parametrize("reconnect", [AT_ONCE, None], ids=["reconnecting", "not reconnecting"])
async def test_a_close_without_leave_to_reconnect_is_final(
    hub: ScriptedHub, reconnect: Backoff | None
) -> None:
    client = HubClient(hub.url, reconnect=reconnect)
    events = Events(client)
    called: list[int] = []
    client.on("last")(called.append)
    peer = await connect(client, hub)

    await peer.call("last", 1)
    await leave(peer, Close(error="You are banned."))

    what, error = await events.next()
    assert (what, called, client.state) == ("closed", [1], "Disconnected")
    assert isinstance(error, ServerClosedError)
    assert (error.error, error.allow_reconnect) == ("You are banned.", False)
    with pytest.raises(ServerClosedError, match="You are banned"):
        await client.wait_closed()
    await client.close()
    assert len(events) == 0


async def test_a_close_without_error_is_no_error(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    events = Events(client)
    peer = await connect(client, hub)

    await leave(peer, Close())

    await soon(client.wait_closed())
    assert await events.next() == ("closed", None)


async def test_without_a_policy_a_lost_connection_stays_lost(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=None)
    events = Events(client)

    (await connect(client, hub)).cut()

    what, error = await events.next()
    assert (what, type(error)) == ("closed", ConnectionLostError)
    assert len(hub.negotiations) == 1


async def test_a_close_that_comes_while_sending_fails_is_still_heard(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    events = Events(client)
    peer = await connect(client, hub)

    await peer.send(Close(error="final"))
    peer.cut()
    with pytest.raises(ConnectionLostError):
        await send_until_it_fails(client)

    what, error = await events.next()
    assert (what, str(error)) == ("closed", "Server returned an error on close: final")


async def test_a_client_that_closes_says_so(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    closing = asyncio.create_task(client.close())

    assert await peer.message() == Close()
    await peer.send(Close())
    assert await peer.message() is None
    await soon(closing)
    assert client.state == "Disconnected"


async def test_a_closed_client_leaves_no_task(hub: ScriptedHub) -> None:
    before = asyncio.all_tasks()
    client = HubClient(hub.url, reconnect=AT_ONCE)
    await connect(client, hub)

    await client.close()

    mine = {task for task in asyncio.all_tasks() - before if "hubbub" in task.get_name()}
    assert mine == set()


async def test_closing_cancels_the_handler_that_runs_and_drops_those_that_wait(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url)
    events = Events(client)
    running = asyncio.Event()
    calls: list[str] = []

    @client.on("work")
    async def work() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.append("cancelled")

    client.on("more")(lambda: calls.append("more"))
    peer = await connect(client, hub)
    await peer.call("work")
    await peer.call("more")
    await soon(running.wait())

    await soon(client.close())

    assert calls == ["cancelled"]
    assert await events.next() == ("closed", None)


async def test_a_handler_may_close_its_client(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    events = Events(client)
    calls: list[str] = []

    @client.on("stop")
    async def stop() -> None:
        await client.close()
        await asyncio.sleep(0)
        calls.append("stopped")

    client.on("more")(lambda: calls.append("more"))
    peer = await connect(client, hub)
    await peer.call("stop")
    await peer.call("more")

    assert await peer.message() == Close()
    assert await events.next() == ("closed", None)
    assert calls == ["stopped"]
    assert client.state == "Disconnected"
    assert len(hub.negotiations) == 1


async def test_a_handler_for_reconnecting_may_close_its_client(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=Backoff(delays=(3600,)))
    events = Events(client)

    @client.on_reconnecting
    async def stop(error: Exception) -> None:
        await client.close()

    (await connect(client, hub)).cut()

    assert (await events.next())[0] == "reconnecting"
    assert await events.next() == ("closed", None)


async def test_a_handler_for_the_end_may_open_its_client_again(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=None)
    opened = asyncio.Event()

    @client.on_closed
    async def again(error: Exception | None) -> None:
        if not opened.is_set():
            await client.open()
            opened.set()

    (await connect(client, hub)).cut()
    peer = await hub.connected()
    await soon(opened.wait())

    await client.send("hello")
    assert (await peer.invocation())[0] == "hello"
    await client.close()


async def test_a_handler_for_reconnected_may_ask_the_hub(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    answers: asyncio.Queue[Any] = asyncio.Queue()

    @client.on_reconnected
    async def join(connection_id: str) -> None:
        answers.put_nowait(await client.invoke("join", connection_id))

    (await connect(client, hub)).cut()
    peer = await hub.connected()
    target, arguments, invocation_id = await peer.invocation()
    await peer.complete(invocation_id, "joined")

    assert (target, arguments) == ("join", ["id2"])
    assert await soon(answers.get()) == "joined"
    await client.close()


async def test_a_result_for_a_connection_that_is_gone_is_not_sent_on_the_next(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    asked, reconnected = asyncio.Event(), asyncio.Event()

    @client.on("ask")
    async def ask() -> int:
        asked.set()
        await reconnected.wait()
        return 1

    first = await connect(client, hub)
    await first.call("ask", invocation_id="7")
    await soon(asked.wait())
    first.cut()
    second = await hub.connected()
    reconnected.set()
    await second.call("nothing", invocation_id="8")

    message = await second.message()
    assert getattr(message, "invocation_id", None) == "8"
    await client.close()


async def test_a_server_that_is_silent_for_too_long_is_left(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=None, server_timeout=0.01)
    events = Events(client)

    await connect(client, hub)

    _, error = await events.next()
    assert "Server timeout elapsed" in str(error)


async def test_a_client_that_has_nothing_to_say_pings(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, keep_alive=0.01)
    peer = await connect(client, hub)

    assert [await peer.frame(), await peer.frame()] == [b'{"type":6}\x1e'] * 2
    await client.close()


async def test_a_stream_of_a_lost_connection_is_not_cancelled_on_the_next(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    reconnected = asyncio.Event()
    client.on_reconnected(lambda _: reconnected.set())
    first = await connect(client, hub)
    stream = client.stream("count")
    reading = asyncio.create_task(anext(stream))
    assert isinstance(await first.message(), StreamInvocation)
    first.cut()
    with pytest.raises(ConnectionLostError):
        await soon(reading)
    second = await hub.connected()
    await stream.aclose()

    await soon(reconnected.wait())
    await client.send("hello")
    assert (await second.invocation())[0] == "hello"
    await client.close()


def test_delays_follow_the_list_and_stay_at_its_end() -> None:
    backoff = Backoff(jitter=0)
    error = ConnectionLostError("lost")

    assert [backoff.delay(attempt, 0, error) for attempt in range(6)] == [0, 2, 10, 30, 30, 30]


def test_delays_end_where_attempts_say_so() -> None:
    backoff = Backoff(delays=(1,), jitter=0, attempts=2)

    delays = [backoff.delay(attempt, 0, ConnectionLostError("lost")) for attempt in range(3)]

    assert delays == [1, 1, None]


def test_delays_of_many_clients_spread() -> None:
    backoff = Backoff(delays=(10,), jitter=0.5)
    error = ConnectionLostError("lost")

    delays = [backoff.delay(0, 0, error) or 0 for _ in range(100)]

    assert 5 <= min(delays) < max(delays) <= 15


@pytest.mark.parametrize("wrong", [{"delays": ()}, {"delays": (-1,)}, {"jitter": 2}])
def test_a_backoff_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="A Backoff needs delays"):
        Backoff(**wrong)
