"""What no client should send: its connection ends and it is told why, and nobody else notices."""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from tests.service.conftest import Start
from tests.service.running import PATIENCE, Client, Service
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hubbub.protocol.codec import MESSAGEPACK
from hubbub.protocol.framing import varint
from hubbub.protocol.messages import Close

MASK = b"\x01\x02\x03\x04"


def frame(first: int, payload: bytes, *, is_masked: bool = True) -> bytes:
    """A frame of a client, right or wrong; `first` is its first byte: FIN, RSV and opcode."""
    masked = 0x80 if is_masked else 0
    if len(payload) < 126:
        head = bytes((first, masked | len(payload)))
    else:
        head = bytes((first, masked | 126)) + struct.pack("!H", len(payload))
    if not is_masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


PING = b'{"type":6}\x1e'


@pytest.fixture
async def bystander(service: Service) -> AsyncIterator[Client]:
    """Another client of the hub, who must still receive when the test is over."""
    client = await service.connect()
    yield client
    await service.send("still there")
    assert await client.call() == ("still there", [])


WRONG_FRAMES = {
    "the first reserved bit": frame(0xC1, PING),
    "the second reserved bit": frame(0xA1, PING),
    "the third reserved bit": frame(0x91, PING),
    "a reserved bit of a ping": frame(0xC9, b""),
    "opcode 3": frame(0x83, PING),
    "opcode 7": frame(0x87, PING),
    "opcode 11": frame(0x8B, b""),
    "opcode 15": frame(0x8F, b""),
    "a ping of 126 bytes": frame(0x89, b"x" * 126),
    "a pong of 126 bytes": frame(0x8A, b"x" * 126),
    "a close of 126 bytes": frame(0x88, b"\x03\xe8" + b"x" * 124),
    "a ping in fragments": frame(0x09, b""),
    "a close of one byte": frame(0x88, b"\x03"),
    "a close with a code of nobody": frame(0x88, b"\x00\x00"),
    "a frame without a mask": frame(0x81, PING, is_masked=False),
    "a continuation of nothing": frame(0x80, PING),
    "a text inside of another": frame(0x01, b"{") + frame(0x81, PING),
}


@pytest.mark.parametrize("wrong", WRONG_FRAMES.values(), ids=WRONG_FRAMES)
async def test_a_frame_against_rfc_6455_ends_the_connection_with_1002(
    service: Service, bystander: Client, wrong: bytes
) -> None:
    client = await service.connect()

    client.write(wrong)

    close, code = await client.end()
    assert code == 1002
    assert close is not None
    assert close.error is not None
    assert close.error.startswith("WebSocket error: ")
    assert not close.allow_reconnect


@pytest.mark.parametrize("wrong", WRONG_FRAMES.values(), ids=WRONG_FRAMES)
async def test_a_wrong_frame_before_the_handshake_ends_the_connection_too(
    service: Service, bystander: Client, wrong: bytes
) -> None:
    client = await service.open()
    client.write(wrong)
    with pytest.raises(ConnectionClosed) as caught:
        await client.frame()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1002


@pytest.mark.parametrize(
    ("protocol", "data", "explanation"),
    [
        ("json", b"hello\x1e", "malformed"),
        ("json", b"\x1e", "truncated"),
        ("json", b"{}\x1e", "missing required field `type`"),
        ("json", b'{"type":[]}\x1e', "Expected `int`"),
        ("json", b'{"type":1,"target":"t"}\x1e', "missing required field `arguments`"),
        ("json", b'{"type":1,"target":"t","arguments":{}}\x1e', "Expected 'arguments' to be of"),
        ("json", b'{"type":1,"target":"\xff","arguments":[]}\x1e', "utf-8"),
        ("json", b'{"type":3,"invocationId":"1","result":1,"error":""}\x1e', "mutually exclusive"),
        ("json", b'{"type":8,"sequenceId":"1"}\x1e', "Expected `int`"),
        ("json", b"[" * 10_000 + b"]" * 10_000 + b"\x1e", "Expected `object`"),
        ("json", b'{"type":99,"x":' + b"[" * 100_000 + b"\x1e", "Not a hub message"),
        (
            "json",
            b'{"type":1,"target":"t","arguments":' + b"[" * 10_000 + b"]" * 10_000 + b"}\x1e",
            "recursion",
        ),
        ("messagepack", b"\x00", "truncated"),
        ("messagepack", b"\x01\xc1", "malformed"),
        ("messagepack", b"\x01\x90", "Expected `array` of at least length 1"),
        ("messagepack", b"\x02\x91\x90", "Expected `int`"),
        ("messagepack", varint(10_002) + b"\x92\x01" + b"\x91" * 10_000, "Not a hub message"),
        (
            "messagepack",
            varint(10_007) + b"\x95\x01\xc0\xc0\xa1t" + b"\x91" * 10_000 + b"\x90",
            "recursion",
        ),
        ("messagepack", b"\xff\xff\xff\xff\x07", "maximum message size of 1048576B"),
        ("messagepack", b"\xff\xff\xff\xff\xff", "A length prefix is at most five bytes long."),
        ("messagepack", b'{"type":6}\x1e' * 40, "Not a hub message"),
    ],
)
async def test_a_record_that_is_no_message_ends_the_connection_with_a_reason(
    service: Service, bystander: Client, protocol: str, data: bytes, explanation: str
) -> None:
    client = await service.connect(protocol=protocol)

    await client.socket.send(data)

    close, code = await client.end()
    assert close is not None
    assert close.error is not None
    assert close.error.startswith("Connection closed with an error. ")
    assert explanation in close.error
    assert code == 1000
    assert len(service.hub().connections) == 1


