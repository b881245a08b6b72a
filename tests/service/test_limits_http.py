"""What an HTTP client may send, and how long it may take for it. No socket is held for ever."""

import asyncio

import pytest
from tests.service.conftest import Start
from tests.service.fakes import FakeTransport, access_of
from tests.service.running import PATIENCE, Raw, Service

from hubbub.service.node import Node
from hubbub.service.session import State
from hubbub.service.settings import ServiceSettings

HEALTH = b"GET /api/health HTTP/1.1\r\nHost: service\r\n\r\n"


async def test_a_head_of_28_kilobytes_is_taken_and_a_longer_one_is_431(service: Service) -> None:
    fits = await service.raw()
    fits.send(HEALTH[:-2].replace(b"/api/health", b"/") + b"X: " + b"x" * 27 * 1024 + b"\r\n\r\n")
    assert await fits.status() == 200

    raw = await service.raw()
    raw.send(HEALTH[:-2] + b"X: " + b"x" * 28 * 1024)

    assert await raw.status() == 431
    assert await raw.rest() == b""


async def test_a_head_that_is_too_long_in_small_pieces_is_431(service: Service) -> None:
    raw = await service.raw()
    raw.send(HEALTH[:-2])
    for number in range(30):
        raw.send(b"X%d: %b\r\n" % (number, b"x" * 1000))
        await raw.writer.drain()
    assert await raw.status() == 431


async def test_a_body_that_comes_with_its_head_does_not_count_as_head(service: Service) -> None:
    client = await service.polling()
    raw = await service.raw()
    body = b'{"type":6}\x1e' * 5000
    raw.send(client.head("POST", f"Content-Length: {len(body)}") + body)
    assert await raw.status() == 200


@pytest.mark.parametrize("sent", [b"", b"\r\n", HEALTH[:-2]], ids=["nothing", "a line end", "half"])
async def test_a_head_that_does_not_come_closes_the_socket(start: Start, sent: bytes) -> None:
    service = await start(head_timeout=0)
    raw = await service.raw()
    raw.send(sent)
    assert await raw.rest() == b""


async def answered(raw: Raw) -> None:
    """A request that has been answered; the connection is kept for the next."""
    raw.send(HEALTH)
    assert await raw.status() == 200


async def test_a_line_end_after_an_answer_does_not_hold_the_socket(start: Start) -> None:
    service = await start(head_timeout=0.05)
    raw = await service.raw()
    await answered(raw)
    raw.send(b"\r\n")
    assert await raw.rest() == b""


async def test_a_body_after_an_early_answer_does_not_hold_the_socket(start: Start) -> None:
    service = await start(head_timeout=0.05)
    raw = await service.raw()
    raw.send(b"POST /client/ HTTP/1.1\r\nHost: service\r\nContent-Length: 1000\r\n\r\n")
    assert await raw.status() == 400  # it names no hub; the body need not come for that
    await raw.until(b".")
    raw.send(b"x")
    await raw.rest()


async def test_a_connection_is_kept_after_a_line_end_and_after_an_early_answer(
    service: Service,
) -> None:
    raw = await service.raw()
    await answered(raw)
    raw.send(b"\r\n")
    await answered(raw)
    raw.send(b"POST /nowhere HTTP/1.1\r\nHost: service\r\nContent-Length: 5\r\n\r\n")
    assert await raw.status() == 404
    await raw.until(b"Not Found")
    raw.send(b"12345")
    await answered(raw)


async def test_a_client_that_sends_much_more_than_is_taken_still_gets_its_answer(
    service: Service,
) -> None:
    raw = await service.raw()
    head = b"POST /api/hubs/chat/:send HTTP/1.1\r\nHost: service\r\nContent-Length: 3000000\r\n\r\n"
    await send_before_reading(raw, head)
    assert await raw.status() == 401
    await raw.until(b'"inner":null}')
    await answered(raw)


