"""A hub client that is slower than its hub: reading stops, and nothing waits for itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.client.scripted import Peer, ScriptedHub, connect, scripted_hub, soon

from hubbub.client import HubClient, OverloadError, web
from hubbub.client.backlog import Backlog
from hubbub.client.connection import ConnectionState
from hubbub.protocol.messages import Close, StreamInvocation, StreamItem

BIG = "x" * 1000


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


@pytest.fixture(autouse=True)
def no_farewells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hubs here leave sockets open whose end the client does not wait for."""
    monkeypatch.setattr(web, "_WEBSOCKET_CLOSE_TIMEOUT", 0.01)


async def time_passes(peer: Peer) -> None:
    """The client has had many turns of the loop in which it could have read."""
    for _ in range(10):
        assert await peer.frame() == b'{"type":6}\x1e'


async def fill(peer: Peer, count: int) -> None:
    for number in range(count):
        await peer.call("work", number, BIG)


async def test_reading_stops_while_a_handler_is_slow_and_goes_on_after_it(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, max_backlog=5000, keep_alive=0.001)
    begun, may_end = asyncio.Event(), asyncio.Event()
    done: asyncio.Queue[int] = asyncio.Queue()
    closed = asyncio.Event()
    client.on_closed(lambda _: closed.set())

    @client.on("work")
    async def work(number: int, _: str) -> None:
        begun.set()
        await may_end.wait()
        done.put_nowait(number)

    peer = await connect(client, hub)
    await fill(peer, 20)
    await peer.send(Close())
    await soon(begun.wait())
    await time_passes(peer)
    # The Close is behind what is not read, so the connection is still there.
    assert client.state == ConnectionState.CONNECTED

    may_end.set()

    assert [await soon(done.get()) for _ in range(20)] == list(range(20))
    await soon(closed.wait())


async def test_a_handler_may_wait_for_an_answer_behind_all_that_waits_for_it(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, max_backlog=2000)
    answers: asyncio.Queue[Any] = asyncio.Queue()

    @client.on("work")
    async def work(number: int, _: str) -> None:
        if number == 0:
            answers.put_nowait(await client.invoke("help"))

    peer = await connect(client, hub)
    await fill(peer, 20)
    _, _, invocation_id = await peer.invocation()
    await peer.complete(invocation_id, "done")

    assert await soon(answers.get()) == "done"
    await client.close()


async def test_a_handler_may_read_a_stream_behind_all_that_waits_for_it(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, max_backlog=2000)
    items: asyncio.Queue[Any] = asyncio.Queue()

    @client.on("work")
    async def work(number: int, _: str) -> None:
        if number == 0:
            items.put_nowait(await anext(client.stream("help")))

    peer = await connect(client, hub)
    await fill(peer, 20)
    request = await peer.message()
    assert isinstance(request, StreamInvocation)
    item = peer.codec.encode_value("item")
    await peer.send(StreamItem(invocation_id=request.invocation_id, item=item))

    assert await soon(items.get()) == "item"
    await client.close()


async def test_items_of_a_stream_that_nobody_reads_are_not_taken_from_the_socket(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, max_backlog=2000, keep_alive=0.001)
    heard: list[int] = []
    client.on("hello")(heard.append)
    peer = await connect(client, hub)
    stream = client.stream("count")
    first = asyncio.create_task(anext(stream))
    request = await peer.message()
    assert isinstance(request, StreamInvocation)
    item = StreamItem(invocation_id=request.invocation_id, item=peer.codec.encode_value(BIG))
    for _ in range(20):
        await peer.send(item)
    await peer.call("hello", 1)
    await peer.send(Close())
    assert await soon(first) == BIG
    await time_passes(peer)
    assert (heard, client.state) == ([], ConnectionState.CONNECTED)

    await stream.aclose()

    await soon(client.wait_closed())
    assert heard == [1]


async def test_a_client_that_is_far_too_slow_gives_the_connection_up(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, max_backlog=1000, max_message_size=2000, reconnect=None)

    @client.on("work")
    async def work(number: int, _: str) -> None:
        await client.invoke("never answered")

    peer = await connect(client, hub)
    await fill(peer, 20)

    with pytest.raises(OverloadError, match="raise max_backlog"):
        await soon(client.wait_closed())
    await client.close()


async def test_a_record_over_the_limit_ends_the_connection(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, max_message_size=1000, reconnect=None)
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    client.on_closed(errors.put_nowait)
    peer = await connect(client, hub)

    await peer.call("work", BIG)

    assert "maximum message size of 1000B" in str(await soon(errors.get()))


async def test_sends_that_wait_for_each_other_arrive_in_their_order(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    sends = [asyncio.create_task(client.send("say", number, BIG)) for number in range(200)]

    assert [(await peer.invocation())[1][0] for _ in sends] == list(range(200))
    await soon(asyncio.wait(sends))
    await client.close()


async def test_a_backlog_shows_how_full_it_is() -> None:
    backlog = Backlog(limit=1000, most=2000)
    backlog.add(488)

    with backlog.waiting():
        assert repr(backlog) == "Backlog(1000 of 1000, waiting=1)"
