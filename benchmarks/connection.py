"""Connections: the memory of one that is idle, the CPU of opening one, and of opening all again."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from benchmarks.figure import Budget, Figure
from benchmarks.load import Callers, Clients, audience, clients, join_groups
from benchmarks.message import message
from benchmarks.native import Programs
from benchmarks.server import Server, bare_server, service
from benchmarks.size import Size

__all__ = ["connects", "idle", "memory_of_one", "reconnects"]

_BARE: Final = "bare uvicorn + Starlette"
# Connections that are opened and closed before anything is measured: enough to load what is loaded
# late, too few to leave memory behind that those which count would find free.
_WARM_UP: Final = 10
_GROUP: Final = 10  # connections of one group


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: how many connections, how often."""

    connections: tuple[int, ...]
    rounds: int


IDLE: Final = {
    Size.FULL: Plan(connections=(1000, 5000), rounds=3),
    Size.QUICK: Plan(connections=(3000,), rounds=1),
    Size.TINY: Plan(connections=(500,), rounds=1),
}
CONNECTS: Final = {
    Size.FULL: Plan(connections=(1000,), rounds=15),
    Size.QUICK: Plan(connections=(1000,), rounds=7),
    Size.TINY: Plan(connections=(20,), rounds=2),
}
# Whether each is in a group, and what it may have then; the second includes the first.
_SHAPES: Final = ((False, Budget(8)), (True, Budget(6)))
RECONNECTS: Final = {
    Size.FULL: Plan(connections=(1000, 5000), rounds=7),
    Size.QUICK: Plan(connections=(1000,), rounds=3),
    Size.TINY: Plan(connections=(20,), rounds=2),
}


def idle(programs: Programs, size: Size) -> list[Figure]:
    """Resident memory of a connection that has received a message and sent a ping."""
    plan = IDLE[size]
    figures = []
    for count in plan.connections:
        for in_groups, budget in _SHAPES[size == Size.QUICK :]:
            ours, bare = [], []
            for _ in range(plan.rounds):
                ours.append(memory_of_one(programs, service, count, in_groups=in_groups))
                bare.append(memory_of_one(programs, bare_server, count))
            where = f"in groups of {_GROUP}" if in_groups else "in no group"
            figures.append(
                Figure(
                    f"idle, {count:,} connections {where}: memory of one",
                    "KB",
                    tuple(ours),
                    tuple(bare),
                    _BARE,
                    (budget,),
                )
            )
    return figures


def memory_of_one(
    programs: Programs,
    serve: Callable[[], AbstractContextManager[Server]],
    count: int,
    *,
    in_groups: bool = False,
) -> float:
    """KB of resident memory that each of so many connections adds."""
    with serve() as server:
        _warm_up(programs, server)
        before = server.process.memory()
        with audience(programs, server, count) as opened:
            if in_groups:
                groups = [f"group-{number // _GROUP}" for number in range(count)]
                join_groups(programs, server, groups)
            for part in opened.parts:
                part.ping()
            with Callers(server.address, 1) as callers:
                callers.send(server.sends(1, message(128).body))
                callers.check_answers()
            server.process.settle()
            return (server.process.memory() - before) / count / 1024


def connects(programs: Programs, size: Size) -> list[Figure]:
    """Negotiation, token check, upgrade and hub handshake, as clients open one after another."""
    plan = CONNECTS[size]
    (count,) = plan.connections
    ours, bare = [], []
    with service() as server, bare_server() as reference:
        _warm_up(programs, server)
        _warm_up(programs, reference)
        for _ in range(plan.rounds):
            ours.append(_connects_a_second(programs, server, count))
            bare.append(_connects_a_second(programs, reference, count))
    return [
        Figure(
            "connects: with negotiation, a second of CPU",
            "/s",
            tuple(ours),
            tuple(bare),
            _BARE,
            (Budget(2500, at_least=True), Budget(3500, at_least=True)),
        )
    ]


def _connects_a_second(programs: Programs, server: Server, count: int) -> float:
    before = server.process.cpu()
    with clients(programs, server, count):
        used = server.process.cpu() - before
    server.process.settle()
    return count / used * 1e9


def reconnects(programs: Programs, size: Size) -> list[Figure]:
    """All clients are cut at once and come back at once, with negotiation."""
    plan = RECONNECTS[size]
    return [figure for count in plan.connections for figure in _storm(programs, count, plan)]


def _storm(programs: Programs, count: int, plan: Plan) -> list[Figure]:
    ours, bare = [], []
    with (
        service() as server,
        bare_server() as reference,
        clients(programs, server, count) as back,
        clients(programs, reference, count) as bare_back,
    ):
        for number in range(plan.rounds + 1):
            round_ = [
                _storm_round(server, back),
                _storm_round(reference, bare_back),
            ]
            if number:  # the first round warms up
                ours.append(round_[0])
                bare.append(round_[1])
    return [
        Figure(
            f"reconnects, {count:,} at once: {what}",
            unit,
            tuple(round_[column] for round_ in ours),
            tuple(round_[column] for round_ in bare),
            _BARE,
        )
        for column, (what, unit) in enumerate(
            (("CPU of one, its loss included", "µs"), ("until the last is back", "s"))
        )
    ]


def _storm_round(server: Server, cut: Clients) -> tuple[float, float]:
    """Microseconds of CPU for each connection, and seconds until all are open again."""
    before, start = server.process.cpu(), time.monotonic()
    cut.reconnect()
    taken = time.monotonic() - start
    server.process.settle()
    return (server.process.cpu() - before) / cut.count / 1e3, taken


def _warm_up(programs: Programs, server: Server) -> None:
    with clients(programs, server, _WARM_UP):
        pass
    server.process.settle()
