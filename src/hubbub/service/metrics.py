"""What a node counts, for Prometheus: read when somebody asks, on a listener of its own.

Nothing is counted for this alone, and no label holds what a peer can choose. It needs the extra
`telemetry`, so only who serves it imports it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from socket import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

import hubbub
from hubbub.service.session import State

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["METRICS", "MetricsPage"]

_STRIDE: Final = 500  # connections that are looked at before others have their turn
_LAST: Final = 1.0  # seconds for answers that are under way when the node ends
_TRANSPORTS: Final = {
    "WebSocketTransport": "websocket",
    "EventStream": "event_stream",
    "LongPolling": "long_polling",
}
_Samples = Iterable[tuple[tuple[str, ...], float]]


class _Seen(NamedTuple):
    """A node, and what looking at each of its connections has given."""

    node: "Node"
    transports: Counter[str]
    pending: int


class Metric(NamedTuple):
    """One metric: `kind` is `gauge` or `counter`, `read` gives its values by labels."""

    name: str
    kind: str
    text: str
    read: Callable[[_Seen], _Samples]
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name on the page."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _one(read: Callable[["Node"], float]) -> Callable[[_Seen], _Samples]:
    return lambda seen: [((), float(read(seen.node)))]


def _transports(seen: _Seen) -> _Samples:
    names = (*_TRANSPORTS.values(), "away")
    return [((name,), float(seen.transports[name])) for name in names]


def _refused(seen: _Seen) -> _Samples:
    return [((way, str(status)), count) for (way, status), count in seen.node.refused.items()]


def _upstream(seen: _Seen) -> _Samples:
    outcomes = seen.node.upstream.outcomes
    return [((category, kind.value), count) for (category, kind), count in outcomes.items()]


def _of_cluster(read: Callable[["Node"], float]) -> Callable[[_Seen], _Samples]:
    """Nothing where there are no other nodes."""
    return lambda seen: _one(read)(seen) if seen.node.cluster is not None else ()


def _flag(read: Callable[["Node"], object]) -> Callable[["Node"], float]:
    return lambda node: float(bool(read(node)))


def _sum_groups(node: "Node") -> float:
    return sum(len(hub.groups) for hub in node.registry.hubs())


def _of(path: str) -> Callable[["Node"], float]:
    """The value at `path`, names with dots between, below a node's cluster."""

    def read(node: "Node") -> float:
        value: object = node.cluster
        for name in path.split("."):
            value = getattr(value, name)
        return float(value)  # type: ignore[arg-type]

    return read


METRICS: Final = (
    Metric("hubbub_info", "gauge", "1, with the release and the node's id.",
           lambda seen: [((hubbub.__version__, seen.node.id), 1.0)], ("version", "node")),
    Metric("hubbub_connections", "gauge",
           "Clients by transport; `away` are those with stateful reconnect that may come back.",
           _transports, ("transport",)),
    Metric("hubbub_hubs", "gauge", "Hubs that have clients.",
           _one(lambda node: len(node.registry.hubs()))),
    Metric("hubbub_groups", "gauge", "Groups that have clients.", _one(_sum_groups)),
    Metric("hubbub_messages_accepted", "counter",
           "Messages for clients of this node, each once whatever the number of clients.",
           _one(lambda node: node.registry.accepted)),
    Metric("hubbub_messages_delivered", "counter",
           "The same times the clients that each was for; those that were excluded count.",
           _one(lambda node: node.registry.delivered)),
    Metric("hubbub_pending_bytes", "gauge", "Bytes that clients have not taken yet.",
           lambda seen: [((), float(seen.pending))]),
    Metric("hubbub_slow_closes", "counter", "Clients that were let go because they were too slow.",
           _one(lambda node: node.slow_closes)),
    Metric("hubbub_refused", "counter",
           "Requests that were refused, by way (`client`, `rest`) and status.",
           _refused, ("way", "status")),
    Metric("hubbub_upstream_deliveries", "counter",
           "Events that were sent to the app, by category and by how that ended.",
           _upstream, ("category", "outcome")),
    Metric("hubbub_upstream_under_way", "gauge", "Deliveries that the app has not answered yet.",
           _one(lambda node: node.upstream.under_way)),
    Metric("hubbub_streams", "gauge", "Streams that clients have open.",
           _one(lambda node: len(node.upstream.streaming))),
    Metric("hubbub_draining", "gauge", "1 while no client is let in any more.",
           _one(_flag(lambda node: node.is_draining))),
    Metric("hubbub_backplane_connected", "gauge",
           "1 while Redis can be reached and everything is heard.",
           _of_cluster(_of("backplane.is_connected"))),
    Metric("hubbub_degraded", "gauge",
           "1 while others cannot be reached or are not back, or clients lack groups; see health.",
           _of_cluster(_flag(lambda node: not _of("is_whole")(node)))),
    Metric("hubbub_nodes", "gauge", "Nodes of the service, this one included, as of a second ago.",
           _of_cluster(_of("recovery.known"))),
    Metric("hubbub_dead_nodes", "gauge", "Nodes that have died in the last 10 minutes.",
           _of_cluster(lambda node: node.cluster.life.lapsed() if node.cluster else 0)),
    Metric("hubbub_published", "counter", "Calls that other nodes were told of.",
           _of_cluster(_of("forwarding.number"))),
    Metric("hubbub_received", "counter",
           "What came from nodes, this one's own included, where it listens too.",
           _of_cluster(_of("received"))),
)  # fmt: skip


class MetricsPage:
    """Serves /metrics. `open` it on a socket, and `close` it."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._seen = _Seen(node, Counter(), 0)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"MetricsPage({self._node!r})"

    async def open(self, listener: socket) -> None:
        """Begin to answer."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        """Answer no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All metrics, as `prometheus_client` asks for them."""
        for metric in METRICS:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.text, labels=metric.labels)
            for labels, value in metric.read(self._seen):
                family.add_metric(labels, value)
            yield family

    async def _answer(self, request: web.Request) -> web.Response:
        self._seen = await self._look()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _look(self) -> _Seen:
        """Look at every connection, some at a time: nobody waits long for it."""
        transports: Counter[str] = Counter()
        pending = 0
        connections = iter(tuple(self._node.connections))
        while some := tuple(islice(connections, _STRIDE)):
            for connection in some:
                transport = connection.transport
                if connection.state is State.DETACHED:
                    transports["away"] += 1
                else:
                    transports[_TRANSPORTS.get(type(transport).__name__, "away")] += 1
                    pending += transport.pending
            await asyncio.sleep(0)
        return _Seen(self._node, transports, pending)
