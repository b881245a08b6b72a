"""What one call and one client cost where a service is several nodes: of whom, and how much more.

The figures that docs/scale.md reckons with. Skipped where Redis is not installed.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cluster import redis, require_options
from benchmarks.figure import Figure
from benchmarks.load import clients, requester, run_requests
from benchmarks.message import Kind, message
from benchmarks.native import Programs
from benchmarks.process import Process
from benchmarks.server import Server, service
from benchmarks.size import Size

__all__ = ["sharing"]

_CALLERS: Final = 16  # connections that REST calls come on
_MESSAGE: Final = message(128)
_ALONE: Final = "a node without others"


@dataclass(frozen=True, slots=True)
class _Round:
    """How many sends and how many clients a round has, and how many rounds there are."""

    sends: int
    clients: int
    rounds: int


SHARING: Final = {
    Size.FULL: _Round(5_000, 1000, rounds=7),
    Size.QUICK: _Round(2_000, 200, rounds=3),
    Size.TINY: _Round(20, 10, rounds=1),
}


def sharing(programs: Programs, size: Size) -> list[Figure]:
    """Sends by one node to a client of another, and clients that connect to one of two."""
    require_options()
    plan = SHARING[size]
    with (
        redis() as store,
        service("--backplane", store.url) as near,
        service("--backplane", store.url) as far,
        service() as alone,
    ):
        together = [near.process, far.process, store.process]
        sends = _sends(programs, plan, far, near, together)
        sends_alone = _sends(programs, plan, alone, alone, [alone.process])
        opened = _opened(programs, plan, near, [near.process, store.process])
        opened_alone = _opened(programs, plan, alone, [alone.process])
    called, has_client, of_redis = sends[1], sends[0], sends[2]
    return [
        _figure("a send: CPU of the node that is called", called, sends_alone[0]),
        _figure("a send: CPU of the node that has the client", has_client),
        _figure("a send: CPU of Redis", of_redis),
        _figure("a client that connects: CPU of its node", opened[0], opened_alone[0]),
        _figure("a client that connects: CPU of Redis", opened[1]),
    ]


def _figure(what: str, values: Sequence[float], reference: Sequence[float] = ()) -> Figure:
    return Figure(
        f"over Redis, {what}",
        "µs",
        tuple(values),
        tuple(reference),
        _ALONE if reference else "",
    )


def _sends(
    programs: Programs, plan: _Round, called: Server, of: Server, processes: Sequence[Process]
) -> list[list[float]]:
    """Microseconds of each process for one send at `called` to a client of the other."""
    rounds = []
    with (
        tempfile.TemporaryDirectory(prefix="hubbub-bench-") as folder,
        clients(programs, of, 1) as listener,
        requester(programs, called, _CALLERS) as to_called,
    ):
        for _ in range(plan.rounds + 1):
            requests = called.sends(plan.sends, _MESSAGE.body, below=("/users/user-0",))
            listener.expect(0)
            before = [process.cpu() for process in processes]
            run_requests(to_called, requests, Path(folder))
            _settle(processes)
            rounds.append(_each(processes, before, plan.sends))
            listener.check_total(plan.sends * _MESSAGE.sizes[Kind.JSON])
    return [list(column) for column in zip(*rounds[1:], strict=True)]  # the first warms up


def _opened(
    programs: Programs, plan: _Round, server: Server, processes: Sequence[Process]
) -> list[list[float]]:
    """Microseconds of each process for one client that connects to `server`."""
    rounds = []
    for _ in range(plan.rounds + 1):
        before = [process.cpu() for process in processes]
        with clients(programs, server, plan.clients):
            rounds.append(_each(processes, before, plan.clients))
        _settle(processes)
    return [list(column) for column in zip(*rounds[1:], strict=True)]


def _each(processes: Sequence[Process], before: Sequence[int], count: int) -> list[float]:
    """Microseconds of each process since `before`, for one of so many."""
    return [
        (process.cpu() - was) / count / 1e3 for process, was in zip(processes, before, strict=True)
    ]


def _settle(processes: Sequence[Process]) -> None:
    for process in processes:
        process.settle()
