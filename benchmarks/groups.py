"""Sends to one large group among others: CPU of one delivered message, as for a broadcast."""

from dataclasses import dataclass
from typing import Final

from benchmarks.broadcast import cpu_figure, latencies, rest_sender
from benchmarks.figure import Figure
from benchmarks.load import audience, c_loop, join_groups
from benchmarks.message import message
from benchmarks.native import Programs
from benchmarks.sender import LoopSender, Plan, alternate
from benchmarks.server import service
from benchmarks.size import Size

__all__ = ["groups"]


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Members of the group, clients of the hub that are in another one, and what is sent."""

    members: int
    others: int
    plans: tuple[Plan, ...]


CROWDS: Final = {
    Size.FULL: _Crowd(1000, 4000, (Plan(50, rounds=9), Plan(10, rounds=9, in_flight=10))),
    Size.QUICK: _Crowd(1000, 1000, (Plan(50, rounds=5),)),
    Size.TINY: _Crowd(4, 4, (Plan(2, rounds=1), Plan(1, rounds=1, in_flight=10))),
}


def groups(programs: Programs, size: Size) -> list[Figure]:
    """REST sends to a group of many; nothing of it reaches the others."""
    crowd = CROWDS[size]
    figures: list[Figure] = []
    sent = message(128)
    with (
        service() as server,
        audience(programs, server, crowd.members) as inside,
        c_loop(programs, crowd.members) as (loop, loop_listeners),
    ):
        join_groups(programs, server, ["many"] * crowd.members)
        with audience(programs, server, crowd.others, first=crowd.members) as outside:
            for part in outside.parts:
                part.expect(0)
            for plan in crowd.plans:
                ours, theirs = alternate(
                    plan,
                    rest_sender(server, inside, sent, below=("/groups/many",)),
                    LoopSender(loop, loop_listeners, sent),
                )
                at_once = f", {plan.in_flight} in flight" if plan.in_flight > 1 else ""
                title = (
                    f"group of {crowd.members:,} among {crowd.members + crowd.others:,}{at_once}"
                )
                figures.append(cpu_figure(f"{title}: CPU of a delivered message", ours, theirs))
                if plan.in_flight == 1:
                    figures += latencies(title, ours, theirs)
            for part in outside.parts:
                part.check_total(0)
    return figures
