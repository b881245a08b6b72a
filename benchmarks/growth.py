"""What more connections do to the cost of each: CPU of a message, memory of a connection."""

from dataclasses import dataclass
from typing import Final

from benchmarks.broadcast import cpu_figure, rest_sender
from benchmarks.connection import memory_of_one
from benchmarks.figure import Budget, Figure
from benchmarks.load import audience, c_loop
from benchmarks.message import message
from benchmarks.native import Programs
from benchmarks.process import most_connections
from benchmarks.sender import LoopSender, Plan, Round, alternate
from benchmarks.server import service
from benchmarks.size import Size

__all__ = ["growth"]

_FLAT: Final = Budget(1.10)
_DELIVERIES: Final = 60_000  # in a round
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
    cpu = [_cpu(programs, most_connections(count), steps) for count in steps.connections]
    memory = [_memory(programs, most_connections(count), steps) for count in steps.connections]
    return [*cpu, _spread("CPU of a delivered message, as a multiple of the C loop's", cpu),
            *memory, _spread("memory of a connection", memory)]  # fmt: skip


def _cpu(programs: Programs, count: int, steps: _Steps) -> Figure:
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
    return cpu_figure(
        f"growth, {count:,} connections: CPU of a delivered message",
        ours,
        theirs,
        plot=_CPU_PLOT,
        label=f"{count:,}",
    )


def _memory(programs: Programs, count: int, steps: _Steps) -> Figure:
    return Figure(
        f"growth, {count:,} connections: memory of one",
        "KB",
        tuple(memory_of_one(programs, service, count) for _ in range(max(1, steps.rounds // 3))),
        plot=_MEMORY_PLOT,
        label=f"{count:,}",
    )


def _spread(what: str, figures: list[Figure]) -> Figure:
    """The dearest step over the cheapest."""
    costs = [figure.median if figure.ratio is None else figure.ratio for figure in figures]
    return Figure(
        f"growth: {what}: most over least",
        "times",
        (max(costs) / min(costs),),
        budgets=(_FLAT,),
        note="The REST call is in it, and few share it at the first step."
        if figures[0].reference
        else "",
    )
