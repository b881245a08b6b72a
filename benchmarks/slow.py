"""A reader that never reads, among many that do: what it does to the deliveries of the others."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.broadcast import rest_sender
from benchmarks.figure import Budget, Figure
from benchmarks.load import Callers, audience
from benchmarks.message import message
from benchmarks.native import Programs
from benchmarks.process import BenchmarkError
from benchmarks.sender import Plan, Sender, play
from benchmarks.server import HUB, Server, service
from benchmarks.size import Size

__all__ = ["slow"]

_NUMBER: Final = 9_999_999
_USER: Final = f"user-{_NUMBER}"
_BUFFER: Final = 4096  # bytes that the kernel takes for the one that reads nothing, about
_MOST_BEHIND: Final = 64 << 20  # past that the service has no limit
_MESSAGE: Final = message(2048)
_FILLER: Final = message(16_384)


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Clients that read, messages of a round, rounds with and without the one that does not."""

    clients: int
    messages: int
    rounds: int


CROWDS: Final = {
    Size.FULL: _Crowd(1000, 200, rounds=9),
    Size.QUICK: _Crowd(1000, 80, rounds=5),
    Size.TINY: _Crowd(4, 3, rounds=2),
}


def slow(programs: Programs, size: Size) -> list[Figure]:
    """The same broadcasts with it and without it, by turns; it is itself in no latency."""
    crowd = CROWDS[size]
    plan = Plan(crowd.messages, crowd.rounds)
    with_it, without, closed = [], [], 0
    with service() as server, audience(programs, server, crowd.clients) as listeners:
        sender: Sender = rest_sender(server, listeners, _MESSAGE)
        play(sender, plan)  # warms up
        # It passes the limit halfway through a round: there it is behind, and then it is closed.
        behind = _limit(server) - crowd.messages * len(_MESSAGE.body) // 2
        for _ in range(crowd.rounds):
            without.append(play(sender, plan))
            with _reader_that_never_reads(server):
                _send(server, max(behind, 0))
                server.process.settle()
                with_it.append(play(sender, plan))
                closed += not _is_there(server)
    if size is not Size.TINY and not closed:
        raise BenchmarkError("The client that never reads was never behind enough to be closed.")
    rounds = list(zip(with_it, without, strict=True))
    title = f"slow reader among {crowd.clients:,}"
    figures = [
        Figure(
            f"{title}: {name} of the others",
            "ms",
            tuple(getattr(round_.latency, quantile) / 1e6 for round_, _ in rounds),
            tuple(getattr(round_.latency, quantile) / 1e6 for _, round_ in rounds),
            "without it",
            (Budget(1.10, of_ratio=True),) if name == "p99" else (),
        )
        for name, quantile in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"))
    ]
    cpu = Figure(
        f"{title}: CPU of a delivered message",
        "ns",
        tuple(round_.cpu for round_, _ in rounds),
        tuple(round_.cpu for _, round_ in rounds),
        "without it",
    )
    return [*figures, cpu]


@contextlib.contextmanager
def _reader_that_never_reads(server: Server) -> Iterator[None]:
    """Connect, receive the handshake's answer and nothing after it."""
    (token,) = server.client_tokens(1, first=_NUMBER)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        reader.connect(server.address)
        path = f"/client/?hub={HUB}&access_token={token}"
        head = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")  # fmt: skip
        reader.sendall("\r\n".join((f"GET {path} HTTP/1.1", "Host: a", *head, "", "")).encode())
        _read_until(reader, b"\r\n\r\n")
        handshake = b'{"protocol":"json","version":1}\x1e'
        reader.sendall(b"\x81" + bytes([0x80 | len(handshake)]) + bytes(4) + handshake)
        _read_until(reader, b"{}\x1e")
        yield


def _limit(server: Server) -> int:
    """Bytes that it can be behind before it is closed, those in the kernel included, about."""
    with _reader_that_never_reads(server):
        for sent in range(0, _MOST_BEHIND, len(_FILLER.body)):
            if not _is_there(server):
                return sent
            _send(server, len(_FILLER.body))
    raise BenchmarkError(f"A client that reads nothing was sent {_MOST_BEHIND} bytes.")


def _send(server: Server, size: int) -> None:
    with Callers(server.address, 1) as callers:
        count = size // len(_FILLER.body)
        for request in server.sends(count, _FILLER.body, below=(f"/users/{_USER}",)):
            callers.send([request])
            callers.check_answers()


def _is_there(server: Server) -> bool:
    with socket.create_connection(server.address) as caller:
        (request,) = server.calls("HEAD", [f"/users/{_USER}"])
        caller.sendall(request)
        return caller.recv(4096).startswith(b"HTTP/1.1 200")


def _read_until(reader: socket.socket, end: bytes) -> None:
    read = b""
    while not read.endswith(end):
        data = reader.recv(1)  # and not a byte of what follows
        if not data:
            raise BenchmarkError(f"The service closed a connection after {read[-200:]!r}.")
        read += data
