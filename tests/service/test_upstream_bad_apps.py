"""Apps that are down, slow, wrong or hostile: clients keep their connections and get an answer."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from tests.service.upstream_app import (
    Behaviour,
    Received,
    answering,
    echo,
    invoke,
    result,
    running_app,
    running_service,
    upstream,
)

from hubbub.protocol.codec import JSON, MESSAGEPACK
from hubbub.protocol.messages import Completion, Ping
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.upstream.outcome import Kind

UNREACHED = "Invocation failed, status code 500"
UNUSABLE = "Invocation failed, error: the upstream's response is not a completion."
TOO_LARGE = "Invocation failed, response too large."
CUT_OFF = "Invocation failed, error: the upstream's response ended early."
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def raw_app(serve: Raw) -> tuple[asyncio.Server, str]:
    """A server that speaks as a test says, HTTP or not."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"


def saying(data: bytes) -> Raw:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(data)
        await writer.drain()

    return serve


async def test_an_app_that_is_down_ends_each_invoke_and_no_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    template = Template(url_template=f"http://127.0.0.1:{port}/x?code=secret")
    async with running_service(template) as service:
        client = await service.connect()

        assert await result(client, "a") == UNREACHED
        assert await result(client, "b") == UNREACHED
        assert service.node.upstream.outcomes["messages", Kind.UNREACHABLE] == 2

    assert f"http://127.0.0.1:{port}/x: Cannot connect" in caplog.text
    assert "messages/'a' of hub chat" in caplog.text
    assert "Start the app" in caplog.text
    assert "secret" not in caplog.text


async def test_an_app_without_tls_is_not_said_to_be_away(caplog: pytest.LogCaptureFixture) -> None:
    async with running_app() as app:
        template = Template(url_template=app.url.replace("http:", "https:"))
        async with running_service(template) as service:
            client = await service.connect()

            assert await result(client, "a") == UNREACHED
            assert service.node.upstream.outcomes["messages", Kind.NO_TLS] == 1

    assert "Write http:// in the template" in caplog.text
    assert "Nothing listens" not in caplog.text


async def test_an_app_that_is_too_slow_ends_the_invoke() -> None:
    gate = asyncio.Event()

    async def slow(received: Received) -> web.StreamResponse:
        if received.event == "slow":
            await gate.wait()
        return await echo(received)

    async with upstream(slow, template={"timeout": 0.2}) as (service, _app):
        client = await service.connect()

        assert await result(client, "slow") == UNREACHED
        assert service.node.upstream.outcomes["messages", Kind.TIMEOUT] == 1
        assert await result(client, "quick") == []
        gate.set()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UNREACHED),
        (b"SSH-2.0-OpenSSH\r\n\r\n", UNREACHED),
        (b"HTTP/1.1 2", UNREACHED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", UNREACHED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", CUT_OFF),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", CUT_OFF),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", UNREACHED),
    ],
    ids=repr,
)
async def test_an_app_that_breaks_http_ends_the_invoke(
    data: bytes, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, url = await raw_app(saying(data))
    async with server, running_service(Template(url_template=f"{url}?code=secret")) as service:
        client = await service.connect()

        assert await result(client, "any") == error
        assert await result(client, "still there") == error
    assert f"{url}: " in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"<html>login</html>",
        b"\x1e",
        b'{"type":3,"invocationId":"1","result":1}',  # without its framing
        b'{"type":3,"invocationId":"2","result":1}\x1e',  # of another call
        b'{"type":3,"invocationId":"1"}\x1e{"type":3,"invocationId":"1"}\x1e',
        b'{"type":3,"invocationId":"1"}\x1e{"type":7}\x1e',  # nobody may close for us
        b'{"type":3,"invocationId":"1"}\x1e{"type":9,"sequenceId":1}\x1e',
        b'{"type":3,"invocationId":"1"}\x1e{"type":77}\x1e',
        b'{"type":3,"invocationId":"1"}\x1e{"type":3,"invoc',
        b'{"type":3,"invocationId":"1","result":\xff}\x1e',
        b"[" * 100_000 + b"\x1e",
        JSON.encode(Ping()),
        MESSAGEPACK.encode(Completion(invocation_id="2")),
        MESSAGEPACK.encode(Completion(invocation_id="1"))[1:],
        MESSAGEPACK.encode(Completion(invocation_id="1"))[:-1],
        b"\xff\xff\xff\xff\xff\xff",
    ],
    ids=lambda body: repr(body)[:60],
)
async def test_an_answer_that_is_no_completion_never_reaches_the_client(
    protocol: str, body: bytes
) -> None:
    async with upstream(answering(body=body)) as (service, app):
        client = await service.connect(protocol=protocol)

        assert await result(client, "any") == UNUSABLE
        app.behaviour = echo
        assert await result(client, "still there") == []


@pytest.mark.parametrize(("protocol", "other"), [("json", MESSAGEPACK), ("messagepack", JSON)])
async def test_a_completion_in_the_other_encoding_never_reaches_the_client(
    protocol: str, other: object
) -> None:
    body = other.encode(Completion(invocation_id="1"))  # type: ignore[attr-defined]
    async with upstream(answering(body=body)) as (service, _app):
        client = await service.connect(protocol=protocol)

        assert await result(client, "any") == UNUSABLE


