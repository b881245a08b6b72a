"""Latency at a stated load: messages go out by the clock, however late those before them are."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from benchmarks.broadcast import latencies
from benchmarks.figure import Budget, Figure
from benchmarks.load import Callers, Clients, c_loop, clients, join_groups
from benchmarks.message import Kind, message
from benchmarks.native import Programs
from benchmarks.process import Process
from benchmarks.sender import Round
from benchmarks.server import Server, service
from benchmarks.size import Size

__all__ = ["paced"]


@dataclass(frozen=True, slots=True)
class _Pace:
    """Clients, how many of them get each message, messages a second, seconds of a round, rounds."""

    clients: int
    receivers: int
    rate: float
    seconds: float
    rounds: int
    payload: int = 2048

    @property
    def messages(self) -> int:
        """Messages of one round."""
        return round(self.rate * self.seconds)

    def first(self, number: int) -> int:
        """The first client that gets a message: it is every section's turn."""
        return number * self.receivers % self.clients

    def below(self, number: int) -> str:
        """What a message is sent to, below the hub."""
        if self.receivers == self.clients:
            return ""
        return f"/groups/{self.group(self.first(number))}"

    def group(self, client: int) -> str:
        """The group of a client."""
        return f"section-{client // self.receivers}"


_ONE_BROADCAST: Final = (
    "The last client waits until the kernel has served all others, so it is about the length of a "
    "broadcast: the C loop's own is what the kernel and a load client on the same machine make it."
)
# What the original promises for ten units is 20,000 messages of 2 KB delivered a second to 10,000
# clients, as two broadcasts; the same load is lighter as sends to groups.
PACES: Final = {
    Size.FULL: (
        _Pace(10_000, 10_000, rate=2, seconds=10, rounds=5),
        _Pace(10_000, 1000, rate=20, seconds=10, rounds=5),
    ),
    Size.QUICK: (
        _Pace(10_000, 10_000, rate=2, seconds=2, rounds=2),
        _Pace(10_000, 1000, rate=20, seconds=2, rounds=2),
    ),
    Size.TINY: (_Pace(4, 4, 20, 0.1, rounds=1), _Pace(4, 2, 20, 0.2, rounds=1)),
}


class _Side(NamedTuple):
    """A server and its clients, and how the message of a number is sent."""

    process: Process
    listeners: Clients
    send: Callable[[int], None]
    check: Callable[[], None]


def paced(programs: Programs, size: Size) -> list[Figure]:
    """Messages at fixed times; each delivery counts from the time at which its call was due."""
    paces = PACES[size]
    count = paces[0].clients
    figures = []
    with (
        service() as server,
        clients(programs, server, count) as listeners,
        c_loop(programs, count) as (loop, loop_listeners),
    ):
        for pace in paces:
            if pace.receivers < count:
                join_groups(programs, server, [pace.group(client) for client in range(count)])
            figures += _figures(pace, server, listeners, loop, loop_listeners.parts[0])
    return figures


def _figures(
    pace: _Pace, server: Server, listeners: Clients, loop: Process, loop_listeners: Clients
) -> list[Figure]:
    ours: list[Round] = []
    theirs: list[Round] = []
    sent = message(pace.payload)
    size = sent.sizes[Kind.JSON]

    def send_by_loop(number: int) -> None:
        loop.ask(f"send {size} {pace.first(number)} {pace.receivers}", "sent")

    for number in range(pace.rounds + 1):
        below = [pace.below(each) for each in range(pace.messages)]
        requests = server.sends(pace.messages, sent.body, below=below)
        with Callers(server.address, 1) as callers:
            send = partial(_send_by_rest, callers, requests)
            mine = _round(pace, size, _Side(server.process, listeners, send, callers.check_answers))
        loop_side = _Side(loop, loop_listeners, send_by_loop, lambda: None)
        other = _round(pace, size, loop_side)
        if number:  # the first round warms up
            ours.append(mine)
            theirs.append(other)
    deliveries = round(pace.receivers * pace.rate)
    title = (
        f"paced, {deliveries:,} messages of {pace.payload} B a second to {pace.clients:,}, "
        f"{pace.receivers:,} at a time"
    )
    share = Figure(
        f"{title}: share of a core",
        "%",
        tuple(round_.cpu * deliveries / 1e7 for round_ in ours),
        tuple(round_.cpu * deliveries / 1e7 for round_ in theirs),
        "C send() loop",
    )
    note = _ONE_BROADCAST if pace.receivers == pace.clients else ""
    return [*latencies(title, ours, theirs, (Budget(100),), note), share]


def _send_by_rest(callers: Callers, requests: Sequence[bytes], number: int) -> None:
    callers.send([requests[number]])


def _round(pace: _Pace, size: int, side: _Side) -> Round:
    listeners, receivers = side.listeners, pace.receivers
    before = side.process.cpu(), listeners.process.cpu()
    begin = time.monotonic_ns()
    for number in range(pace.messages):
        due = begin + int(number / pace.rate * 1e9)
        listeners.expect(size, first=pace.first(number), count=receivers)
        time.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        side.send(number)
        listeners.wait(size, count=receivers)
        side.check()
        listeners.record(due)
    after = side.process.cpu(), listeners.process.cpu()
    deliveries = pace.messages * receivers
    return Round(
        (after[0] - before[0]) / deliveries,
        (after[1] - before[1]) / deliveries,
        listeners.latency(),
    )