async def send_before_reading(raw: Raw, head: bytes) -> None:
    """Send all of a long request first. A socket closed meanwhile would take the answer along."""
    raw.writer.transport.set_write_buffer_limits(0)
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    raw.send(head)
    raw.send(b"x" * 3_000_000)
    async with asyncio.timeout(PATIENCE):
        await raw.writer.drain()
    raw.writer.transport.resume_reading()  # type: ignore[attr-defined]


async def test_a_post_that_is_far_over_the_limit_is_told_so(start: Start) -> None:
    service = await start(max_message_size=100_000)
    client = await service.polling()
    raw = await service.raw()
    await send_before_reading(raw, client.head("POST", "Content-Length: 3000000"))
    assert await raw.status() == 413
    assert await raw.until(b"A message is at most 100000 bytes long.")
    await answered(raw)


async def test_a_body_that_drips_is_408_and_the_socket_closes(start: Start) -> None:
    service = await start(body_timeout=0.05)
    client = await service.http_client()
    await client.poll()
    raw = await service.raw()
    raw.send(client.head("POST", "Content-Length: 100"))
    raw.send(b"x")

    assert await raw.status() == 408
    assert await raw.until(b"The body took too long.")
    assert await raw.rest() == b""


async def test_a_body_that_ends_early_costs_that_post_only(service: Service) -> None:
    client = await service.polling()
    raw = await service.raw()
    raw.send(client.head("POST", "Content-Length: 100", "Expect: 100-continue"))
    assert await raw.status() == 100
    raw.writer.transport.abort()
    await service.send("t")
    assert b'"target":"t"' in (await client.poll()).body


@pytest.mark.parametrize("pieces", [1, 2], ids=["at once", "body later"])
@pytest.mark.parametrize(
    "header", [("Upgrade: h2c",), ("upgrade:h2c",), ("UPGRADE:  h2c",)], ids=lambda found: found[0]
)
async def test_a_post_that_would_rather_be_http2_keeps_its_body(
    service: Service, header: tuple[str, ...], pieces: int
) -> None:
    client = await service.http_client()
    await client.poll()
    raw = await service.raw()
    body = b'{"protocol":"json","version":1}\x1e'
    head = client.head(
        "POST",
        "Connection: Upgrade, HTTP2-Settings",
        *header,
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        f"Content-Length: {len(body)}",
    )
    if pieces == 1:
        raw.send(head + body)
    else:
        raw.send(head)
        await raw.writer.drain()
        raw.send(body)

    assert await raw.status() == 200
    assert (await client.poll()).body == b"{}\x1e"
    await answered(raw)


async def test_an_upgrade_by_post_is_refused(service: Service) -> None:
    raw = await service.raw()
    lines = [
        f"POST /client/?hub=chat&access_token={service.token()} HTTP/1.1",
        "Host: service",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Content-Length: 0",
    ]
    raw.send("\r\n".join([*lines, "", ""]).encode())
    assert await raw.status() == 405


async def test_a_handshake_is_not_given_more_time_for_frames_or_posts_without_one() -> None:
    node, transport = Node(ServiceSettings()), FakeTransport()
    connection = node.connect(access_of(), transport)
    began = asyncio.get_running_loop().time()
    connection.receive(b"")
    connection.receive(b'{"protocol"')
    connection.received_at = began + 14  # when that came, say

    connection.tick(began + 14)
    assert connection.state is State.HANDSHAKE
    connection.tick(began + 15)

    assert transport.writes == [b'{"error":"Handshake was canceled."}\x1e']
    assert transport.is_closed


async def test_empty_posts_do_not_put_off_the_end_of_a_handshake(service: Service) -> None:
    client = await service.http_client(**{"asrs.s.ttl": "60"})
    await client.poll()
    (connection,) = service.node._connections.values()
    began = connection.sent_at
    assert (await client.post(b"")).status == 200
    connection.received_at = began + 14

    connection.tick(began + 15)

    assert (await client.poll()).body == b'{"error":"Handshake was canceled."}\x1e'
    assert (await client.poll()).status == 204