def large(size: int, *, chunked: bool) -> Behaviour:
    """Answer with a completion of `size` bytes."""

    async def answer(received: Received) -> web.StreamResponse:
        if received.headers["X-ASRS-Category"] != "messages":
            return web.Response()
        text = received.webhook.complete("")
        response = web.Response(body=received.webhook.complete("x" * (size - len(text))))
        if chunked:
            response.enable_chunked_encoding()
        return response

    return answer


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_an_answer_that_is_too_large_ends_the_invoke_and_not_the_connection(
    chunked: bool,
) -> None:
    async with upstream(large(10_000_000, chunked=chunked)) as (service, app):
        client = await service.connect()

        assert await result(client, "any") == TOO_LARGE
        app.behaviour = large(17_000_000, chunked=chunked)
        assert await result(client, "any") == TOO_LARGE
        app.behaviour = echo
        assert await result(client, "still there") == []


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_the_largest_answer_that_a_client_may_be_sent_arrives(chunked: bool) -> None:
    async with upstream(large(1_048_576 - 1024, chunked=chunked)) as (service, _app):
        client = await service.connect()

        assert len(await result(client, "any")) > 1_000_000
        assert len(await result(client, "again")) > 1_000_000


async def test_a_compressed_answer_is_not_inflated() -> None:
    async def bomb(received: Received) -> web.StreamResponse:
        response = web.Response(body=received.webhook.complete("x" * 10_000))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with upstream(bomb) as (service, _app):
        client = await service.connect()

        assert await result(client, "any") == UNUSABLE


def redirecting(status: int, location: str) -> Behaviour:
    """Redirect the first request, take the second."""

    async def answer(received: Received) -> web.StreamResponse:
        if received.path.endswith("/final"):
            return await echo(received)
        return web.Response(status=status, headers={"Location": location})

    return answer


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_that_keeps_the_post_is_followed_on_the_same_server(status: int) -> None:
    async with upstream(redirecting(status, "/final")) as (service, _app):
        client = await service.connect()

        assert await result(client, "any", 1) == [1]


@pytest.mark.parametrize(
    ("status", "location", "words"),
    [
        (301, "/final", "drops the body"),
        (302, "/final", "drops the body"),
        (303, "/final", "drops the body"),
        (307, "/again", "more than 3 times"),
        (307, "http://localhost:1/final?code=secret", "another host: http://localhost:1/final"),
        (307, "http://169.254.169.254/latest/meta-data", "another host"),
        (307, "https://127.0.0.1/final", "another host"),
        (307, "http://[::1", "no URL of a web server"),
        (307, "file:///etc/passwd", "no URL of a web server"),
    ],
)
async def test_any_other_redirect_ends_the_invoke(
    status: int, location: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(redirecting(status, location)) as (service, _app):
        client = await service.connect()

        assert await result(client, "any") == UNREACHED
        assert service.node.upstream.outcomes["messages", Kind.REDIRECT] == 1
    assert words in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",  # 169.254.169.254 as a number
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0.0.0.0:1/",
    ],
)
async def test_metadata_of_a_cloud_is_out_of_reach(url: str) -> None:
    async with running_service(Template(url_template=url)) as service:
        client = await service.connect()

        assert await result(client, "any") == UNREACHED
        (kind,) = (
            kind for category, kind in service.node.upstream.outcomes if category == "messages"
        )
        assert kind in {Kind.FORBIDDEN_ADDRESS, Kind.BAD_URL}


async def test_a_client_cannot_choose_a_host_inside() -> None:
    async with running_app() as app:
        port = app.url.rpartition(":")[2]
        async with running_service(Template(url_template=f"http://{{event}}:{port}/")) as service:
            client = await service.connect()

            for host in ("127.0.0.1", "localhost", "0x7f.1"):
                assert await result(client, host) == UNREACHED
            assert service.node.upstream.outcomes["messages", Kind.FORBIDDEN_ADDRESS] == 3
        assert app.received == []


async def test_an_app_cannot_set_cookies() -> None:
    async def cookie(received: Received) -> web.StreamResponse:
        response = await echo(received)
        response.set_cookie("a", "b")
        return response

    async with upstream(cookie) as (service, app):
        client = await service.connect()
        await result(client, "one")
        await result(client, "two")

    assert [request for request in app.received if "Cookie" in request.headers] == []


async def test_the_same_complaint_is_one_warning_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "hubbub.service")
    async with upstream(answering(status=418)) as (service, _app):
        client = await service.connect()
        for _ in range(3):
            await result(client, "tea")

    levels = [record.levelname for record in caplog.records if "418" in record.getMessage()]
    assert levels == ["WARNING", "DEBUG", "DEBUG"]


async def test_a_missing_function_for_connections_is_no_news_of_an_optional_upstream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def missing(received: Received) -> web.StreamResponse:
        return web.Response(status=404)

    async with upstream(missing, template={"is_optional": True}) as (service, app):
        client = await service.connect()
        await app.next()
        assert caplog.text == ""

        assert await result(client, "call") == "Invocation failed, status code 404"
    assert "messages/'call'" in caplog.text
    assert "connected" not in caplog.text


async def test_payloads_and_claims_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hubbub.service")
    async with upstream(answering(status=500, body=b"stack trace")) as (service, _app):
        client = await service.connect(user="private-user")
        await invoke(client, "call", "private-argument")
        await client.message()

    assert "private" not in caplog.text
    assert "stack trace" not in caplog.text
