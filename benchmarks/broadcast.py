"""Sends to all clients of a hub: CPU of one delivered message, one at a time and in bursts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figure import Budget, Figure
from benchmarks.load import Audience, audience, c_loop
from benchmarks.message import Kind, Message, message
from benchmarks.native import Programs
from benchmarks.sender import HttpSender, LoopSender, Plan, Round, alternate
from benchmarks.server import Server, service
from benchmarks.size import Size

__all__ = ["LOOP", "broadcast", "cpu_figure", "latencies", "rest_sender"]

LOOP: Final = "C send() loop"
_JSON: Final = (Kind.JSON,)
_MESSAGEPACK: Final = (Kind.MESSAGEPACK,)
_MIXED: Final = (Kind.JSON, Kind.MESSAGEPACK)
_NAMES: Final = {_JSON: "", _MESSAGEPACK: " in MessagePack", _MIXED: " in both encodings"}
_BUDGETS: Final = {1: Budget(1.10, of_ratio=True), 10: Budget(0.25, of_ratio=True)}
_BUDGETED: Final = 5000  # clients, of 128 bytes in JSON
_DELIVERIES: Final = 50_000  # in a round, unless one burst is more


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Clients, and what is sent to them."""

    clients: int
    payloads: tuple[int, ...]  # bytes of one WebSocket frame, without its head
    in_flight: tuple[int, ...]
    rounds: int
    kinds: tuple[Kind, ...] = _JSON
    deliveries: int = _DELIVERIES

    def plans(self) -> list[tuple[int, Plan]]:
        """Payload and plan of each measurement."""
        return [
            (payload, Plan(self._bursts(in_flight), self.rounds, in_flight))
            for payload in self.payloads
            for in_flight in self.in_flight
        ]

    def _bursts(self, in_flight: int) -> int:
        return max(1, self.deliveries // (self.clients * in_flight))


CROWDS: Final = {
    Size.FULL: (
        _Crowd(1000, (128, 2048), (1, 10, 100), rounds=9),
        _Crowd(1000, (128, 2048), (1, 10), rounds=9, kinds=_MESSAGEPACK),
        _Crowd(1000, (128, 2048), (1, 10), rounds=9, kinds=_MIXED),
        _Crowd(5000, (128,), (1, 10), rounds=9),
        _Crowd(10_000, (128, 2048), (1, 10), rounds=7),
        _Crowd(10_000, (128,), (100,), rounds=3),
    ),
    Size.QUICK: (_Crowd(5000, (128,), (1, 10), rounds=5),),
    Size.TINY: (
        _Crowd(4, (128,), (1, 10), rounds=1, deliveries=8),
        _Crowd(4, (2048,), (1,), rounds=1, deliveries=8, kinds=_MESSAGEPACK),
        _Crowd(4, (128,), (1,), rounds=1, deliveries=8, kinds=_MIXED),
    ),
}


def broadcast(programs: Programs, size: Size) -> list[Figure]:
    """REST sends to all, so many at once from as many callers; then the next so many."""
    return [figure for crowd in CROWDS[size] for figure in _measured(programs, crowd)]


def _measured(programs: Programs, crowd: _Crowd) -> list[Figure]:
    figures = []
    with (
        service() as server,
        audience(programs, server, crowd.clients, crowd.kinds) as listeners,
        c_loop(programs, crowd.clients) as (loop, loop_listeners),
    ):
        for payload, plan in crowd.plans():
            sent = message(payload, crowd.kinds[0])
            ours, theirs = alternate(
                plan,
                rest_sender(server, listeners, sent),
                LoopSender(loop, loop_listeners, sent),
            )
            figures += _figures(crowd, payload, plan, ours, theirs)
    return figures


def rest_sender(
    server: Server, listeners: Audience, sent: Message, *, below: Sequence[str] = ("",)
) -> HttpSender:
    """The service, sending to the hub or to what is at `below` in it."""
    return HttpSender(
        server.process,
        server.address,
        listeners,
        sent.sizes,
        lambda count: server.sends(count, sent.body, below=below),
    )


def _figures(
    crowd: _Crowd, payload: int, plan: Plan, ours: list[Round], theirs: list[Round]
) -> list[Figure]:
    at_once = f", {plan.in_flight} in flight" if plan.in_flight > 1 else ""
    title = f"{payload} B to {crowd.clients:,}{_NAMES[crowd.kinds]}{at_once}"
    budgets: tuple[Budget, ...] = ()
    if (crowd.clients, payload, crowd.kinds) == (_BUDGETED, 128, _JSON):
        budgets = (_BUDGETS[plan.in_flight],)
    figures = [
        cpu_figure(
            f"broadcast {title}: CPU of a delivered message",
            ours,
            theirs,
            budgets,
            plot="Broadcast: CPU of a delivered message (ns)",
            label=title,
        )
    ]
    if plan.in_flight == 1:
        figures += latencies(f"broadcast {title}", ours, theirs)
    load = "the load client's own CPU for a message"
    figures.append(
        Figure(
            f"broadcast {title}: {load}",
            "ns",
            tuple(round_.load_cpu for round_ in ours),
            tuple(round_.load_cpu for round_ in theirs),
            LOOP,
        )
    )
    return figures


def cpu_figure(
    what: str,
    ours: Sequence[Round],
    theirs: Sequence[Round],
    budgets: tuple[Budget, ...] = (),
    *,
    reference: str = LOOP,
    plot: str = "",
    label: str = "",
) -> Figure:
    """The server's CPU for one delivered message."""
    return Figure(
        what,
        "ns",
        tuple(round_.cpu for round_ in ours),
        tuple(round_.cpu for round_ in theirs),
        reference,
        budgets,
        plot,
        label,
    )


def latencies(
    title: str,
    ours: Sequence[Round],
    theirs: Sequence[Round],
    budgets: tuple[Budget, ...] = (),
    note: str = "",
) -> list[Figure]:
    """Quantiles of the time from call to delivery; `budgets`, `note` are of the 99th percentile."""
    return [
        Figure(
            f"{title}: {name} from call to delivery",
            "ms",
            _milliseconds(ours, quantile),
            _milliseconds(theirs, quantile),
            LOOP,
            budgets if name == "p99" else (),
            note=note if name == "p99" else "",
        )
        for name, quantile in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"))
        if _milliseconds(ours, quantile)
    ]


def _milliseconds(rounds: Sequence[Round], quantile: str) -> tuple[float, ...]:
    return tuple(
        getattr(round_.latency, quantile) / 1e6 for round_ in rounds if round_.latency is not None
    )
