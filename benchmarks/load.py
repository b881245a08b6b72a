"""The callers of a server: the load clients in C, the C `send()` loop, and REST callers.

They time nothing themselves but arrivals; CPU is read from outside, see `process`.
"""

import contextlib
import socket
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from benchmarks.message import Kind
from benchmarks.native import Programs
from benchmarks.process import LOAD_CORES, SERVER_CORES, BenchmarkError, Process
from benchmarks.server import HUB, Server

__all__ = [
    "Audience",
    "Callers",
    "Clients",
    "Latency",
    "audience",
    "c_loop",
    "clients",
    "join_groups",
    "requester",
    "run_requests",
    "scripted",
]

_WINDOW: Final = 64  # connections that open at the same time
_PART: Final = 10_000  # connections of one load client
_PING_FRAMES: Final = {Kind.JSON: 13, Kind.MESSAGEPACK: 5}  # bytes of a keep-alive in between


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
    first_id: str  # connection id of the first of them; empty where they have none
    kind: Kind = Kind.JSON

    def expect(self, size: int, *, first: int = 0, count: int | None = None) -> None:
        """Begin to count: each connection, or each of some, is to receive `size` bytes."""
        count = self.count if count is None else count
        self.process.ask(f"expect {size} {first} {count}", "ready")

    def wait(self, size: int, *, count: int | None = None) -> None:
        """Wait until each has received what was expected, and check that it was no more."""
        _first, _last, total = map(int, self.process.hear_word("done"))
        count = self.count if count is None else count
        if not self._is_sound(total - size * count):
            raise BenchmarkError(
                f"{size} bytes were expected on each of {count} connections; together "
                f"{total - size * count} more came, which is no number of pings."
            )

    def total(self) -> int:
        """Bytes that all together have received since `expect`."""
        return int(self.process.ask("total", "total")[0])

    def check_total(self, size: int) -> None:
        """Check that all together have received so many bytes since `expect`."""
        total = self.total()
        if not self._is_sound(total - size):
            raise BenchmarkError(f"{size} bytes were expected in all, and {total} came.")

    def _is_sound(self, surplus: int) -> bool:
        """Whether what came beyond the expected is some pings or nothing."""
        ping = _PING_FRAMES.get(self.kind, 0)
        return not surplus or bool(
            ping and 0 < surplus <= 2 * self.count * ping and not surplus % ping
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

    def reconnect(self) -> None:
        """Cut each connection and wait until all are open again."""
        self.process.ask("reconnect", "open")

    def invoke(self, text: str, *, calls: int, answer: int, rate: float = 0) -> tuple[int, Latency]:
        """Make calls that are answered by so many bytes each: ns in all, and times to the answers.

        With a `rate` they are made so many a second; without, each client calls again when it is
        answered.
        """
        count, taken = map(
            int, self.process.ask(f"invoke {calls} {rate} {answer} {text}", "invoked")
        )
        assert count == calls
        return taken, self.latency()


@dataclass(frozen=True, slots=True)
class Audience:
    """The clients of one server, in one or several load clients."""

    parts: tuple[Clients, ...]

    @property
    def count(self) -> int:
        """Connections in all."""
        return sum(part.count for part in self.parts)

    def cpu(self) -> int:
        """Nanoseconds of CPU that the load clients have used."""
        return sum(part.process.cpu() for part in self.parts)

    def expect(self, sizes: Mapping[Kind, int], times: int = 1) -> None:
        """Begin to count: each connection is to receive so many messages of its kind's size."""
        for part in self.parts:
            part.expect(sizes[part.kind] * times)

    def wait(self, sizes: Mapping[Kind, int], times: int = 1) -> None:
        """Wait until each has received what was expected, and check that it was no more."""
        for part in self.parts:
            part.wait(sizes[part.kind] * times)

    def record(self, start: int) -> None:
        """Take the last deliveries into the latencies, counted from `start` (monotonic ns)."""
        for part in self.parts:
            part.record(start)

    def latency(self) -> Latency | None:
        """What has been recorded; `None` for several load clients: quantiles do not add up."""
        latencies = [part.latency() for part in self.parts]
        return latencies[0] if len(latencies) == 1 else None


@contextlib.contextmanager
def clients(
    programs: Programs, server: Server, count: int, *, kind: Kind = Kind.JSON, first: int = 0
) -> Iterator[Clients]:
    """Open SignalR connections: negotiation, token, upgrade and handshake for each."""
    with tempfile.NamedTemporaryFile("w", prefix="hubbub-bench-") as tokens:
        tokens.writelines(f"{token}\n" for token in server.client_tokens(count, first=first))
        tokens.flush()
        with _load(programs, server.address, count, first, kind, HUB, tokens.name) as opened:
            yield opened


@contextlib.contextmanager
def audience(
    programs: Programs,
    server: Server,
    count: int,
    kinds: Sequence[Kind] = (Kind.JSON,),
    *,
    first: int = 0,
) -> Iterator[Audience]:
    """Open so many SignalR connections, as many of each kind, and no more in one load client."""
    parts: list[Clients] = []
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            for _, size in _shares(count // len(kinds)):
                number = first + sum(part.count for part in parts)
                opened = clients(programs, server, size, kind=kind, first=number)
                parts.append(stack.enter_context(opened))
        yield Audience(tuple(parts))


@contextlib.contextmanager
def scripted(
    programs: Programs, port: int, script: Sequence[str], count: int
) -> Iterator[Audience]:
    """Open clients of another server; `native/script.c` says how a script is written."""
    with tempfile.NamedTemporaryFile("w", prefix="hubbub-bench-") as file:
        file.writelines(f"{line}\n" for line in script)
        file.flush()
        address = "127.0.0.1", port
        with _load(programs, address, count, 0, Kind.SCRIPT, file.name) as opened:
            yield Audience((opened,))


@contextlib.contextmanager
def c_loop(programs: Programs, count: int) -> Iterator[tuple[Process, Audience]]:
    """The C `send()` loop and its clients over plain TCP."""
    with (
        Process([str(programs.sender), str(count)], SERVER_CORES) as sender,
        contextlib.ExitStack() as stack,
    ):
        (port,) = sender.hear_word("port")
        address = "127.0.0.1", int(port)
        parts = [
            stack.enter_context(_load(programs, address, size, first, Kind.PLAIN))
            for first, size in _shares(count)
        ]
        sender.hear_word("ready")
        yield sender, Audience(tuple(parts))


def _shares(count: int) -> list[tuple[int, int]]:
    """Connections of each load client: number of the first, and how many."""
    return [(first, min(_PART, count - first)) for first in range(0, count, _PART)]


@contextlib.contextmanager
def _load(
    programs: Programs, address: tuple[str, int], count: int, first: int, kind: Kind, *rest: str
) -> Iterator[Clients]:
    numbers = address[1], count, _WINDOW, first
    command = [str(programs.load), address[0], *map(str, numbers), kind.value, *rest]
    with Process(command, LOAD_CORES) as process:
        _count, *first_id = process.hear_word("open")
        yield Clients(process, count, "".join(first_id), kind)


class Callers:
    """HTTP callers, each with a connection that stays open and one call at a time."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._address = address
        self._sockets = [self._connect() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        for caller in self._sockets:
            caller.close()

    def send(self, requests: Sequence[bytes]) -> None:
        """Send one request from each caller."""
        for caller, request in zip(self._sockets, requests, strict=True):
            caller.sendall(request)

    def check_answers(self) -> None:
        """Read each caller's answer. Raises `BenchmarkError` unless its status is 2xx."""
        for number, caller in enumerate(self._sockets):
            answer = caller.recv(65536)
            if not answer.startswith(b"HTTP/1.1 2"):
                raise BenchmarkError(f"An HTTP call was answered with {answer[:200]!r}.")
            if b"\r\nConnection: close\r\n" in answer:  # as Pushpin does
                caller.close()
                self._sockets[number] = self._connect()

    def _connect(self) -> socket.socket:
        caller = socket.create_connection(self._address)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return caller


def requester(programs: Programs, server: Server, callers: int) -> Process:
    """The program `requests`, for requests to `server` on so many connections."""
    host, port = server.address
    return Process([programs.requests, host, str(port), str(callers)], LOAD_CORES)


def run_requests(to_server: Process, requests: Sequence[bytes], folder: Path) -> None:
    """Have the program `requests` send these, and check that each was accepted."""
    file = folder / "requests"
    file.write_bytes(b"".join(struct.pack("<I", len(item)) + item for item in requests))
    answered, refused, _ = map(int, to_server.ask(f"run {file}", "done"))
    if answered != len(requests) or refused:
        raise BenchmarkError(
            f"{answered} of {len(requests)} requests were answered, {refused} of them refused."
        )


def join_groups(programs: Programs, server: Server, groups: Sequence[str]) -> None:
    """Put the user of each client into the group at its place in `groups`."""
    with (
        tempfile.TemporaryDirectory(prefix="hubbub-bench-") as folder,
        requester(programs, server, 1) as to_server,
    ):
        run_requests(to_server, server.joins(groups), Path(folder))
