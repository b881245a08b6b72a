"""A real service inside the test's event loop, and raw clients of it. Holds no fixtures.

Nothing here is the client of this package: WebSockets are driven by `websockets`, HTTP by aiohttp.
"""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import aiohttp
import uvicorn
from tests.service.rawclients import (
    PATIENCE as PATIENCE,
)
from tests.service.rawclients import (
    Answer as Answer,
)
from tests.service.rawclients import (
    Call as Call,
)
from tests.service.rawclients import (
    Client as Client,
)
from tests.service.rawclients import (
    HttpClient as HttpClient,
)
from tests.service.rawclients import (
    Raw as Raw,
)
from websockets.asyncio.client import connect
from yarl import URL

from hubbub.protocol.endpoints import Endpoint, format_connection_string, parse_connection_string
from hubbub.protocol.tokens import issue_client_token, issue_rest_token
from hubbub.service.backplane.engine import Engine
from hubbub.service.cluster.cluster import Cluster
from hubbub.service.node import Node
from hubbub.service.registry import Hub
from hubbub.service.server import configure
from hubbub.service.session import Connection
from hubbub.service.settings import ServiceSettings


@dataclass
class Service:
    """A running service: its node, its address, and ways in."""

    node: Node
    url: str
    http: aiohttp.ClientSession
    _clients: AsyncExitStack

    @property
    def connection_string(self) -> str:
        return format_connection_string(self.url, self.node.settings.access_keys[0])

    @property
    def endpoint(self) -> Endpoint:
        return parse_connection_string(self.connection_string)

    def token(self, hub: str = "chat", user: str | None = None, **claims: Any) -> str:
        """What a client of `hub` connects with."""
        now = int(time.time())
        return issue_client_token(self.endpoint, hub, now=now, user_id=user, claims=claims)

    def rest_token(self, path: str) -> str:
        """What the REST call at `path` is made with."""
        return issue_rest_token(self.endpoint, self.url + path, now=int(time.time()))

    def hub(self, name: str = "chat") -> Hub:
        """A hub that has clients."""
        hub = self.node.registry.hub(name)
        assert hub is not None
        return hub

    def only_connection(self, hub: str = "chat") -> Connection:
        """The connection of the only client of a hub."""
        (connection,) = self.hub(hub).connections
        return connection

    async def open(
        self,
        hub: str = "chat",
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        path: str = "/client/",
        receive_buffer: int | None = None,
        **options: Any,
    ) -> Client:
        """A WebSocket whose handshake is still to come."""
        pairs = {"hub": hub, "access_token": self.token(hub)} if query is None else query
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        url = URL(self.url)
        await asyncio.get_running_loop().sock_connect(raw, (url.host, url.port))
        opened = await connect(
            f"ws://{url.authority}{path}{'?' if pairs else ''}{urlencode(pairs)}",
            sock=raw,
            additional_headers=headers,
            ping_interval=None,
            close_timeout=PATIENCE,
            max_size=None,
            **{"compression": None, "proxy": None, **options},
        )
        client = Client(opened)
        self._clients.callback(opened.transport.abort)
        return client

    async def connect(
        self, hub: str = "chat", user: str | None = None, protocol: str = "json", **options: Any
    ) -> Client:
        """A client that has done its handshake."""
        query = {"hub": hub, "access_token": self.token(hub, user)}
        client = await self.open(hub, query=query, **options)
        assert await client.handshake(protocol) == b"{}\x1e"
        return client

    async def raw(self, receive_buffer: int | None = None) -> Raw:
        """A TCP connection to the service."""
        opened = socket.socket()
        if receive_buffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.setblocking(False)
        url = URL(self.url)
        await asyncio.get_running_loop().sock_connect(opened, (url.host, url.port))
        reader, writer = await asyncio.open_connection(sock=opened)
        self._clients.callback(lambda: writer.transport.abort())  # which keeps the writer till then
        return Raw(reader, writer)

    async def http_client(self, **claims: Any) -> HttpClient:
        """A client that has negotiated and done nothing more."""
        negotiated = await self.negotiate(**claims)
        path = f"/client/?hub=chat&id={negotiated['connectionToken']}"
        return HttpClient(self, negotiated["connectionId"], path, self.token(**claims))

    async def polling(self, protocol: str = "json", **claims: Any) -> HttpClient:
        """A client that polls and has done its handshake."""
        client = await self.http_client(**claims)
        assert (await client.poll()).body == b""
        await client.post(b'{"protocol":"%b","version":1}\x1e' % protocol.encode())
        assert (await client.poll()).body == b"{}\x1e"
        return client

    async def streaming(
        self, receive_buffer: int | None = None, **claims: Any
    ) -> tuple[HttpClient, Raw]:
        """A client with an event stream that has done its handshake."""
        client = await self.http_client(**claims)
        events = await client.events(receive_buffer)
        await client.post(b'{"protocol":"json","version":1}\x1e')
        await events.until(b"data: {}\x1e" + b"\r\n" * 3)  # with the end of its chunk
        return client, events

    async def negotiate(self, hub: str = "chat", version: int = 1, **claims: Any) -> Any:
        """The answer to a negotiate request, read."""
        answer = await self.request(
            "POST",
            f"/client/negotiate?hub={hub}&negotiateVersion={version}",
            token=self.token(hub, **claims),
        )
        assert answer.status == 200, answer
        return answer.json

    async def connect_negotiated(self, hub: str = "chat") -> tuple[Client, str]:
        """A client that has done its handshake, and its connection id."""
        negotiated = await self.negotiate(hub)
        query = {
            "hub": hub,
            "id": negotiated["connectionToken"],
            "access_token": self.token(hub),
        }
        client = await self.open(hub, query=query)
        assert await client.handshake() == b"{}\x1e"
        return client, negotiated["connectionId"]

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Make an HTTP request; `path` is sent as it is."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with (
            asyncio.timeout(PATIENCE),
            self.http.request(
                method, URL(self.url + path, encoded=True), data=body, headers=sent
            ) as response,
        ):
            return Answer(response.status, response.headers, await response.read())

    async def rest(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Call the REST API as the Azure SDK does."""
        headers = {"Content-Type": content_type} if body is not None else None
        token = self.rest_token(path.partition("?")[0])
        return await self.request(method, path, token=token, body=body, headers=headers)

    async def send(self, target: str, *arguments: Any, to: str = "", hub: str = "chat") -> None:
        """Send by REST to everyone, or `to` what a path like `/groups/g` names."""
        body = json.dumps({"target": target, "arguments": arguments}).encode()
        answer = await self.rest("POST", f"/api/hubs/{hub}{to}/:send", body)
        assert answer.status == 202, answer


class Running:
    """A service that runs in this event loop while the context is open."""

    def __init__(
        self,
        settings: ServiceSettings,
        engine: Engine | None = None,
        **cluster: float,
    ) -> None:
        """With an `engine` it is one node of several."""
        self._node = Node(settings, engine.store if engine is not None else None)
        self._cluster = Cluster(self._node, engine, **cluster) if engine is not None else None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Service:
        listener = socket.create_server(("127.0.0.1", 0))
        host, port = listener.getsockname()
        self._stack.enter_context(listener)
        if self._cluster is not None:
            await self._cluster.open()
            self._stack.push_async_callback(self._cluster.close)
        await self._stack.enter_async_context(_serving(self._node, listener))
        http = aiohttp.ClientSession(auto_decompress=False)
        self._stack.push_async_callback(http.close)
        clients = await self._stack.enter_async_context(AsyncExitStack())
        return Service(self._node, f"http://{host}:{port}", http, clients)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def _serving(node: Node, listener: socket.socket) -> AsyncIterator[None]:
    """Serve as `hubbub.service.server` does, without its signal handlers and its main loop."""
    config = configure(node)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    node.open()
    await server.startup(sockets=[listener])
    try:
        yield
    finally:
        for listening in server.servers:
            listening.close()
        node.close()
        async with asyncio.timeout(PATIENCE):
            # They belong to clients that have gone or are told to; each goes when it has heard.
            while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)
