"""What more connections do to the cost of each: CPU of a message, memory of a connection."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.broadcast import cpu_figure, rest_sender
from benchmarks.connection import memory_of_one
from benchmarks.figure import Budget, Figure
from benchmarks.load import Callers, Clients, audience, c_loop
from benchmarks.message import Kind, message
from benchmarks.native import Programs
from benchmarks.process import most_connections
from benchmarks.sender import LoopSender, Plan, Round, alternate
from benchmarks.server import Server, service
from benchmarks.size import Size

__all__ = ["growth"]

_FLAT: Final = Budget(1.10)
_DELIVERIES: Final = 60_000  # in a round
_CALL_SHARE: Final = 300  # deliveries of a round for each call that is measured by itself
_WITH_THE_CALL: Final = (
    "The REST call is in it, and few share it at the first step; the rows that follow leave it out."
)
_INTO_FREE_MEMORY: Final = (
    "The first connections fit in part into what the start of the service has left free; the rows "
    "that follow say what each more adds."
)
_CPU_PLOT: Final = "Growth: CPU of a delivered message by connections (ns)"
_MEMORY_PLOT: Final = "Growth: memory of a connection by connections (KB)"


@dataclass(frozen=True, slots=True)
class _Steps:
    """How many connections, one size after the other."""

    connections: tuple[int, ...]
    rounds: int
    deliveries: int = _DELIVERIES


STEPS: Final = {
    Size.FULL: _Steps((100, 1000, 5000, 20_000), rounds=7),
    Size.QUICK: _Steps((100, 5000), rounds=3),
    Size.TINY: _Steps((200, 400), rounds=1, deliveries=400),
}


def growth(programs: Programs, size: Size) -> list[Figure]:
    """One message at a time to ever more connections, and the memory of each of them."""
    steps = STEPS[size]
    counts = [most_connections(count) for count in steps.connections]
    both = [_cpu(programs, count, steps) for count in counts]
    cpu, alone = [figures[0] for figures in both], [figures[1] for figures in both]
    memory = [_memory(programs, count, steps) for count in counts]
    more = _more(counts, memory)
    return [
        *cpu,
        _spread("CPU of a delivered message, as a multiple of the C loop's", cpu, _WITH_THE_CALL),
        *alone,
        *memory,
        _spread("memory of a connection", memory, _INTO_FREE_MEMORY),
        *more,
        *([_spread("memory of each more", more)] if len(more) > 1 else []),
    ]


def _cpu(programs: Programs, count: int, steps: _Steps) -> tuple[Figure, Figure]:
    """CPU of a delivered message: with its share of the REST call, and without."""
    sent = message(128)
    plan = Plan(max(1, steps.deliveries // count), steps.rounds)
    with (
        service() as server,
        audience(programs, server, count) as listeners,
        c_loop(programs, count) as (loop, loop_listeners),
    ):
        ours: list[Round]
        ours, theirs = alternate(
            plan, rest_sender(server, listeners, sent), LoopSender(loop, loop_listeners, sent)
        )
        call = statistics.median(_call(server, listeners.parts[0], steps) for _ in ours)
    title = f"growth, {count:,} connections: CPU of a delivered message"
    alone = [round_._replace(cpu=(round_.cpu * count - call) / (count - 1)) for round_ in ours]
    return (
        cpu_figure(title, ours, theirs, plot=_CPU_PLOT, label=f"{count:,}"),
        cpu_figure(f"{title}, the REST call itself left out", alone, theirs),
    )


def _call(server: Server, listeners: Clients, steps: _Steps) -> float:
    """Nanoseconds of CPU of a send to one connection, the least that a call can cost."""
    sent = message(128)
    size, calls = sent.sizes[Kind.JSON], max(1, steps.deliveries // _CALL_SHARE)
    with Callers(server.address, 1) as callers:
        before = server.process.cpu()
        for request in server.sends(calls, sent.body, below=("/users/user-0",)):
            listeners.expect(size, count=1)
            callers.send([request])
            listeners.wait(size, count=1)
            callers.check_answers()
        return (server.process.cpu() - before) / calls


def _memory(programs: Programs, count: int, steps: _Steps) -> Figure:
    return Figure(
        f"growth, {count:,} connections: memory of one",
        "KB",
        tuple(memory_of_one(programs, service, count) for _ in range(max(1, steps.rounds // 3))),
        plot=_MEMORY_PLOT,
        label=f"{count:,}",
    )


def _more(counts: Sequence[int], memory: Sequence[Figure]) -> list[Figure]:
    """What the connections of a step add to those of the one before it, memory of one."""
    return [
        Figure(
            f"growth, from {few:,} to {many:,} connections: memory of each more",
            "KB",
            ((of_many.median * many - of_few.median * few) / (many - few),),
        )
        for (few, of_few), (many, of_many) in pairwise(zip(counts, memory, strict=True))
    ]


def _spread(what: str, figures: Sequence[Figure], note: str = "") -> Figure:
    """The dearest step over the cheapest."""
    costs = [figure.median if figure.ratio is None else figure.ratio for figure in figures]
    return Figure(
        f"growth: {what}: most over least",
        "times",
        (max(costs) / min(costs),),
        budgets=(_FLAT,),
        note=note,
    )
