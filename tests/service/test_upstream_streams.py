"""Streams that clients ask an app for: what the app is told, what it sends, how it ends them."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from tests.service.streaming_app import Sender, count, end, heard, stream, streaming
from tests.service.upstream_app import (
    Received,
    answering,
    echo,
    invoke,
    result,
    until,
    upstream,
)

from hubbub.protocol.codec import CODECS
from hubbub.protocol.messages import CancelInvocation, Completion, StreamInvocation
from hubbub.protocol.messages import StreamItem as Item
from hubbub.protocol.webhooks import STREAM_ID, receive_webhook
from hubbub.service.settings import EMULATOR_KEY

PROTOCOL = pytest.mark.parametrize("protocol", CODECS)


@PROTOCOL
async def test_a_stream_brings_its_items_in_order_and_ends_with_the_answer(protocol: str) -> None:
    async with streaming(count) as (service, _app):
        client = await service.connect(protocol=protocol)

        await stream(client, "count", 20)

        assert await heard(client) == (list(range(20)), end())


@PROTOCOL
async def test_the_app_gets_an_invocation_and_the_id_of_the_stream_beside_it(
    protocol: str,
) -> None:
    async with streaming(count, template={"sign_body": True}) as (service, app):
        client = await service.connect(protocol=protocol)
        await stream(client, "count", 0, id_="é/1")
        await heard(client)
        _connected, call = await app.next(), await app.next()

    webhook = receive_webhook(call.headers, call.body, (EMULATOR_KEY,), now=_time_of(call))
    assert (webhook.category, webhook.event, webhook.arguments) == ("messages", "count", [0])
    assert webhook.stream_id == "é/1"
    assert webhook.invocation is not None  # and nothing that hosts of the original cannot read
    assert webhook.invocation.invocation_id == "é/1"
    assert call.headers[STREAM_ID] == "%C3%A9%2F1"


def _time_of(call: Received) -> int:
    return int(call.headers["X-Hubbub-Signature"].partition("t=")[2].partition(",")[0])


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_an_answer_without_a_body_lets_the_stream_go_on(status: int) -> None:
    senders = asyncio.Queue[Sender]()

    async def accept(sender: Sender, received: Received) -> web.StreamResponse:
        senders.put_nowait(sender)
        return web.Response(status=status)

    async with streaming(accept) as (service, _app):
        client = await service.connect()
        await stream(client, "later")
        sender = await senders.get()
        await until(lambda: service.node.upstream.outcomes.total() == 2)
        await sender.send("one")
        await sender.send("two", "?completed=true")

        assert await heard(client) == (["one", "two"], end())
        assert (await sender.send("three")).status == 404


async def test_the_app_can_end_a_stream_with_an_error_of_its_own() -> None:
    async def break_down(sender: Sender, received: Received) -> web.StreamResponse:
        await sender.send(1)
        assert (await sender.complete("?error=It+broke.")).status == 202
        assert (await sender.send(2)).status == 404
        assert (await sender.complete()).status == 404
        return web.Response(body=received.webhook.fail("too late to matter"))

    async with streaming(break_down) as (service, _app):
        client = await service.connect()
        await stream(client, "count")

        assert await heard(client) == ([1], end("It broke."))
        assert await result(client, "echo", "next") == ["next"]


async def test_an_answer_may_bring_all_items_itself() -> None:
    async def at_once(sender: Sender, received: Received) -> web.StreamResponse:
        items = b'{"type":2,"invocationId":"s1","item":1}\x1e{"type":1,"target":"t","arguments":[]}'
        return web.Response(body=items + b"\x1e" + received.webhook.complete())

    async with streaming(at_once) as (service, _app):
        client = await service.connect()
        await stream(client, "count")

        item = await client.message()
        assert isinstance(item, Item)
        assert bytes(item.item) == b"1"
        assert await client.call() == ("t", [])
        assert await client.message() == end()


@PROTOCOL
@pytest.mark.parametrize("value", [0, False, "text", [], {"a": None}])
async def test_an_app_that_gives_a_result_has_not_streamed(protocol: str, value: Any) -> None:
    async def invoked(sender: Sender, received: Received) -> web.StreamResponse:
        return web.Response(body=received.webhook.complete(value))

    async with streaming(invoked) as (service, _app):
        client = await service.connect(protocol=protocol)
        await stream(client, "add")

        assert await heard(client) == (
            [],
            end(
                "The client attempted to invoke the non-streaming 'add' method with a streaming "
                "invocation."
            ),
        )


async def test_an_error_in_the_answer_ends_the_stream_with_it() -> None:
    async def fail(sender: Sender, received: Received) -> web.StreamResponse:
        await sender.send(1)
        return web.Response(body=received.webhook.fail("ValueError: no more"))

    async with streaming(fail) as (service, _app):
        client = await service.connect()
        await stream(client, "count")

        assert await heard(client) == ([1], end("ValueError: no more"))


@pytest.mark.parametrize("status", [201, 400, 404, 500, 503])
async def test_another_status_ends_the_stream_with_the_sentence_of_the_original(
    status: int,
) -> None:
    async with upstream(answering(status=status)) as (service, _app):
        client = await service.connect()
        await stream(client, "count")

        assert await heard(client) == ([], end(f"Invocation failed, status code {status}"))


async def test_an_answer_that_is_no_completion_ends_the_stream_with_an_error() -> None:
    async with upstream(answering(body=b"hello")) as (service, _app):
        client = await service.connect()
        await stream(client, "count")

        _, ended = await heard(client)
        assert "is not a completion" in str(ended.error)


async def test_an_app_that_dies_ends_its_streams() -> None:
    async def die(sender: Sender, received: Received) -> web.StreamResponse:
        await sender.send(1)
        raise asyncio.CancelledError  # aiohttp closes the connection without an answer

    async with streaming(die) as (service, _app):
        client = await service.connect()
        await stream(client, "count")

        assert await heard(client) == ([1], end("Invocation failed, status code 500"))


async def test_a_stream_may_take_longer_than_any_other_call() -> None:
    async def slow(sender: Sender, received: Received) -> web.StreamResponse:
        await asyncio.sleep(0.4)  # the app takes its time
        return await count(sender, received)

    async with streaming(slow, template={"timeout": 0.1}) as (service, _app):
        client = await service.connect()
        await stream(client, "count", 2)

        assert await heard(client) == ([0, 1], end())


async def test_a_stream_holds_up_nothing_that_its_client_says() -> None:
    gate = asyncio.Event()

    async def wait(sender: Sender, received: Received) -> web.StreamResponse:
        await gate.wait()
        return await count(sender, received)

    async with streaming(wait, max_upstream_deliveries=1) as (service, app):
        client = await service.connect()
        await stream(client, "count", 1)
        await stream(client, "count", 2, id_="s2")

        assert await result(client, "echo", "still here") == ["still here"]
        await until(lambda: len(app.received) == 4)
        gate.set()
        ends = [message for _ in range(5) if (message := await client.message())]
        assert sorted(m.invocation_id for m in ends if isinstance(m, Completion)) == ["s1", "s2"]


async def test_a_stream_begins_in_its_place_among_what_the_client_says() -> None:
    gate = asyncio.Event()

    async def first(received: Received) -> web.StreamResponse:
        if received.event == "first":
            await gate.wait()
        return await echo(received)

    async with upstream(first) as (service, app):
        client = await service.connect()
        await invoke(client, "first", id_=None)
        await stream(client, "second")
        await app.next_events(2)
        assert len(app.received) == 2
        gate.set()

        assert await app.next_events(1) == ["second"]


@pytest.mark.parametrize("protocol", CODECS)
async def test_a_client_that_polls_has_streams_and_can_cancel_them(protocol: str) -> None:
    go_on = asyncio.Event()
    statuses = asyncio.Queue[int]()
    codec = CODECS[protocol]

    async def wait(sender: Sender, received: Received) -> web.StreamResponse:
        await sender.send("first")
        await go_on.wait()
        statuses.put_nowait((await sender.send("second")).status)
        return web.Response()

    async with streaming(wait) as (service, _app):
        client = await service.polling(protocol)
        asked = StreamInvocation(
            target="wait", arguments=codec.encode_value([]), invocation_id="s1"
        )
        await client.post(codec.encode(asked))
        (item,) = codec.reader(10_000).feed((await client.poll()).body)
        await client.post(codec.encode(CancelInvocation(invocation_id="s1")))
        (ended,) = codec.reader(10_000).feed((await client.poll()).body)
        go_on.set()

        assert isinstance(codec.decode(item), Item)
        assert codec.decode(ended) == end()
        assert await statuses.get() == 404
