"""Latency at a stated load: messages go out by the clock, whether or not those before have arrived."""

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.broadcast import latencies, rest_sender
from benchmarks.figure import Budget, Figure
from benchmarks.load import audience, c_loop
from benchmarks.message import message
from benchmarks.native import Programs
from benchmarks.sender import LoopSender, Plan, Round, Sender
from benchmarks.server import service
from benchmarks.size import Size

__all__ = ["paced"]


@dataclass(frozen=True, slots=True)
class _Pace:
    """Clients, broadcasts to all of them a second, seconds of a round, rounds."""

    clients: int
    rate: float
    seconds: float
    rounds: int
    payload: int = 2048


PACES: Final = {
    # What the original promises for ten units: broadcasts of 2 KB to 10,000, two a second.
    Size.FULL: _Pace(10_000, 2, seconds=10, rounds=5),
    Size.QUICK: _Pace(10_000, 2, seconds=4, rounds=3),
    Size.TINY: _Pace(4, 20, seconds=0.1, rounds=1),
}


def paced(programs: Programs, size: Size) -> list[Figure]:
    """Broadcasts at fixed times; each delivery counts from the time at which its call was due."""
    pace = PACES[size]
    sent = message(pace.payload)
    rounds: list[list[Round]] = [[], []]
    with (
        service() as server,
        audience(programs, server, pace.clients) as listeners,
        c_loop(programs, pace.clients) as (loop, loop_listeners),
    ):
        senders: tuple[Sender, Sender] = (
            rest_sender(server, listeners, sent),
            LoopSender(loop, loop_listeners, sent),
        )
        for number in range(pace.rounds + 1):
            for sender, done in zip(senders, rounds, strict=True):
                round_ = _round(sender, pace)
                if number:  # the first round warms up
                    done.append(round_)
    deliveries = round(pace.clients * pace.rate)
    title = f"paced, {deliveries:,} messages of {pace.payload} B a second to {pace.clients:,}"
    share = Figure(
        f"{title}: share of a core",
        "%",
        tuple(round_.cpu * deliveries / 1e7 for round_ in rounds[0]),
        tuple(round_.cpu * deliveries / 1e7 for round_ in rounds[1]),
        "C send() loop",
    )
    return [*latencies(title, *rounds, (Budget(100),)), share]


def _round(sender: Sender, pace: _Pace) -> Round:
    count = round(pace.rate * pace.seconds)
    sender.open(Plan(count, rounds=1))
    audience, sizes = sender.audience, sender.sizes
    try:
        before = sender.process.cpu(), audience.cpu()
        begin = time.monotonic_ns()
        for number in range(count):
            due = begin + int(number / pace.rate * 1e9)
            audience.expect(sizes)
            time.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            sender.send()
            audience.wait(sizes)
            sender.check()
            audience.record(due)
        after = sender.process.cpu(), audience.cpu()
    finally:
        sender.close()
    deliveries = count * audience.count
    return Round(
        (after[0] - before[0]) / deliveries, (after[1] - before[1]) / deliveries, audience.latency()
    )
