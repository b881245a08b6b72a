"""Connections: the memory of one that is idle, and the CPU of opening one."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from benchmarks.broadcast import message_body
from benchmarks.figure import Budget, Figure
from benchmarks.load import Callers, clients
from benchmarks.native import Programs
from benchmarks.server import Server, bare_server, service
from benchmarks.size import Size

__all__ = ["connects", "idle"]

_BARE: Final = "bare uvicorn + Starlette"
# Connections that are opened and closed before anything is measured: enough to load what is loaded
# late, too few to leave memory behind that those which count would find free.
_WARM_UP: Final = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: how many connections, how often."""

    connections: tuple[int, ...]
    rounds: int


IDLE: Final = {
    Size.FULL: Plan(connections=(1000, 5000), rounds=3),
    Size.QUICK: Plan(connections=(1000, 5000), rounds=1),
    Size.TINY: Plan(connections=(500,), rounds=1),
}
CONNECTS: Final = {
    Size.FULL: Plan(connections=(1000,), rounds=9),
    Size.QUICK: Plan(connections=(1000,), rounds=5),
    Size.TINY: Plan(connections=(20,), rounds=2),
}


def idle(programs: Programs, size: Size) -> list[Figure]:
    """Resident memory of a connection that has received a message and sent a ping."""
    plan = IDLE[size]
    return [
        Figure(
            f"idle, {count:,} connections: memory of one",
            "KB",
            tuple(_memory_of_one(programs, service, count) for _ in range(plan.rounds)),
            tuple(_memory_of_one(programs, bare_server, count) for _ in range(plan.rounds)),
            _BARE,
            (Budget(12),),
        )
        for count in plan.connections
    ]


def _memory_of_one(
    programs: Programs, serve: Callable[[], AbstractContextManager[Server]], count: int
) -> float:
    with serve() as server:
        _warm_up(programs, server)
        before = server.process.memory()
        with clients(programs, server, count) as opened:
            opened.ping()
            with Callers(server, 1) as callers:
                callers.send(server.sends(1, message_body()))
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
            (Budget(2500, at_least=True),),
        )
    ]


def _connects_a_second(programs: Programs, server: Server, count: int) -> float:
    before = server.process.cpu()
    with clients(programs, server, count):
        used = server.process.cpu() - before
    server.process.settle()
    return count / used * 1e9


def _warm_up(programs: Programs, server: Server) -> None:
    with clients(programs, server, _WARM_UP):
        pass
    server.process.settle()