async def test_a_text_frame_that_is_no_utf8_is_refused(service: Service, bystander: Client) -> None:
    client = await service.connect()
    await client.socket.send(b'{"type":6,"x":"\xff\xfe"}\x1e', text=True)
    close, _ = await client.end()
    assert close is not None
    assert "utf-8" in str(close.error)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_message_over_the_limit_is_told_the_limit(start: Start, protocol: str) -> None:
    service = await start(max_message_size=1000)
    other, client = await service.connect(), await service.connect(protocol=protocol)

    # In frames that are each within the limit: the message is what is too long.
    with suppress(ConnectionClosed):
        for _ in range(3):
            await client.socket.send(varint(1500)[:2] + b"x" * 500)

    close, _ = await client.end()
    assert close is not None
    assert "The maximum message size of 1000B was exceeded." in str(close.error)
    await service.send("still there")
    assert await other.call() == ("still there", [])


async def test_a_frame_over_the_limit_is_told_that_it_is_too_big(start: Start) -> None:
    service = await start(max_message_size=1000)
    other, client = await service.connect(), await service.connect()

    await client.socket.send("x" * 1001)

    close, code = await client.end()
    assert close is not None
    assert "1001" in str(close.error)
    assert "1000" in str(close.error)
    assert code == 1009
    await service.send("still there")
    assert await other.call() == ("still there", [])


async def test_a_message_may_be_as_long_as_the_limit(start: Start) -> None:
    service = await start(max_message_size=1000)
    client = await service.connect()
    head, tail = '{"type":6,"x":"', '"}'
    await client.socket.send(head + "x" * (1000 - len(head + tail)) + tail)
    await client.socket.send("\x1e" + '{"type":7}\x1e')
    assert await client.end() == (Close(), 1000)


async def test_a_frame_that_promises_gigabytes_is_refused_before_they_come(
    service: Service, bystander: Client
) -> None:
    client = await service.connect()
    client.write(b"\x81\xff" + (2**31).to_bytes(8) + MASK)
    close, code = await client.end()
    assert close is not None
    assert code == 1009


async def test_a_handshake_that_never_ends_is_refused(service: Service, bystander: Client) -> None:
    client = await service.open()
    await client.socket.send(" " * 5000)
    assert b"An unexpected error occurred during connection handshake." in await client.frame()
    assert await client.end() == (None, 1000)


async def test_a_binary_client_that_sends_text_records_is_refused_and_not_kept(
    service: Service, bystander: Client
) -> None:
    client = await service.connect(protocol="messagepack")
    await client.socket.send('{"type":6}\x1e' * 20, text=True)
    close, _ = await client.end()
    assert close is not None
    assert len(service.hub().connections) == 1


async def test_what_comes_after_a_wrong_record_is_not_looked_at(
    service: Service, bystander: Client
) -> None:
    client = await service.connect(protocol="messagepack")
    await client.socket.send(b"\x01\xc1" + MESSAGEPACK.ping * 3 + b"\x01\xc1")
    close, code = await client.end()
    assert close is not None
    assert code == 1000


async def test_half_open_handshakes_disturb_nobody(service: Service, bystander: Client) -> None:
    waiting = [await service.open() for _ in range(100)]
    half = [await service.open() for _ in range(20)]
    for client in half:
        await client.socket.send('{"protocol":"json"')

    await service.send("t")

    assert await bystander.call() == ("t", [])
    assert len(service.hub().connections) == 1
    for client in (*waiting, *half):
        client.socket.transport.abort()


UPGRADE = b"GET /client/?hub=chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize(
    "head",
    [
        UPGRADE + b"\r\n",
        UPGRADE + b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client that expects TLS
        b"GARBAGE\r\n\r\n",
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
async def test_what_is_no_upgrade_is_answered_or_closed_and_disturbs_nobody(
    service: Service, bystander: Client, head: bytes
) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    writer.write_eof()
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2"))


@pytest.mark.parametrize(
    ("version", "key"),
    [("13", "too short"), ("13", None), ("8", "dGhlIHNhbXBsZSBub25jZQ=="), (None, "x")],
)
async def test_an_upgrade_that_is_not_rfc_6455_is_refused(
    service: Service, bystander: Client, version: str | None, key: str | None
) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": version,
        "Sec-WebSocket-Key": key,
        "Authorization": f"Bearer {service.token()}",
    }
    answer = await service.request(
        "GET",
        "/client/?hub=chat",
        headers={name: value for name, value in headers.items() if value is not None},
    )
    assert answer.status in {400, 426}
    assert len(service.hub().connections) == 1


async def test_a_server_connection_is_explained(service: Service, bystander: Client) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await service.open(path="/server/")
    assert caught.value.response.status_code == 403
    assert b"serverless mode" in (caught.value.response.body or b"")
    assert b"Transient" in (caught.value.response.body or b"")


async def test_an_upgrade_of_another_path_is_not_found(service: Service, bystander: Client) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await service.open(path="/chat")
    assert caught.value.response.status_code == 404
    assert b"/client/?hub=HUB" in (caught.value.response.body or b"")


async def test_a_client_that_breaks_the_rules_does_not_break_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = await service.connect()
    client.write(frame(0xC1, PING))
    await client.end()
    await client.socket.wait_closed()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
