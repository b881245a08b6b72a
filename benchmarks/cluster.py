"""Several processes of the service over Redis: what a second worker adds, what crossing costs.

Skipped where the service has no such options, or Redis is not installed.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from benchmarks.broadcast import rest_sender
from benchmarks.figure import Budget, Figure
from benchmarks.load import Audience, Callers, Clients, audience, clients, join_groups
from benchmarks.message import Kind, message
from benchmarks.native import Programs
from benchmarks.peers.peer import free_port, program
from benchmarks.process import (
    LOAD_CORES,
    ROOT,
    SERVER_CORES,
    Process,
    SkippedError,
    cpu_of,
    python,
)
from benchmarks.sender import Plan, play
from benchmarks.server import Server, service
from benchmarks.size import Size

__all__ = ["Redis", "crossing", "redis", "require_options", "workers"]

_MESSAGE: Final = message(128)
_OPTIONS: Final = ("--workers", "--backplane")


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Clients, and the broadcasts to them."""

    clients: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class _Sends:
    """Messages of a round, and rounds."""

    messages: int
    rounds: int


class Redis(NamedTuple):
    """A Redis that runs."""

    process: Process
    url: str


WORKERS: Final = {
    Size.FULL: _Crowd(5000, Plan(bursts=10, rounds=9)),
    Size.QUICK: _Crowd(1000, Plan(bursts=20, rounds=5)),
    Size.TINY: _Crowd(8, Plan(bursts=2, rounds=1)),
}
CROSSING: Final = {
    Size.FULL: _Sends(500, rounds=9),
    Size.QUICK: _Sends(200, rounds=5),
    Size.TINY: _Sends(5, rounds=1),
}


def workers(programs: Programs, size: Size) -> list[Figure]:
    """Deliveries for a second of the busier worker's CPU.

    All workers share one core and the load clients have the other: side by side with the clients
    they would pay for them, in caches and in being displaced. What two cores cost each other in the
    kernel is left out with it.
    """
    require_options()
    crowd = WORKERS[size]
    two, one = [], []
    with (
        # One Redis each: nodes that share one share their hubs too.
        redis() as store,
        redis() as other_store,
        service("--workers", "2", "--backplane", store.url, cores=SERVER_CORES) as pair,
        service("--workers", "1", "--backplane", other_store.url, cores=SERVER_CORES) as single,
        audience(programs, pair, crowd.clients) as of_pair,
        audience(programs, single, crowd.clients) as of_single,
    ):
        for number in range(crowd.plan.rounds + 1):
            mine = _deliveries_a_second(pair, of_pair, crowd.plan)
            other = _deliveries_a_second(single, of_single, crowd.plan)
            if number:  # the first round warms up
                two.append(mine)
                one.append(other)
    return [
        Figure(
            f"workers, broadcast to {crowd.clients:,}: deliveries a second of the busier of two",
            "/s",
            tuple(two),
            tuple(one),
            "one worker",
            (Budget(1.7, at_least=True, of_ratio=True),),
        )
    ]


def _deliveries_a_second(server: Server, listeners: Audience, plan: Plan) -> float:
    before = {pid: cpu_of(pid) for pid in server.process.family}
    play(rest_sender(server, listeners, _MESSAGE), plan)
    busiest = max(cpu_of(pid) - before.get(pid, 0) for pid in server.process.family)
    return plan.bursts * plan.in_flight * listeners.count / busiest * 1e9


def crossing(programs: Programs, size: Size) -> list[Figure]:
    """Sends to a client of this node and of the other, and to a group that is on the other."""
    require_options()
    plan = CROSSING[size]
    across, direct, bystander, idle = [], [], [], []
    with (
        redis() as store,
        service("--backplane", store.url) as near,
        service("--backplane", store.url, cores=LOAD_CORES) as far,
        clients(programs, near, 1) as listener,
    ):
        join_groups(programs, near, ["here"])
        for number in range(plan.rounds + 1):
            over = _median(far, listener, "/users/user-0", plan.messages)
            here = _median(near, listener, "/users/user-0", plan.messages)
            costs = _bystander(far, near, listener, plan.messages)
            if number:  # the first round warms up
                across.append(over)
                direct.append(here)
                bystander.append(costs[0])
                idle.append(costs[1])
    added = tuple(over - here for over, here in zip(across, direct, strict=True))
    return [
        Figure("crossing Redis: median from call to delivery", "ms", tuple(across), tuple(direct),
               "on one node"),
        Figure("crossing Redis: added to the median", "ms", added, budgets=(Budget(2),)),
        Figure("crossing Redis: CPU of a node for a send to a group it has nobody of", "µs",
               tuple(bystander), tuple(idle), "the same node at rest"),
    ]  # fmt: skip


def _median(server: Server, listener: Clients, below: str, count: int) -> float:
    """Milliseconds from a call at `server` to its delivery, one at a time."""
    size = _MESSAGE.sizes[Kind.JSON]
    with Callers(server.address, 1) as callers:
        for request in server.sends(count, _MESSAGE.body, below=(below,)):
            listener.expect(size)
            start = time.monotonic_ns()
            callers.send([request])
            listener.wait(size)
            callers.check_answers()
            listener.record(start)
    return listener.latency().p50 / 1e6


def _bystander(other: Server, server: Server, listener: Clients, count: int) -> tuple[float, float]:
    """Microseconds of `other` for each send that is not for it, and in as much time alone."""
    start, before = time.monotonic(), other.process.cpu()
    _median(server, listener, "/groups/here", count)
    taken, used = time.monotonic() - start, other.process.cpu() - before
    before = other.process.cpu()
    time.sleep(taken)
    return used / count / 1e3, (other.process.cpu() - before) / count / 1e3


def require_options() -> None:
    """Raise `SkippedError` where the service cannot be several nodes."""
    shown = subprocess.run(
        python("-m", "hubbub", "service", "--help"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    missing = [option for option in _OPTIONS if option not in shown]
    if missing:
        raise SkippedError(f"`hubbub service` has no option {' and no '.join(missing)}")


@contextlib.contextmanager
def redis() -> Iterator[Redis]:
    """A Redis that keeps nothing."""
    path = program("redis-server", package="redis-server")
    port = free_port()
    options = "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"
    with Process([path, *options], SERVER_CORES) as process:
        process.wait_for_port(port)
        yield Redis(process, f"redis://127.0.0.1:{port}")
