"""Serves one node on a socket: the only place that knows uvicorn's settings."""

import asyncio
import gc
import importlib
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Final

import uvicorn

from hubbub.service.app import create_app
from hubbub.service.deadlines import Deadlines
from hubbub.service.direct import Direct
from hubbub.service.limitedhttp import LimitedHttp
from hubbub.service.node import Node
from hubbub.service.settings import ServiceSettings
from hubbub.service.store import MemoryStore, Store
from hubbub.service.transports.websocket import WebSocketTransport

__all__ = ["configure", "serve"]

_BACKLOG: Final = 4096  # connections that wait to be accepted, for when all clients come back


async def serve(
    settings: ServiceSettings,
    listener: socket.socket,
    *,
    ready: Callable[[], None],
    store: Store | None = None,
) -> None:
    """Serve on `listener` until SIGINT or SIGTERM; call `ready` once requests are answered.

    The first signal lets clients go in a way that lets them connect again, spread over the
    settings' drain window; the second ends at once.
    """
    store = store if store is not None else MemoryStore()
    await store.open()
    node = Node(settings, store)
    node.open()
    server = _Server(node, ready)
    try:
        await server.serve(sockets=[listener])
    finally:
        node.close()
        await node.upstream.close(0 if server.force_exit else settings.upstream_grace)
        await store.close()


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

    def __init__(self, node: Node, ready: Callable[[], None]) -> None:
        super().__init__(configure(node))
        self._node = node
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then say so."""
        await super().startup(sockets=sockets)
        # What has been imported stays: collecting it again and again finds nothing.
        gc.collect()
        gc.freeze()
        self._ready()
        if self._node.upstream.is_configured:
            # The first event would wait for this import.
            await asyncio.to_thread(importlib.import_module, "hubbub.service.upstream.web")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, let everybody go, then end."""
        for server in self.servers:
            server.close()
        for pause in self._node.drain():
            if self.force_exit:
                break
            await asyncio.sleep(pause)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first one ends in order, the second one at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
