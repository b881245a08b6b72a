"""What an app is told of connections and messages, and what its clients get."""

import asyncio

import pytest
from aiohttp import web
from tests.service.running import Service
from tests.service.upstream_app import (
    Received,
    answering,
    completion,
    echo,
    invoke,
    result,
    running_app,
    running_service,
    upstream,
)

from hubbub.protocol.messages import Close, Completion
from hubbub.protocol.upstreamtemplate import Template
from hubbub.protocol.webhooks import FULL_SIGNATURE, receive_webhook
from hubbub.service.settings import EMULATOR_KEY
from hubbub.service.upstream.outcome import Kind

PROTOCOL = pytest.mark.parametrize("protocol", ["json", "messagepack"])
OTHER_KEY = "0123456789" * 4


@PROTOCOL
async def test_an_invoke_gets_what_the_app_answers(protocol: str) -> None:
    async with upstream() as (service, _app):
        client = await service.connect(protocol=protocol)

        assert await result(client, "echo", "ä", 1, {"a": [None]}) == ["ä", 1, {"a": [None]}]


@PROTOCOL
async def test_the_app_is_told_who_it_is_and_what_was_said(protocol: str) -> None:
    async with upstream(
        path="/{hub}/{category}/{event}?code=a", access_keys=(OTHER_KEY, EMULATOR_KEY)
    ) as (
        service,
        app,
    ):
        token = service.token("Chat", "Jürgen", role="admin")
        query = {"hub": "Chat", "access_token": token, "a": "1 2"}
        client = await service.open(query=query)
        await client.handshake(protocol)
        await invoke(client, "say it/ä", 1)
        await client.message()
        connected, message = await app.next(), await app.next()

    assert connected.path == "/chat/connections/connected?code=a"
    assert connected.body == b'{"type":10}'
    assert message.path == "/chat/messages/say%20it%2F%C3%A4?code=a"
    webhook = receive_webhook(message.headers, message.body, (EMULATOR_KEY,))
    assert receive_webhook(message.headers, message.body, (OTHER_KEY,)) is not None
    assert (webhook.hub, webhook.category, webhook.event) == ("chat", "messages", "say it/ä")
    assert webhook.user_id == webhook.claims["asrs.s.uid"] == "Jürgen"
    assert webhook.query == {"hub": "Chat", "a": "1 2"}
    assert webhook.codec.name == protocol
    assert webhook.arguments == [1]
    assert webhook.connection_id == connected.webhook.connection_id
    assert token not in str(message.headers) + str(connected.headers)
    assert FULL_SIGNATURE not in message.headers
    assert "Authorization" not in message.headers


async def test_connection_events_are_json_for_a_messagepack_client_too() -> None:
    async with upstream() as (service, app):
        client = await service.connect(protocol="messagepack")
        await client.socket.close()

        for event in ("connected", "disconnected"):
            received = await app.next()
            assert received.event == event
            assert received.headers["Content-Type"] == "application/json"


@PROTOCOL
async def test_a_send_is_not_answered_whatever_the_app_says(protocol: str) -> None:
    async with upstream(answering(body=b"anything", status=500)) as (service, app):
        client = await service.connect(protocol=protocol)
        await invoke(client, "quiet", id_=None)
        app_heard = [await app.next(), await app.next()]
        app.behaviour = echo

        assert await result(client, "loud") == []  # the next message after all
        assert app_heard[1].webhook.invocation is not None
        assert app_heard[1].webhook.invocation.invocation_id is None


async def test_an_answer_may_bring_invocations_before_its_completion() -> None:
    async def answer(received: Received) -> web.StreamResponse:
        news = b'{"type":1,"target":"news","arguments":["a"]}\x1e'
        body = received.webhook.complete("done")
        return web.Response(body=news + body if body else b"")

    async with upstream(answer) as (service, _app):
        client = await service.connect()
        await invoke(client, "go")

        assert await client.call() == ("news", ["a"])
        assert (await completion(client)).invocation_id == "1"


@pytest.mark.parametrize("response", [{"status": 204}, {"status": 200}])
async def test_an_answer_without_a_body_completes_without_a_result(
    response: dict[str, int],
) -> None:
    async with upstream(answering(**response)) as (service, _app):
        client = await service.connect()
        await invoke(client, "void")

        assert await client.message() == Completion(invocation_id="1")


async def test_an_empty_chunked_answer_completes_too() -> None:
    async def chunked(received: Received) -> web.StreamResponse:
        response = web.Response()
        response.enable_chunked_encoding()
        return response

    async with upstream(chunked) as (service, _app):
        client = await service.connect()
        await invoke(client, "void")

        assert await client.message() == Completion(invocation_id="1")


@pytest.mark.parametrize("status", [201, 202, 400, 401, 403, 404, 500, 503])
async def test_another_status_ends_the_invoke_with_the_sentence_of_the_original(
    status: int,
) -> None:
    async with upstream(answering(status=status, body=b"details")) as (service, _app):
        client = await service.connect()

        assert await result(client, "any") == f"Invocation failed, status code {status}"


