"""Peers that half open connections or never read, against a service in a process of its own.

They cost themselves at most: who is there stays and is sent to, and who comes gets in.
"""

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.interop.service import RunningService
from websockets.sync.client import ClientConnection, connect

PATIENCE = 20  # seconds
HANDSHAKE = '{"protocol":"json","version":1}\x1e'
PIECE = "x" * 100_000
SOCKETS = 3_000  # what this process and the service, which inherits the limit, may have open


@pytest.fixture(autouse=True)
def _enough_sockets() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = SOCKETS if hard == resource.RLIM_INFINITY else min(SOCKETS, hard)
    if max(soft, enough) < 1_200:
        pytest.skip(f"a process may open no more than {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    service = RunningService(tmp_path / "log")
    service.start()
    yield service
    assert service.end() == 0
    assert "Traceback" not in service.log.read_text()


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """Closes what the test has opened."""
    with ExitStack() as stack:
        yield stack


def upgrade(service: RunningService) -> bytes:
    """A request for a WebSocket."""
    return (
        "GET /client/?hub=chat HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: Bearer {service.client_token('chat', 'hostile')}\r\n\r\n"
    ).encode()


def frame(text: str) -> bytes:
    """A text frame of a client, under a mask of zeros."""
    data = text.encode()
    assert len(data) < 126
    return bytes((0x81, 0x80 | len(data), 0, 0, 0, 0)) + data


def raw_socket(service: RunningService, receive_buffer: int | None = None) -> socket.socket:
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(PATIENCE)
    raw.connect(("127.0.0.1", service.port))
    return raw


def read_head(raw: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    return head


def open_client(service: RunningService, user: str, sockets: ExitStack) -> ClientConnection:
    """A well-behaved client."""
    client = connect(
        f"ws://127.0.0.1:{service.port}/client/?hub=chat",
        additional_headers={"Authorization": f"Bearer {service.client_token('chat', user)}"},
        max_size=None,
    )
    sockets.enter_context(client)
    client.send(HANDSHAKE)
    assert client.recv(PATIENCE) == "{}\x1e"
    return client


def calls(client: ClientConnection, count: int) -> list[list[Any]]:
    """The arguments of the next invocations."""
    got: list[list[Any]] = []
    while len(got) < count:
        records = str(client.recv(PATIENCE)).split("\x1e")[:-1]
        messages = map(json.loads, records)
        got += [message["arguments"] for message in messages if message["type"] == 1]
    return got


def connection_count(service: RunningService) -> int:
    return len(service.call("GET", "chat", "/connections").json["value"])


def test_a_thousand_half_open_connections_disturb_nobody(
    service: RunningService, sockets: ExitStack
) -> None:
    first = open_client(service, "first", sockets)
    request = upgrade(service)
    for number in range(1_000):
        raw = sockets.enter_context(raw_socket(service))
        if number % 4 == 0:
            raw.sendall(request[: len(request) // 2])  # half a request
            continue
        raw.sendall(request)
        assert read_head(raw).startswith(b"HTTP/1.1 101 ")
        if number % 4 == 1:
            raw.sendall(frame(HANDSHAKE[:10]))  # half a handshake; the others have none

    second = open_client(service, "second", sockets)
    service.send("chat", "news", "for all")

    assert calls(first, 1) == calls(second, 1) == [["for all"]]
    assert connection_count(service) == 2


def test_a_client_that_never_reads_is_left_and_the_others_get_everything(
    service: RunningService, sockets: ExitStack
) -> None:
    reader = open_client(service, "reader", sockets)
    stuck = sockets.enter_context(raw_socket(service, receive_buffer=4096))
    stuck.sendall(upgrade(service))
    assert read_head(stuck).startswith(b"HTTP/1.1 101 ")
    stuck.sendall(frame(HANDSHAKE))
    assert stuck.recv(5) == b"\x81\x03{}\x1e"
    assert connection_count(service) == 2

    sent = 0
    while connection_count(service) == 2:
        service.send("chat", "news", sent, PIECE)
        assert calls(reader, 1) == [[sent, PIECE]]
        sent += 1
        assert sent < 1_000, "the service keeps 100 MB for a client that never reads"

    assert sent >= 10  # the limit of a megabyte was not passed before
    service.send("chat", "news", "the end")
    assert calls(reader, 1) == [["the end"]]
