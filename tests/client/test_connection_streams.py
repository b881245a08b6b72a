"""Streams between a hub client and its hub, in both directions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.client.scripted import ScriptedHub, connect, scripted_hub, soon

from hubbub.client import Backoff, ConnectionLostError, HubClient, HubError
from hubbub.protocol.messages import (
    CancelInvocation,
    Completion,
    Invocation,
    StreamInvocation,
    StreamItem,
)

ENCODINGS = ["json", "messagepack"]


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_stream_yields_the_items_and_then_the_hubs_error(
    hub: ScriptedHub, encoding: Any
) -> None:
    client = HubClient(hub.url, encoding=encoding)
    peer = await connect(client, hub)
    got: list[Any] = []

    async def read() -> None:
        async for item in client.stream("count", 2):
            got.append(item)  # noqa: PERF401  what came before the error is what counts

    reading = asyncio.create_task(read())
    request = await peer.message()
    assert isinstance(request, StreamInvocation)
    assert (request.target, peer.value(request.arguments)) == ("count", [2])
    await peer.send(
        *(
            StreamItem(invocation_id=request.invocation_id, item=peer.codec.encode_value(item))
            for item in (1, None)
        ),
        Completion(invocation_id=request.invocation_id, error="enough"),
    )

    with pytest.raises(HubError, match="enough"):
        await soon(reading)
    assert got == [1, None]
    await client.close()


async def test_a_stream_that_was_complete_is_so_without_a_connection_too(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, reconnect=None)
    peer = await connect(client, hub)
    stream = client.stream("count")
    first = asyncio.ensure_future(anext(stream))
    request = await peer.message()
    assert isinstance(request, StreamInvocation)
    await peer.send(
        *(
            StreamItem(invocation_id=request.invocation_id, item=peer.codec.encode_value(item))
            for item in (1, 2)
        ),
        Completion(invocation_id=request.invocation_id),
    )
    assert await soon(first) == 1

    peer.cut()
    with pytest.raises(ConnectionLostError):
        await soon(client.wait_closed())

    assert [item async for item in stream] == [2]


async def test_who_leaves_a_stream_early_cancels_it_at_the_hub(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)
    stream = client.stream("count")

    first = asyncio.create_task(anext(stream))
    request = await peer.message()
    assert isinstance(request, StreamInvocation)
    item = peer.codec.encode_value(1)
    await peer.send(*[StreamItem(invocation_id=request.invocation_id, item=item)] * 3)
    assert await soon(first) == 1
    await stream.aclose()

    assert await peer.message() == CancelInvocation(invocation_id=request.invocation_id)
    await client.close()


async def test_a_stream_that_was_read_to_its_end_is_not_cancelled(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    async def read() -> list[Any]:
        return [item async for item in client.stream("count")]

    reading = asyncio.create_task(read())
    request = await peer.message()
    assert isinstance(request, StreamInvocation)
    await peer.send(Completion(invocation_id=request.invocation_id))
    assert await soon(reading) == []
    await client.send("after")

    assert (await peer.invocation())[0] == "after"
    await client.close()


async def test_an_async_iterable_argument_is_sent_as_a_stream(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    asked = asyncio.create_task(client.invoke("sum", "of", numbers(), "these"))
    request = await peer.message()
    assert isinstance(request, Invocation)
    assert peer.value(request.arguments) == ["of", "these"]
    (stream_id,) = request.stream_ids
    assert stream_id != request.invocation_id
    for number in (1, 2):
        item = await peer.message()
        assert isinstance(item, StreamItem)
        assert (item.invocation_id, peer.value(item.item)) == (stream_id, number)
    assert await peer.message() == Completion(invocation_id=stream_id)
    await peer.complete(request.invocation_id, 3)

    assert await soon(asked) == 3
    await client.close()


async def test_a_stream_that_fails_is_completed_with_its_error(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more")

    await client.send("collect", numbers())
    request, item, end = [await peer.message() for _ in range(3)]

    assert isinstance(request, Invocation)
    assert isinstance(item, StreamItem)
    assert end == Completion(invocation_id=request.stream_ids[0], error="no more")
    await client.close()


async def test_a_stream_that_does_not_even_begin_is_completed_with_its_error(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    class Numbers:
        def __aiter__(self) -> AsyncIterator[int]:
            raise ValueError("not today")

    await client.send("collect", Numbers())
    request, end = [await peer.message() for _ in range(2)]

    assert isinstance(request, Invocation)
    assert end == Completion(invocation_id=request.stream_ids[0], error="not today")
    await client.close()


async def test_an_item_without_encoding_ends_the_stream_and_what_it_is_read_from(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)
    closed = asyncio.Event()

    async def numbers() -> AsyncIterator[object]:
        try:
            yield object()
        finally:
            closed.set()

    stream = numbers()
    await client.send("collect", stream)
    await peer.message()
    end = await peer.message()

    assert isinstance(end, Completion)
    assert "unsupported" in str(end.error)
    assert closed.is_set()
    await client.close()


async def test_a_stream_that_nobody_waits_for_ends_with_the_connection(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=Backoff(delays=(0,)))
    peer = await connect(client, hub)
    closed = asyncio.Event()

    async def silent() -> AsyncIterator[int]:
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            closed.set()

    await client.send("collect", silent())
    await peer.message()
    peer.cut()

    await soon(closed.wait())
    await client.close()


@pytest.mark.parametrize("ending", ["completion", "loss", "close"])
async def test_a_stream_to_the_hub_ends_with_what_it_was_for(hub: ScriptedHub, ending: str) -> None:
    client = HubClient(hub.url, reconnect=None)
    peer = await connect(client, hub)
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    asked = asyncio.create_task(client.invoke("take", endless()))
    request, _ = await peer.message(), await peer.message()
    assert isinstance(request, Invocation)
    if ending == "completion":
        await peer.complete(request.invocation_id, "enough")
    elif ending == "loss":
        peer.cut()
    else:
        await client.close()

    await soon(asyncio.wait((asked,)))
    assert (asked.exception() is None) == (ending == "completion")
    assert closed.is_set()
    await client.close()
