"""REST sends to few: one connection, one user, a small group; requests a second of server CPU.

Each request has a token of its own, and what is delivered is counted.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.figure import Budget, Figure
from benchmarks.load import Clients, clients, join_groups, requester, run_requests
from benchmarks.message import Kind, message
from benchmarks.native import Programs
from benchmarks.process import Process
from benchmarks.server import Server, bare_server, service
from benchmarks.size import Size

__all__ = ["ingress"]

_CALLERS: Final = 16  # connections that REST calls come on
_MEMBERS: Final = 10  # connections of a small group
_MESSAGE: Final = message(128)
_BARE: Final = "bare uvicorn + Starlette"


@dataclass(frozen=True, slots=True)
class _Requests:
    """One run: how many requests in a round, how often, how many clients there are."""

    requests: int
    rounds: int
    clients: int


INGRESS: Final = {
    Size.FULL: _Requests(10_000, rounds=9, clients=1000),
    Size.QUICK: _Requests(4_000, rounds=5, clients=100),
    Size.TINY: _Requests(40, rounds=2, clients=20),
}


def ingress(programs: Programs, size: Size) -> list[Figure]:
    """Authorize, read, route and deliver, beside a route that only reads the body."""
    plan = INGRESS[size]
    budgets = Budget(7000, at_least=True), Budget(10_000, at_least=True)
    with service() as server, clients(programs, server, plan.clients) as listeners:
        users = [f"/users/user-{number}" for number in range(plan.clients)]
        groups = [f"group-{number // _MEMBERS}" for number in range(plan.clients)]
        join_groups(programs, server, groups)
        one = [f"/connections/{listeners.first_id}"]
        small = [f"/groups/{group}" for group in groups[::_MEMBERS]]
        figures = [_figure(programs, server, listeners, plan, "a connection", one, 1, budgets)]
        if size is not Size.QUICK:
            figures += [
                _figure(programs, server, listeners, plan, "users by turns", users, 1),
                _figure(
                    programs, server, listeners, plan, "groups of 10 by turns", small, _MEMBERS
                ),
            ]
    return figures


def _figure(
    programs: Programs,
    server: Server,
    listeners: Clients,
    plan: _Requests,
    to_whom: str,
    below: Sequence[str],
    receivers: int,
    budgets: tuple[Budget, ...] = (),
) -> Figure:
    ours, bare = [], []
    with (
        tempfile.TemporaryDirectory(prefix="hubbub-bench-") as name,
        bare_server() as reference,
        requester(programs, server, _CALLERS) as to_server,
        requester(programs, reference, _CALLERS) as to_reference,
    ):
        for number in range(plan.rounds + 1):
            requests = server.sends(plan.requests, _MESSAGE.body, below=below)
            listeners.expect(0)
            mine = _requests_a_second(server, to_server, requests, Path(name))
            _check(listeners, plan.requests * receivers)
            theirs = _requests_a_second(reference, to_reference, requests, Path(name))
            if number:  # the first round warms up
                ours.append(mine)
                bare.append(theirs)
    return Figure(
        f"ingress: sends to {to_whom}, a second of CPU",
        "/s",
        tuple(ours),
        tuple(bare),
        _BARE,
        budgets,
    )


def _requests_a_second(
    server: Server, requests_to: Process, requests: list[bytes], folder: Path
) -> float:
    before = server.process.cpu()
    run_requests(requests_to, requests, folder)
    server.process.settle()
    return len(requests) / (server.process.cpu() - before) * 1e9


def _check(listeners: Clients, deliveries: int) -> None:
    listeners.check_total(deliveries * _MESSAGE.sizes[Kind.JSON])
