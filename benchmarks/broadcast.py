"""Sends to all clients of a hub: CPU of one delivered message, one at a time and in bursts."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.figure import Budget, Figure
from benchmarks.load import Callers, Clients, Latency, c_loop, clients
from benchmarks.native import Programs
from benchmarks.process import BenchmarkError, Process
from benchmarks.server import Server, service
from benchmarks.size import Size

__all__ = ["broadcast", "burst"]

PAYLOAD: Final = 128  # bytes of one WebSocket frame, without its head
_FRAME: Final = 4 + PAYLOAD  # RFC 6455, 5.2: from 126 bytes on the length takes two more
_TARGET: Final = "newMessage"
_TIGHT: Final = (",", ":")  # JSON without spaces
_LOOP: Final = "C send() loop"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: how many receive, how much, how often."""

    clients: int
    bursts: int  # in one round
    rounds: int
    in_flight: int = 1


BROADCAST: Final = {
    Size.FULL: (
        Plan(clients=1000, bursts=50, rounds=9),
        Plan(clients=5000, bursts=10, rounds=9),
    ),
    Size.QUICK: (Plan(clients=1000, bursts=50, rounds=5),),
    Size.TINY: (Plan(clients=5, bursts=2, rounds=2),),
}
BURST: Final = {
    Size.FULL: (
        Plan(clients=1000, bursts=20, rounds=9, in_flight=10),
        Plan(clients=5000, bursts=4, rounds=9, in_flight=10),
    ),
    Size.QUICK: (Plan(clients=1000, bursts=20, rounds=5, in_flight=10),),
    Size.TINY: (Plan(clients=5, bursts=2, rounds=2, in_flight=10),),
}


@dataclass(slots=True)
class _Rounds:
    """What the rounds of one server gave."""

    cpu: list[float] = field(default_factory=list)
    load_cpu: list[float] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)


def broadcast(programs: Programs, size: Size) -> list[Figure]:
    """One REST send to all at a time, each after the one before it has arrived at all."""
    return [figure for plan in BROADCAST[size] for figure in _broadcast(programs, plan)]


def _broadcast(programs: Programs, plan: Plan) -> list[Figure]:
    ours, loop = _measure(programs, plan)
    title = f"broadcast to {plan.clients:,}"
    latencies = [
        Figure(
            f"{title}: {name} from call to delivery",
            "ms",
            tuple(getattr(latency, quantile) / 1e6 for latency in ours.latencies),
            tuple(getattr(latency, quantile) / 1e6 for latency in loop.latencies),
            _LOOP,
        )
        for name, quantile in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"))
    ]
    load = Figure(
        f"{title}: the load client's CPU for a message",
        "ns",
        tuple(ours.load_cpu),
        tuple(loop.load_cpu),
        _LOOP,
    )
    return [_cpu_figure(title, ours, loop, Budget(1.5, of_ratio=True)), *latencies, load]


def burst(programs: Programs, size: Size) -> list[Figure]:
    """So many REST sends to all at once, from as many callers; then the next so many."""
    return [_burst(programs, plan) for plan in BURST[size]]


def _burst(programs: Programs, plan: Plan) -> Figure:
    ours, loop = _measure(programs, plan)
    title = f"broadcast to {plan.clients:,}, {plan.in_flight} in flight"
    return _cpu_figure(title, ours, loop, Budget(0.25, of_ratio=True))


def _cpu_figure(title: str, ours: _Rounds, loop: _Rounds, budget: Budget) -> Figure:
    what = f"{title}: CPU of a delivered message"
    return Figure(what, "ns", tuple(ours.cpu), tuple(loop.cpu), _LOOP, (budget,))


def _measure(programs: Programs, plan: Plan) -> tuple[_Rounds, _Rounds]:
    """Let the service and the loop take turns, so that both meet the same machine."""
    ours, theirs = _Rounds(), _Rounds()
    with (
        service() as server,
        clients(programs, server, plan.clients) as listeners,
        c_loop(programs, plan.clients, _FRAME) as (loop, loop_listeners),
    ):
        _service_round(server, listeners, plan, _Rounds())  # the first warms caches
        _loop_round(loop, loop_listeners, plan, _Rounds())
        for _ in range(plan.rounds):
            _service_round(server, listeners, plan, ours)
            _loop_round(loop, loop_listeners, plan, theirs)
    return ours, theirs


def _service_round(server: Server, listeners: Clients, plan: Plan, rounds: _Rounds) -> None:
    requests = server.sends(plan.bursts * plan.in_flight, message_body())
    with Callers(server, plan.in_flight) as callers:
        before = server.process.cpu(), listeners.process.cpu()
        for start in range(0, len(requests), plan.in_flight):
            _send(callers, listeners, requests[start : start + plan.in_flight])
        after = server.process.cpu(), listeners.process.cpu()
    deliveries = len(requests) * plan.clients
    _note(rounds, listeners, deliveries, before, after)


def _send(callers: Callers, listeners: Clients, requests: Sequence[bytes]) -> None:
    size = _FRAME * len(requests)
    listeners.expect(size)
    start = time.monotonic_ns()
    callers.send(requests)
    listeners.wait(size)
    callers.check_answers()
    listeners.record(start)


def _loop_round(loop: Process, listeners: Clients, plan: Plan, rounds: _Rounds) -> None:
    before = loop.cpu(), listeners.process.cpu()
    for _ in range(plan.bursts):
        listeners.expect(_FRAME)
        start = time.monotonic_ns()
        loop.ask("send", "sent")
        listeners.wait(_FRAME)
        listeners.record(start)
    after = loop.cpu(), listeners.process.cpu()
    _note(rounds, listeners, plan.bursts * plan.clients, before, after)


def _note(
    rounds: _Rounds,
    listeners: Clients,
    deliveries: int,
    before: tuple[int, int],
    after: tuple[int, int],
) -> None:
    rounds.cpu.append((after[0] - before[0]) / deliveries)
    rounds.load_cpu.append((after[1] - before[1]) / deliveries)
    rounds.latencies.append(listeners.latency())


def message_body() -> bytes:
    """The body of a REST send whose hub message is `PAYLOAD` bytes long, framing included."""
    envelope = len(json.dumps({"type": 1, "target": _TARGET, "arguments": [""]}, separators=_TIGHT))
    filler = "x" * (PAYLOAD - envelope - 1)  # 0x1e ends the record
    if not filler:
        raise BenchmarkError(f"A message of {PAYLOAD} bytes has no room for an argument.")
    return json.dumps({"target": _TARGET, "arguments": [filler]}, separators=_TIGHT).encode()
