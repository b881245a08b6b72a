"""A client's invoke through upstream to a function and back: the whole product as it is started.

`hubbub start` runs the service and the function host; the function answers with what it is given.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from benchmarks.figure import Budget, Figure
from benchmarks.load import Clients, clients
from benchmarks.native import Programs
from benchmarks.server import Server, bare_server, function_app
from benchmarks.size import Size

__all__ = ["invoke"]

_CALL: Final = '{"type":1,"invocationId":"1","target":"echo","arguments":["hello"]}'
_BARE: Final = "uvicorn + Starlette that answers itself"


@dataclass(frozen=True, slots=True)
class _Calls:
    """Clients and calls of a round: as fast as they are answered, and so many a second."""

    busy: int  # clients that call again once they are answered
    steady: int  # clients that share the calls of `rate`
    rate: float
    calls: int
    rounds: int


CALLS: Final = {
    Size.FULL: _Calls(busy=32, steady=100, rate=500, calls=5000, rounds=7),
    Size.QUICK: _Calls(busy=32, steady=100, rate=500, calls=1000, rounds=3),
    Size.TINY: _Calls(busy=2, steady=2, rate=100, calls=4, rounds=1),
}


class _Round(NamedTuple):
    """What one round gave."""

    rate: float  # calls a second
    cpu: float  # µs of the servers for one call
    load_cpu: float  # µs of the load client
    p50: float  # ms
    p99: float
    p999: float


def invoke(programs: Programs, size: Size) -> list[Figure]:
    """Calls as fast as they are answered, then calls by the clock."""
    plan = CALLS[size]
    with function_app() as app, bare_server() as bare:
        busy = _rounds(programs, app, bare, plan.busy, plan)
        steady = _rounds(programs, app, bare, plan.steady, plan, plan.rate)
    again = f"invoke, {plan.busy} clients that call again once answered"
    paced = f"invoke, {plan.rate:g} calls a second"
    return [
        _figure(f"{again}: calls", "/s", *busy, "rate", Budget(2000, at_least=True)),
        _figure(f"{again}: CPU of service and host for one", "µs", *busy, "cpu"),
        _figure(f"{again}: the load client's own CPU for one", "µs", *busy, "load_cpu"),
        _figure(f"{paced}: p50 to the completion", "ms", *steady, "p50", Budget(3)),
        _figure(f"{paced}: p99 to the completion", "ms", *steady, "p99"),
        _figure(f"{paced}: p99.9 to the completion", "ms", *steady, "p999"),
    ]


def _rounds(
    programs: Programs, app: Server, bare: Server, count: int, plan: _Calls, rate: float = 0
) -> tuple[list[_Round], list[_Round]]:
    """The rounds of both, which take turns."""
    ours, theirs = [], []
    with clients(programs, app, count) as callers, clients(programs, bare, count) as bare_callers:
        sizes = _answer_size(callers), _answer_size(bare_callers)
        for number in range(plan.rounds + 1):
            mine = _round(app, callers, sizes[0], plan.calls, rate)
            other = _round(bare, bare_callers, sizes[1], plan.calls, rate)
            if number:  # the first round warms up
                ours.append(mine)
                theirs.append(other)
    return ours, theirs


def _answer_size(callers: Clients) -> int:
    """Bytes of one completion: what comes of one call."""
    callers.expect(0)
    callers.invoke(_CALL, calls=1, answer=1)
    return callers.total()


def _round(server: Server, callers: Clients, answer: int, calls: int, rate: float) -> _Round:
    callers.expect(0)
    before = server.process.cpu(), callers.process.cpu()
    taken, latency = callers.invoke(_CALL, calls=calls, answer=answer, rate=rate)
    after = server.process.cpu(), callers.process.cpu()
    callers.check_total(calls * answer)
    return _Round(
        calls / taken * 1e9,
        (after[0] - before[0]) / calls / 1e3,
        (after[1] - before[1]) / calls / 1e3,
        latency.p50 / 1e6,
        latency.p99 / 1e6,
        latency.p999 / 1e6,
    )


def _figure(
    what: str, unit: str, ours: list[_Round], bare: list[_Round], name: str, *budgets: Budget
) -> Figure:
    return Figure(
        what,
        unit,
        tuple(getattr(round_, name) for round_ in ours),
        tuple(getattr(round_, name) for round_ in bare),
        _BARE,
        budgets,
    )
