"""Streams whose clients leave, cancel, ask for too many or are slow; nothing is left behind."""

import asyncio
import json

import pytest
from aiohttp import web
from tests.service.streaming_app import Sender, cancel, count, end, heard, stream, streaming
from tests.service.upstream_app import (
    Received,
    answering,
    completion,
    echo,
    invoke,
    result,
    running_app,
    running_service,
    until,
    upstream,
)

from hubbub.protocol.messages import StreamItem as Item
from hubbub.protocol.upstreamtemplate import Template


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
        await until(lambda: len(service.node.upstream.streaming) == 2)

        for number in range(2):
            await stream(second, "wait", id_=str(number))
        refused = await completion(second)
        assert "as many streams as it can have" in str(refused.error)

        await first.socket.close()
        await until(lambda: len(service.node.upstream.streaming) == 1)
        await stream(second, "wait", id_="again")
        await until(lambda: len(service.node.upstream.streaming) == 2)


async def test_calls_that_are_given_up_at_once_count_until_their_request_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(sender: Sender, received: Received) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("hubbub.service.upstream.streaming._NOTICE", 60)
    async with streaming(silent, max_client_streams=3) as (service, app):
        client = await service.connect()
        await app.next()
        for number in range(3):
            await stream(client, "s", id_=str(number))
            await app.next()
            await cancel(client, str(number))
            assert await completion(client) == end(id_=str(number))
        await stream(client, "s", id_="4")

        assert "at most 3 streams" in str((await completion(client)).error)
        assert len(app.received) == 4


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