async def test_streams_of_a_client_are_refused_and_its_other_calls_work() -> None:
    async with upstream() as (service, _app):
        client = await service.connect()
        await client.socket.send(
            '{"type":1,"invocationId":"5","target":"t","arguments":[],"streamIds":["1"]}\x1e'
        )

        assert "streams of clients" in str((await completion(client)).error)
        assert await result(client, "still there") == []


async def test_a_name_that_no_header_can_hold_is_refused_here() -> None:
    async with upstream() as (service, _app):
        client = await service.connect()

        assert "at most 4096 characters" in await result(client, "x" * 4097)
        assert await result(client, "x" * 4096) == []


async def test_a_call_that_no_template_takes_ends_at_once() -> None:
    async with running_app() as app:
        template = Template(url_template=app.url, event_pattern="known")
        async with running_service(template) as service:
            client = await service.connect()

            error = await result(client, "unknown")
            assert error == "Invocation failed, no upstream takes 'unknown' of hub 'chat'."
            await invoke(client, "unknown", id_=None)
            assert await result(client, "known") == []
            assert [request.event for request in app.received] == ["known"]
            assert service.node.upstream.outcomes["messages", Kind.NO_TEMPLATE] == 2


async def test_without_any_upstream_a_client_that_calls_is_told_and_closed(
    service: Service,
) -> None:
    client = await service.connect()
    await invoke(client, "anything")

    assert "no upstream configured" in str((await completion(client)).error)
    close, _code = await client.end()
    assert close is not None
    assert "no upstream configured" in str(close.error)


async def test_the_first_template_that_matches_gets_the_event_even_if_it_fails() -> None:
    async with running_app(answering(status=500)) as broken, running_app() as other:
        templates = (
            Template(url_template=broken.url, event_pattern="a"),
            Template(url_template=other.url),
        )
        async with running_service(*templates) as service:
            client = await service.connect()

            assert await result(client, "a") == "Invocation failed, status code 500"
            assert await result(client, "b") == []
            assert [request.event for request in broken.received] == ["a"]
            assert [request.event for request in other.received] == ["connected", "b"]


async def test_disconnected_says_why_and_comes_once() -> None:
    async with upstream() as (service, app):
        first = await service.connect()
        second = await service.connect()
        await app.next_events(2)
        await first.socket.close()
        ended = await app.next()
        service.only_connection().close(Close(error="Enough."))
        await second.end()
        closed = await app.next()

    assert (ended.event, ended.webhook.error) == ("disconnected", None)
    assert (closed.event, closed.webhook.error) == ("disconnected", "Enough.")
    assert len(app.received) == 4


async def test_a_connection_without_a_handshake_is_nothing_to_tell() -> None:
    async with upstream() as (service, app):
        client = await service.open()
        await client.handshake("unknown")
        await client.end()

    assert app.received == []


@pytest.mark.parametrize("status", [401, 403])
async def test_an_app_may_refuse_a_connection_where_the_template_says_so(status: int) -> None:
    async def refuse(received: Received) -> web.StreamResponse:
        return web.Response(status=status, text="Pay first.")

    async with upstream(refuse, template={"reject_connections": True}) as (service, app):
        client = await service.connect()
        close, _code = await client.end()

    assert close == Close(error="Pay first.")
    # The app is not told of the end of what it has not let in.
    assert [request.event for request in app.received] == ["connected"]


async def test_a_refusal_without_words_is_closed_with_the_status() -> None:
    async def refuse(received: Received) -> web.StreamResponse:
        return web.Response(status=403)

    async with upstream(refuse, template={"reject_connections": True}) as (service, app):
        client = await service.connect()
        await invoke(client, "too late", id_=None)
        close, _code = await client.end()

    assert close == Close(error="The app refused the connection, status code 403.")
    assert [request.event for request in app.received] == ["connected"]


@pytest.mark.parametrize(
    ("reject", "status"), [(False, 403), (True, 500), (True, 404), (True, 200)]
)
async def test_a_connection_stays_otherwise(reject: bool, status: int) -> None:
    async def answer(received: Received) -> web.StreamResponse:
        if received.event == "connected":
            return web.Response(status=status)
        return await echo(received)

    async with upstream(answer, template={"reject_connections": reject}) as (service, _app):
        client = await service.connect()

        assert await result(client, "hello") == []


async def test_a_full_signature_goes_along_where_the_template_says_so() -> None:
    async with upstream(template={"sign_body": True}) as (service, app):
        client = await service.connect(user="bob")
        await result(client, "hello")

    for request in app.received:
        time = int(request.headers[FULL_SIGNATURE].split(",")[0].removeprefix("t="))
        receive_webhook(request.headers, request.body, (EMULATOR_KEY,), now=time)


async def test_events_still_under_way_are_delivered_when_the_service_stops() -> None:
    gate = asyncio.Event()

    async def slow(received: Received) -> web.StreamResponse:
        await gate.wait()
        return web.Response()

    async with upstream(slow) as (service, app):
        await service.connect()
        await app.next()
        service.node.close()
        gate.set()

    assert [request.event for request in app.received] == ["connected", "disconnected"]
