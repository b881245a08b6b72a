"""REST sends to one connection, each with a token of its own: requests a second of server CPU."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.broadcast import message_body
from benchmarks.figure import Budget, Figure
from benchmarks.load import clients, run_requests
from benchmarks.native import Programs
from benchmarks.process import LOAD_CORES, Process
from benchmarks.server import Server, bare_server, service
from benchmarks.size import Size

__all__ = ["ingress"]

_CALLERS: Final = 16  # connections that REST calls come on


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: how many requests in a round, how often."""

    requests: int
    rounds: int


INGRESS: Final = {
    Size.FULL: Plan(requests=10_000, rounds=9),
    Size.QUICK: Plan(requests=4_000, rounds=5),
    Size.TINY: Plan(requests=40, rounds=2),
}


def ingress(programs: Programs, size: Size) -> list[Figure]:
    """Authorize, read, route and deliver, beside a route that only reads the body."""
    plan = INGRESS[size]
    ours, bare = [], []
    with (
        tempfile.TemporaryDirectory(prefix="hubbub-bench-") as name,
        service() as server,
        bare_server() as reference,
        clients(programs, server, 1) as listener,
        _requester(programs, server) as to_server,
        _requester(programs, reference) as to_reference,
    ):
        below = f"/connections/{listener.first_id}"
        for number in range(plan.rounds + 1):
            requests = server.sends(plan.requests, message_body(), below=below)
            mine = _requests_a_second(server, to_server, requests, Path(name))
            theirs = _requests_a_second(reference, to_reference, requests, Path(name))
            if number:  # the first round warms up
                ours.append(mine)
                bare.append(theirs)
    return [
        Figure(
            "ingress: sends to a connection, a second of CPU",
            "/s",
            tuple(ours),
            tuple(bare),
            "bare uvicorn + Starlette",
            (Budget(7000, at_least=True), Budget(0.5, at_least=True, of_ratio=True)),
        )
    ]


def _requester(programs: Programs, server: Server) -> Process:
    host, port = server.address
    return Process([programs.requests, host, str(port), str(_CALLERS)], LOAD_CORES)


def _requests_a_second(
    server: Server, requester: Process, requests: list[bytes], folder: Path
) -> float:
    before = server.process.cpu()
    run_requests(requester, requests, folder)
    return len(requests) / (server.process.cpu() - before) * 1e9
