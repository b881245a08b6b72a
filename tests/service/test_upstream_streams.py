"""Streams that clients ask an app for: what the app is told, what it sends, and every end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.service.running import Answer, Client, Service
from tests.service.upstream_app import (
    App,
    Received,
    answering,
    completion,
    echo,
    invoke,
    result,
    running_app,
    running_service,
    until,
    until_idle,
    upstream,
)

from hubbub.protocol.codec import CODECS
from hubbub.protocol.messages import CancelInvocation, Completion, Message, Ping, StreamInvocation
from hubbub.protocol.messages import StreamItem as Item
from hubbub.protocol.upstreamtemplate import Template
from hubbub.protocol.webhooks import STREAM_ID, receive_webhook
from hubbub.service.settings import EMULATOR_KEY

PROTOCOL = pytest.mark.parametrize("protocol", CODECS)


class Sender:
    """What an app does for one stream: it sends items and the end by REST."""

    def __init__(self, service: Service, received: Received) -> None:
        webhook = received.webhook
        assert webhook.stream_id is not None
        self._service = service
        self._path = (
            f"/api/hubs/{webhook.hub}/connections/{webhook.connection_id}"
            f"/streams/{webhook.stream_id}"
        )

    async def send(self, item: Any, query: str = "") -> Answer:
        body = json.dumps(item).encode()
        return await self._service.rest("POST", f"{self._path}/:send{query}", body)

    async def complete(self, query: str = "") -> Answer:
        return await self._service.rest("POST", f"{self._path}/:complete{query}")


Streaming = Callable[[Sender, Received], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def streaming(behaviour: Streaming, **options: Any) -> AsyncIterator[tuple[Service, App]]:
    """A service and an app that answers streams like this, and calls with their arguments."""

    async def answer(received: Received) -> web.StreamResponse:
        if STREAM_ID not in received.headers:
            return await echo(received)
        return await behaviour(Sender(service, received), received)

    async with upstream(answer, **options) as (service, app):
        yield service, app


async def stream(client: Client, target: str, *arguments: Any, id_: str = "s1") -> None:
    """Ask for a stream."""
    raw = client.codec.encode_value(list(arguments))
    await send(client, StreamInvocation(target=target, arguments=raw, invocation_id=id_))


async def cancel(client: Client, id_: str = "s1") -> None:
    await send(client, CancelInvocation(invocation_id=id_))


async def send(client: Client, message: Message) -> None:
    data = client.codec.encode(message)
    await client.socket.send(data if client.codec.is_binary else data.decode())


async def heard(client: Client) -> tuple[list[Any], Completion]:
    """The items of the only stream, up to its end."""
    items = []
    while not isinstance(message := await client.message(), Completion):
        assert isinstance(message, Item | Ping), message
        if isinstance(message, Item):
            items.append(client.codec.decode_value(message.item))
    return items, message


def end(error: str | None = None, id_: str = "s1") -> Completion:
    return Completion(invocation_id=id_, error=error)


async def count(sender: Sender, received: Received) -> web.StreamResponse:
    """Send as many numbers as the client asks for, then answer the call."""
    for number in range(received.webhook.arguments[0]):
        assert (await sender.send(number)).status == 202
    return web.Response(body=received.webhook.complete())


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


async def test_a_client_that_cancels_is_told_of_the_end_and_the_app_gets_404() -> None:
    statuses = asyncio.Queue[int]()
    go_on = asyncio.Event()

    async def endless(sender: Sender, received: Received) -> web.StreamResponse:
        answer = await sender.send("first")
        await go_on.wait()
        while answer.status == 202:
            answer = await sender.send("more")
        statuses.put_nowait(answer.status)
        assert answer.json["code"] == "Error.Stream.NotExisted"
        return web.Response()

    async with streaming(endless) as (service, _app):
        client = await service.connect()
        await stream(client, "endless")
        assert isinstance(await client.message(), Item)
        await cancel(client)
        assert await heard(client) == ([], end())
        go_on.set()

        assert await statuses.get() == 404
        assert await result(client, "echo", "still here") == ["still here"]


async def test_a_request_that_nobody_waits_for_is_cut() -> None:
    async def silent(sender: Sender, received: Received) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with streaming(silent) as (service, app):
        client = await service.connect()
        await stream(client, "silent")
        await app.next_events(2)
        await cancel(client)

        assert await heard(client) == ([], end())
        await until(lambda: len(service.node.upstream.streaming) == 0)


async def test_a_client_that_goes_ends_its_streams_and_the_app_gets_404() -> None:
    statuses = asyncio.Queue[tuple[int, str]]()
    gone = asyncio.Event()

    async def endless(sender: Sender, received: Received) -> web.StreamResponse:
        await sender.send("first")
        await gone.wait()
        answer = await sender.send("more")
        statuses.put_nowait((answer.status, answer.json["code"]))
        return web.Response()

    async with streaming(endless) as (service, app):
        client = await service.connect()
        await stream(client, "endless")
        assert isinstance(await client.message(), Item)
        await client.socket.close()
        assert (await app.next_events(3))[2] == "disconnected"
        gone.set()

        assert await statuses.get() == (404, "Error.Connection.NotExisted")
        await until(lambda: len(service.node.upstream.streaming) == 0)


async def test_a_stream_that_an_app_has_accepted_ends_with_its_connection() -> None:
    async with upstream(answering(status=202)) as (service, _app):
        client = await service.connect()
        await stream(client, "never")
        await until(lambda: len(service.node.upstream.streaming) == 1)
        await client.socket.close()

        await until(lambda: len(service.node.upstream.streaming) == 0)


async def test_a_stream_that_is_cancelled_before_its_turn_never_reaches_the_app() -> None:
    gate = asyncio.Event()

    async def wait(received: Received) -> web.StreamResponse:
        if received.event == "first":
            await gate.wait()
        return await echo(received)

    async with upstream(wait) as (service, app):
        client = await service.connect()
        await invoke(client, "first", id_=None)
        await stream(client, "never")
        await cancel(client)
        assert await completion(client) == end()
        gate.set()

        assert await result(client, "last") == []
        assert [request.event for request in app.received] == ["connected", "first", "last"]


async def test_cancelling_what_there_is_not_is_no_error() -> None:
    async with streaming(count) as (service, _app):
        client = await service.connect()
        await cancel(client)
        await stream(client, "count", 1)
        assert await heard(client) == ([0], end())
        await cancel(client)

        assert await result(client, "echo", 1) == [1]


async def test_an_id_can_be_used_again_once_its_stream_has_ended() -> None:
    async with streaming(count) as (service, _app):
        client = await service.connect()
        for _ in range(2):
            await stream(client, "count", 2)
            assert await heard(client) == ([0, 1], end())


async def test_an_id_that_is_in_use_is_refused_and_its_stream_ends() -> None:
    statuses = asyncio.Queue[int]()
    go_on = asyncio.Event()

    async def wait(sender: Sender, received: Received) -> web.StreamResponse:
        await go_on.wait()
        statuses.put_nowait((await sender.send(1)).status)
        return web.Response()

    async with streaming(wait) as (service, app):
        client = await service.connect()
        await stream(client, "wait")
        await app.next_events(2)
        await stream(client, "wait")

        assert await heard(client) == (
            [],
            end("Invocation failed, the invocation id 's1' is in use."),
        )
        go_on.set()
        assert await statuses.get() == 404


async def test_streams_of_one_client_and_of_all_are_limited() -> None:
    async with upstream(answering(status=202), max_client_streams=2, max_streams=3) as (
        service,
        _app,
    ):
        first, second = await service.connect(), await service.connect()
        for number in range(3):
            await stream(first, "wait", id_=str(number))
        refused = await completion(first)
        assert (refused.invocation_id, "at most 2 streams" in str(refused.error)) == ("2", True)

        for number in range(2):
            await stream(second, "wait", id_=str(number))
        refused = await completion(second)
        assert "as many streams as it can have" in str(refused.error)

        await first.socket.close()
        await until(lambda: len(service.node.upstream.streaming) == 1)
        await stream(second, "wait", id_="again")
        await until(lambda: len(service.node.upstream.streaming) == 2)


async def test_calls_that_are_given_up_at_once_count_until_their_request_is_cut() -> None:
    async def silent(received: Received) -> web.StreamResponse:
        if received.event != "s":
            return web.Response()
        await asyncio.Event().wait()
        raise AssertionError

    async with upstream(silent, max_client_streams=3) as (service, app):
        client = await service.connect()
        for number in range(20):
            await stream(client, "s", id_=str(number))
            await until_idle(service.only_connection())
            await cancel(client, str(number))
        errors = [(await completion(client)).error for _ in range(20)]

        assert errors[:3] == [None] * 3
        assert len(app.received) <= 4
        await until(lambda: len(service.node.upstream.streaming) == 0)


@pytest.mark.parametrize("id_", ["", " ", "x" * 101])
async def test_an_id_that_no_rest_call_can_name_is_refused(id_: str) -> None:
    async with streaming(count) as (service, _app):
        client = await service.connect()
        await client.socket.send(
            json.dumps({"type": 4, "invocationId": id_, "target": "t", "arguments": []}) + "\x1e"
        )

        if id_:
            assert "has 1 to 100 characters" in str((await completion(client)).error)
            assert await result(client, "echo", 1) == [1]


async def test_a_stream_without_items_for_too_long_ends_and_one_with_them_goes_on() -> None:
    async def slow(sender: Sender, received: Received) -> web.StreamResponse:
        for number in range(5):
            await asyncio.sleep(0.3)  # the app takes its time
            await sender.send(number)
        await asyncio.Event().wait()
        raise AssertionError

    async with streaming(slow, stream_timeout=1) as (service, _app):
        client = await service.connect()
        await stream(client, "slow")

        assert await heard(client) == (
            [0, 1, 2, 3, 4],
            end("Invocation failed, the app has sent nothing for 1 seconds."),
        )


async def test_a_stream_that_no_template_takes_ends_at_once() -> None:
    async with running_app() as app:
        template = Template(url_template=app.url, event_pattern="known")
        async with running_service(template) as service:
            client = await service.connect()
            await stream(client, "unknown")

            error = "Invocation failed, no upstream takes 'unknown' of hub 'chat'."
            assert await heard(client) == ([], end(error))


async def test_a_stream_that_a_client_would_feed_is_refused() -> None:
    async with streaming(count) as (service, _app):
        client = await service.connect()
        await client.socket.send(
            '{"type":4,"invocationId":"5","target":"t","arguments":[],"streamIds":["1"]}\x1e'
        )

        assert "streams of clients" in str((await completion(client)).error)


async def test_a_client_that_is_slower_than_its_stream_holds_it_up_and_stays() -> None:
    big = "x" * 100_000

    async def pour(sender: Sender, received: Received) -> web.StreamResponse:
        for _ in range(100):
            assert (await sender.send(big)).status == 202
        return web.Response(body=received.webhook.complete())

    async with streaming(pour, max_pending_bytes=400_000) as (service, _app):
        client = await service.connect(receive_buffer=4096)
        await stream(client, "pour")
        connection = service.only_connection()
        await until(lambda: connection.transport.pending > 100_000)
        items, ended = await heard(client)

    assert len(items) == 100
    assert ended == end()
