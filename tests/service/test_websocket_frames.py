"""Upgrades and frames that need no core, and the same ones through the core: one behaviour."""

import re
import time

import pytest
from tests.service.fakes import ENDPOINT
from tests.service.fakesocket import Http, in_bytes, request

from hubbub.protocol.tokens import issue_client_token
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.settings import ServiceSettings
from hubbub.service.transports.websocket import WebSocketTransport

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
PLAIN = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def upgrade(*headers: str, method: str = "GET", **changed: str) -> bytes:
    """An upgrade request; `changed` has the headers that are not as in `PLAIN`."""
    token = issue_client_token(ENDPOINT, "chat", now=int(time.time()))
    different = {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in (PLAIN | different).items()]
    path = f"/client/?hub=chat&access_token={token}"
    return request(method, path, *lines, *headers)


def answered(head: bytes) -> tuple[Http, bytes]:
    """A connection that has been sent `head`, and its answer without the date."""
    http = Http(Node(ServiceSettings()))
    http.send(head)
    return http, re.sub(rb"Date: [^\r]+ GMT", b"Date:", bytes(http.socket.written))


@pytest.mark.parametrize(
    "same",
    [
        upgrade(),
        upgrade(Connection="keep-alive, Upgrade"),
        upgrade(Upgrade="WebSocket"),
        upgrade("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: x"),
        upgrade("X: 1", "X: 2"),  # which is left to `websockets`
    ],
    ids=["plain", "of Firefox", "in capitals", "with offers", "a header twice"],
)
async def test_a_good_upgrade_has_the_same_answer_whoever_judges_it(same: bytes) -> None:
    http, answer = answered(same)
    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nDate:\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n"
        b"Cache-Control: no-cache, no-store\r\nExpires: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"Pragma: no-cache\r\n\r\n"
    )
    assert isinstance(http.socket.protocol, WebSocketTransport)


@pytest.mark.parametrize(
    ("wrong", "status", "reason"),
    [
        (upgrade(Sec_WebSocket_Version="8"), 400, b"Sec-WebSocket-Version header: 8"),
        (upgrade(Sec_WebSocket_Key="short"), 400, b"Sec-WebSocket-Key header: short"),
        (upgrade(Sec_WebSocket_Key=""), 400, b"Sec-WebSocket-Key"),
        (upgrade(f"Sec-WebSocket-Key: {KEY}"), 400, b"multiple values"),
        (upgrade(method="PUT"), 405, b"PUT"),
    ],
)
async def test_a_wrong_upgrade_is_refused_and_the_socket_closes(
    wrong: bytes, status: int, reason: bytes
) -> None:
    http, answer = answered(wrong)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert reason in answer
    assert http.socket.is_closed


def frame(first: int, payload: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A frame of a client; `first` is its first byte: FIN, RSV and opcode."""
    if len(payload) < 126:
        head = bytes((first, 0x80 | len(payload)))
    else:
        head = bytes((first, 0xFE)) + len(payload).to_bytes(2)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


HANDSHAKE = frame(0x81, b'{"protocol":"json","version":1}\x1e')
PING = b'{"type":6}\x1e'
STREAMS = {
    "one message": frame(0x81, PING),
    "several": frame(0x81, PING) + frame(0x82, PING) + frame(0x81, b""),
    "a mask of zeros": frame(0x81, PING, mask=bytes(4)),
    "the longest short one": frame(0x81, b" " * 114 + PING),
    "the shortest long one": frame(0x81, b" " * 115 + PING),
    "short, long, short": frame(0x81, PING) + frame(0x81, PING * 30) + frame(0x81, PING),
    "fragments": frame(0x01, PING[:4]) + frame(0x00, PING[4:7]) + frame(0x80, PING[7:]),
    "short around fragments": frame(0x81, b"a") + frame(0x01, b"b") + frame(0x80, b"c"),
    "a ping of WebSocket": frame(0x81, PING) + frame(0x89, b"hello") + frame(0x81, PING),
    "a close and more": frame(0x81, PING) + frame(0x88, b"\x03\xe8") + frame(0x81, PING),
    "a reserved bit later": frame(0x81, PING) + frame(0xC1, PING),
    "no mask later": frame(0x81, PING) + b"\x81\x01x",
    "a hub's close and more": frame(0x81, b'{"type":7}\x1e') + frame(0x81, PING) * 2,
    "a wrong message and more": frame(0x81, b"x\x1e") + frame(0x81, PING),
}


async def heard(monkeypatch: pytest.MonkeyPatch, *pieces: bytes) -> tuple[bytes, bytes]:
    """What a connection received, and what was written, when a client sent these pieces."""
    received = []
    receive = Connection.receive

    def recorded(self: Connection, data: bytes) -> None:
        if self.is_live:
            received.append(data)
        receive(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "receive", recorded)
        http, _ = answered(upgrade())
        http.socket.written.clear()
        http.send(*pieces)
    return b"".join(received), bytes(http.socket.written)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
async def test_frames_mean_the_same_however_they_come(
    monkeypatch: pytest.MonkeyPatch, stream: bytes
) -> None:
    whole = await heard(monkeypatch, HANDSHAKE + stream)
    assert whole == await heard(monkeypatch, HANDSHAKE, stream)
    assert whole == await heard(monkeypatch, *in_bytes(HANDSHAKE + stream))
    for cut in range(1, len(stream)):
        assert whole == await heard(monkeypatch, HANDSHAKE, stream[:cut], stream[cut:])


async def test_a_client_of_short_messages_needs_no_core() -> None:
    http, _ = answered(upgrade())
    http.send(HANDSHAKE, frame(0x81, PING), frame(0x81, PING) * 3)
    assert http.socket.protocol._core is None
    http.send(frame(0x81, PING)[:-1])
    assert http.socket.protocol._core is not None
