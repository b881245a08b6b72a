"""How connections of a hub client end, and how it comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from tests.client.scripted import Events, Peer, ScriptedHub, connect, leave, scripted_hub, soon

from hubbub.client import (
    Backoff,
    ConnectError,
    ConnectionLostError,
    HubClient,
    lifetime,
)
from hubbub.protocol.messages import Close, StreamInvocation

AT_ONCE = Backoff(delays=(0,))
Ending = Callable[[Peer], Any]


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


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


async def test_a_connection_that_has_lasted_starts_the_delays_anew(
    hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetime, "_STABLE", 0)
    attempts: asyncio.Queue[int] = asyncio.Queue()

    class Policy:
        def delay(self, attempt: int, elapsed: float, error: Exception) -> float | None:
            attempts.put_nowait(attempt)
            return 0

    client = HubClient(hub.url, reconnect=Policy())
    peer = await connect(client, hub)
    for _ in range(2):
        peer.cut()
        peer = await hub.connected()
        assert await soon(attempts.get()) == 0
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
