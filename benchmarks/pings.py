"""What it costs to hold connections open: CPU of the service while clients do nothing but ping."""

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.figure import Budget, Figure
from benchmarks.load import audience
from benchmarks.native import Programs
from benchmarks.process import most_connections
from benchmarks.server import service
from benchmarks.size import Size

__all__ = ["pings"]


@dataclass(frozen=True, slots=True)
class _Watch:
    """How many connections are held, for how many seconds, and how often."""

    connections: int
    seconds: float
    rounds: int


# Client and service both ping every 15 seconds, not all at once: any part of it has its share.
WATCHES: Final = {
    Size.FULL: _Watch(20_000, 30, rounds=2),
    Size.QUICK: _Watch(20_000, 10, rounds=1),
    Size.TINY: _Watch(20, 0.2, rounds=1),
}


def pings(programs: Programs, size: Size) -> list[Figure]:
    """Clients ping every 15 seconds and the service pings them as often."""
    watch = WATCHES[size]
    count = most_connections(watch.connections)
    with service() as server, audience(programs, server, count) as opened:
        server.process.settle()
        rounds = []
        for _ in range(watch.rounds):
            start, before = time.monotonic_ns(), (server.process.cpu(), opened.cpu())
            time.sleep(watch.seconds)
            taken = time.monotonic_ns() - start
            used = server.process.cpu() - before[0], opened.cpu() - before[1]
            rounds.append((used[0] / taken * 100, used[1] / taken * 100))
    title = f"pings, {count:,} connections for {watch.seconds * watch.rounds:g} s"
    note = "As many connections as one process may have open files here."
    return [
        Figure(
            f"{title}: share of a core",
            "%",
            tuple(round_[0] for round_ in rounds),
            budgets=(Budget(15),),
            note=note if count < watch.connections else "",
        ),
        Figure(f"{title}: the load clients' own share", "%", tuple(round_[1] for round_ in rounds)),
    ]
