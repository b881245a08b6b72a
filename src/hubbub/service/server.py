"""Serves one node on a socket: the only place that knows uvicorn's settings."""

import asyncio
import gc
import importlib
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from hubbub.errors import ConfigError
from hubbub.service.app import create_app
from hubbub.service.backplane.engine import Engine
from hubbub.service.bulkwrite import bulk_write
from hubbub.service.cluster.cluster import Cluster
from hubbub.service.deadlines import Deadlines
from hubbub.service.direct import Direct
from hubbub.service.leases import LEASE, RENEWAL
from hubbub.service.limitedhttp import LimitedHttp
from hubbub.service.node import Node
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings
from hubbub.service.store import MemoryStore, Store
from hubbub.service.transports.websocket import WebSocketTransport

if TYPE_CHECKING:
    from hubbub.service.metrics import MetricsPage

__all__ = ["configure", "serve"]

_LOOK: Final = 0.02  # seconds between two looks whether the app has heard who has left
_HEARING: Final = 1.0  # seconds for requests of connections that came last
_GC_THRESHOLDS: Final = (20_000, 20, 20)
_BACKLOG: Final = 4096  # connections that wait to be accepted, for when all clients come back


async def serve(
    settings: ServiceSettings,
    listener: socket.socket,
    *,
    ready: Callable[[ServiceSettings], None],
    stopping: Callable[[signal.Signals], None] = lambda _: None,
    store: Store | None = None,
    engine: Engine | None = None,
    lease: float = LEASE,
    metrics: socket.socket | None = None,
) -> None:
    """Serve on `listener` until SIGINT or SIGTERM.

    `ready` is called once requests are answered, with the settings in force. With an `engine` this
    is one node of several, and the store is the engine's; `lease` is the engine's too, in seconds.
    On `metrics` the node's are served.

    The first signal, with which `stopping` is called, lets clients go in a way that lets them
    connect again, spread over the settings' drain window; the app is told of them, and REST calls
    are answered meanwhile. The second ends at once.
    """
    store = engine.store if engine is not None else store or MemoryStore()
    node = Node(settings, store)
    cluster = _cluster(node, engine, lease) if engine is not None else None
    if cluster is not None:
        await cluster.open()
        _check_keys(settings, node.settings)
    await store.open()
    node.open()
    server = _Server(node, listener, lambda: ready(node.settings), stopping)
    if cluster is not None and listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        cluster.leave_port = partial(server.leave_port, is_for_good=True)
    page = await _open_page(node, metrics) if metrics is not None else None
    try:
        await server.serve(sockets=[listener])
    finally:
        if page is not None:
            await page.close()
        node.close()
        await node.upstream.close()
        if cluster is not None:
            await cluster.close()
        await store.close()


def _cluster(node: Node, engine: Engine, lease: float) -> Cluster:
    return Cluster(node, engine, lease=lease, renewal=lease * RENEWAL / LEASE)


async def _open_page(node: Node, listener: socket.socket) -> "MetricsPage":
    from hubbub.service.metrics import MetricsPage  # of the extra `telemetry`, which few need

    page = MetricsPage(node)
    await page.open(listener)
    return page


def _check_keys(own: ServiceSettings, shared: ServiceSettings) -> None:
    """Refuse a key that everybody knows where the operator has chosen another."""
    if EMULATOR_KEY in shared.access_keys and EMULATOR_KEY not in own.access_keys:
        raise ConfigError(
            "The other nodes of this service were started with the emulator's well-known access "
            "key, and all nodes share their keys. `hubbub keys rotate primary` replaces it."
        )


def configure(node: Node) -> uvicorn.Config:
    """How uvicorn serves `node`."""
    return uvicorn.Config(
        create_app(node),
        http=partial(LimitedHttp, node, Direct(node), Deadlines()),  # type: ignore[arg-type]
        ws=WebSocketTransport,  # which LimitedHttp makes itself
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(node.settings.close_timeout) + 1,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and lets clients go one after another."""

    def __init__(
        self,
        node: Node,
        listener: socket.socket,
        ready: Callable[[], None],
        stopping: Callable[[signal.Signals], None],
    ) -> None:
        super().__init__(configure(node))
        self._node = node
        self._listener: socket.socket | None = listener
        self._ready = ready
        self._stopping = stopping
        self._signal = signal.SIGTERM
        self._accepting: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then say so."""
        await super().startup(sockets=sockets)
        bulk_write()  # which is tried out before anybody depends on it
        # What has been imported stays: collecting it again and again finds nothing.
        gc.collect()
        gc.freeze()
        # Nearly all that is made either stays as long as its connection or is gone at once.
        gc.set_threshold(*_GC_THRESHOLDS)
        self._ready()
        if self._node.upstream.is_configured:
            # The first event would wait for this import.
            await asyncio.to_thread(importlib.import_module, "hubbub.service.upstream.web")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let everybody go and tell the app, accept no more, then end.

        What the app does then may call the service, so calls are accepted until it is told; but
        where there are other nodes, they accept all from now on.
        """
        self._stopping(self._signal)
        cluster = self._node.cluster
        if cluster is not None:
            await cluster.retire(self.leave_port)
        for pause in chain(self._node.drain(), self._until_drained(), self._until_heard()):
            if self.force_exit:
                break
            await asyncio.sleep(pause)
        ending = asyncio.create_task(super().shutdown(sockets))
        while not (await asyncio.wait({ending}, timeout=_LOOK))[0]:
            if self.force_exit:
                # From Python 3.12 on asyncio's servers wait for the sockets of their clients.
                ending.cancel()
        if not ending.cancelled():
            ending.result()

    def leave_port(self, *, is_for_good: bool = False) -> None:
        """Take no more clients: the other nodes do. Those who wait to be accepted are served.

        Unless `is_for_good`, another process may go on with the same socket.
        """
        listener, self._listener = self._listener, None
        if listener is None:
            return
        # What the listener has not handed out would be refused when it closes. From the last look
        # to its end nothing waits.
        for _ in range(_BACKLOG):
            try:
                accepted = listener.accept()[0]
            except OSError:
                break
            accepted.setblocking(False)
            self._serve_also(accepted)
        if is_for_good:  # where others have it open, clients would wait for nobody
            listener.shutdown(socket.SHUT_RDWR)
        for server in self.servers:
            server.close()
        # With its next answer, every connection that is kept goes to another node.
        farewell = (b"connection", b"close")
        self.config.encoded_headers.append(farewell)
        self.server_state.default_headers = [*self.server_state.default_headers, farewell]

    def _serve_also(self, accepted: socket.socket) -> None:
        new: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        made = partial(
            new,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(made, accepted))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    def _until_drained(self) -> Iterator[float]:
        """Yield the seconds between looks whether the app has heard of all, while it is granted."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._node.settings.upstream_grace
        while not self._node.is_drained and loop.time() < deadline:
            yield _LOOK

    def _until_heard(self) -> Iterator[float]:
        """The same for looks whether those who came when the port was left have said what for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _HEARING
        while self._listener is None and self._expects_requests and loop.time() < deadline:
            yield _LOOK

    @property
    def _expects_requests(self) -> bool:
        return bool(self._accepting) or any(
            isinstance(each, LimitedHttp) and each.is_expected
            for each in self.server_state.connections
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first one ends in order, the second one at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._signal = signal.Signals(sig)
