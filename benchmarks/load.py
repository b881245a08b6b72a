"""The callers of a server: the load client in C, the C `send()` loop, and REST callers.

They time nothing themselves but arrivals; CPU is read from outside, see `process`.
"""

import contextlib
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks.native import Programs
from benchmarks.process import LOAD_CORES, SERVER_CORES, BenchmarkError, Process
from benchmarks.server import HUB, Server

__all__ = ["Callers", "Clients", "Latency", "c_loop", "clients", "run_requests"]

_WINDOW = 64  # connections that open at the same time
_PING_FRAME = 13  # bytes of a keep-alive that may come between


class Latency(NamedTuple):
    """From a call to a delivery: quantiles over all deliveries, in ns."""

    deliveries: int
    p50: int
    p99: int
    p999: int
    longest: int


@dataclass(frozen=True, slots=True)
class Clients:
    """Open connections, held and counted by one load client."""

    process: Process
    count: int
    first_id: str  # connection id of the first of them; empty over plain TCP

    def expect(self, size: int) -> None:
        """Begin to count: each connection is to receive `size` bytes from here on."""
        self.process.ask(f"expect {size}", "ready")

    def wait(self, size: int) -> None:
        """Wait until each has received what was expected, and check that it was no more."""
        _first, _last, total = map(int, self.process.hear_word("done"))
        surplus = total - size * self.count
        if surplus % _PING_FRAME or surplus > 2 * self.count * _PING_FRAME:
            raise BenchmarkError(
                f"{size} bytes were expected on each of {self.count} connections; together "
                f"{surplus} more came, which is no number of pings."
            )

    def record(self, start: int) -> None:
        """Take the last deliveries into the latencies, counted from `start` (monotonic ns)."""
        self.process.ask(f"record {start}", "recorded")

    def latency(self) -> Latency:
        """What has been recorded since the last time this was asked."""
        return Latency(*map(int, self.process.ask("quantiles", "quantiles")))

    def ping(self) -> None:
        """Send a hub Ping on each connection now."""
        self.process.ask("ping", "pinged")


@contextlib.contextmanager
def clients(programs: Programs, server: Server, count: int) -> Iterator[Clients]:
    """Open SignalR connections: negotiation, token, upgrade and handshake for each."""
    with tempfile.NamedTemporaryFile("w", prefix="hubbub-bench-") as tokens:
        tokens.writelines(f"{token}\n" for token in server.client_tokens(count))
        tokens.flush()
        with _load(programs, server.address, count, HUB, tokens.name) as opened:
            yield opened


@contextlib.contextmanager
def _load(
    programs: Programs, address: tuple[str, int], count: int, *rest: str
) -> Iterator[Clients]:
    host, port = address
    command = [str(programs.load), host, str(port), str(count), str(_WINDOW), *rest]
    with Process(command, LOAD_CORES) as process:
        _count, *first_id = process.hear_word("open")
        yield Clients(process, count, "".join(first_id))


@contextlib.contextmanager
def c_loop(programs: Programs, count: int, size: int) -> Iterator[tuple[Process, Clients]]:
    """The C `send()` loop and its clients over plain TCP, for messages of `size` bytes."""
    with Process([str(programs.sender), str(count), str(size)], SERVER_CORES) as sender:
        (port,) = sender.hear_word("port")
        with _load(programs, ("127.0.0.1", int(port)), count) as opened:
            sender.hear_word("ready")
            yield sender, opened


class Callers:
    """REST callers, each with a connection that stays open and one call at a time."""

    def __init__(self, server: Server, count: int) -> None:
        self._sockets = [socket.create_connection(server.address) for _ in range(count)]
        for caller in self._sockets:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for caller in self._sockets:
            caller.close()

    def send(self, requests: Sequence[bytes]) -> None:
        """Send one request from each caller."""
        for caller, request in zip(self._sockets, requests, strict=True):
            caller.sendall(request)

    def check_answers(self) -> None:
        """Read each caller's answer. Raises `BenchmarkError` unless it is 202."""
        for caller in self._sockets:
            answer = caller.recv(65536)
            if not answer.startswith(b"HTTP/1.1 202"):
                raise BenchmarkError(f"A REST call was answered with {answer[:200]!r}.")


def run_requests(requester: Process, requests: Sequence[bytes], folder: Path) -> None:
    """Have the program `requests` send these, and check that each was accepted."""
    file = folder / "requests"
    file.write_bytes(b"".join(struct.pack("<I", len(item)) + item for item in requests))
    answered, refused, _ = map(int, requester.ask(f"run {file}", "done"))
    if answered != len(requests) or refused:
        raise BenchmarkError(
            f"{answered} of {len(requests)} requests were answered, {refused} of them refused."
        )
