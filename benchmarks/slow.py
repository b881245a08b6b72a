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

_USER: Final = "user-9999999"
_BUFFER: Final = 4096  # bytes that the kernel takes for the one that reads nothing, about
# What waits for it when a round begins: it goes past the limit (1 MiB) while the others are sent to,
# so that the round has both a client that is behind and one that is closed for it.
_BEHIND: Final = 900
_MESSAGE: Final = message(2048)
_FILLER: Final = message(1024)


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Clients that read, messages of a round, rounds with and without the one that does not."""

    clients: int
    messages: int
    rounds: int


CROWDS: Final = {
    Size.FULL: _Crowd(1000, 200, rounds=9),
    Size.QUICK: _Crowd(1000, 120, rounds=5),
    Size.TINY: _Crowd(4, 3, rounds=2),
}


def slow(programs: Programs, size: Size) -> list[Figure]:
    """The same broadcasts with it and without it, by turns; its own part is in no figure."""
    crowd = CROWDS[size]
    plan = Plan(crowd.messages, crowd.rounds)
    with_it, without = [], []
    with service() as server, audience(programs, server, crowd.clients) as listeners:
        sender: Sender = rest_sender(server, listeners, _MESSAGE)
        play(sender, plan)  # warms up
        for _ in range(crowd.rounds):
            without.append(play(sender, plan))
            with _reader_that_never_reads(server):
                with_it.append(play(sender, plan))
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
    """Connect, receive the handshake's answer and nothing after it; fall behind."""
    token = server.client_tokens(1, first=int(_USER.removeprefix("user-")))[0]
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
        with Callers(server.address, 1) as callers:
            for request in server.sends(_BEHIND, _FILLER.body, below=(f"/users/{_USER}",)):
                callers.send([request])
                callers.check_answers()
        server.process.settle()
        yield


def _read_until(reader: socket.socket, end: bytes) -> None:
    read = b""
    while not read.endswith(end):
        data = reader.recv(1)  # and not a byte of what follows
        if not data:
            raise BenchmarkError(f"The service closed a connection after {read[-200:]!r}.")
        read += data
