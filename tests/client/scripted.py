"""A hub server of which the test writes every word, in the test's event loop. Holds no fixtures."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from aiohttp import WSMsgType, web
from yarl import URL

from hubbub.client import HubClient
from hubbub.protocol.codec import CODECS, JSON, Codec
from hubbub.protocol.framing import RecordReader
from hubbub.protocol.messages import Close, Completion, Invocation, Message, Ping, StreamInvocation

PATIENCE: Final = 20  # seconds that a test waits for what should come at once
TRANSPORTS: Final = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]
T = TypeVar("T")
Answer = dict[str, Any] | web.Response


async def soon(awaitable: Awaitable[T]) -> T:
    """What should come at once: a test that waits in vain fails, rather than hangs."""
    return await asyncio.wait_for(awaitable, PATIENCE)


class Peer:
    """The server's end of one WebSocket."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.request = request
        self.codec: Codec = JSON
        self.version = 0
        self.ended = asyncio.Event()
        self._socket = socket
        self._reader: RecordReader = JSON.reader(2**30)
        self._messages: list[Message] = []

    async def frame(self) -> bytes | None:
        """The next frame, `None` at the end of the socket."""
        async with asyncio.timeout(PATIENCE):
            message = await self._socket.receive()
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        return bytes(message.data) if message.type is WSMsgType.BINARY else None

    async def handshake(self, answer: bytes = b"{}\x1e") -> "Peer":
        """Take the handshake and answer it."""
        frame = await self.frame()
        assert frame is not None
        record, _, rest = frame.partition(b"\x1e")
        request = json.loads(record)
        self.codec, self.version = CODECS[request["protocol"]], request["version"]
        self._reader = self.codec.reader(2**30)
        self._take(rest)
        await self.write(answer)
        return self

    def go_on(self, before: "Peer") -> None:
        """This socket takes over the connection of `before`: there is no second handshake."""
        self.codec = before.codec
        self._reader = self.codec.reader(2**30)

    async def message(self) -> Message | None:
        """The next message but pings, `None` at the end of the socket."""
        while not self._messages:
            frame = await self.frame()
            if frame is None:
                return None
            self._take(frame)
        return self._messages.pop(0)

    async def invocation(self) -> tuple[str, list[Any], str | None]:
        """Target, arguments and id of the invocation that comes next."""
        message = await self.message()
        assert isinstance(message, (Invocation, StreamInvocation)), message
        return message.target, self.value(message.arguments), message.invocation_id

    async def call(self, target: str, *arguments: Any, invocation_id: str | None = None) -> None:
        """Invoke `target` on the client."""
        raw = self.codec.encode_value(arguments)
        await self.send(Invocation(target=target, arguments=raw, invocation_id=invocation_id))

    async def complete(self, invocation_id: str | None, result: Any) -> None:
        """Answer an invocation."""
        assert invocation_id is not None
        raw = self.codec.encode_value(result)
        await self.send(Completion(invocation_id=invocation_id, result=raw))

    async def send(self, *messages: Message) -> None:
        """Send messages in one frame."""
        await self.write(b"".join(self.codec.encode(message) for message in messages))

    async def write(self, data: bytes) -> None:
        """Send a frame."""
        if self.codec.is_binary:
            await self._socket.send_bytes(data)
        else:
            await self._socket.send_str(data.decode())

    async def close(self, code: int = 1000) -> None:
        """Close the socket in order."""
        await self._socket.close(code=code)
        self.ended.set()

    def cut(self) -> None:
        """Break the socket."""
        _abort(self.request)
        self.ended.set()

    def value(self, raw: Any) -> Any:
        """The value of undecoded bytes."""
        return self.codec.decode_value(raw)

    def _take(self, data: bytes) -> None:
        for record in self._reader.feed(data):
            message = self.codec.decode(record)
            assert message is not None
            if not isinstance(message, Ping):
                self._messages.append(message)


def _abort(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


class ScriptedHub:
    """Negotiates as `negotiate` says, and hands each WebSocket to `accept`."""

    def __init__(self) -> None:
        self.url = ""
        self.negotiate: Callable[[web.Request], Answer | Awaitable[Answer]] = self.offer
        self.negotiations: list[web.Request] = []
        # What becomes of the sockets that come next: a status, or 0 for an end without answer.
        self.refusals: list[int] = []
        self.gone: dict[str, int] = {}  # the same, by connection token and for good
        self.refused = 0
        self.peers: list[Peer] = []
        self._arrived: asyncio.Queue[Peer] = asyncio.Queue()

    def offer(self, request: web.Request) -> Answer:
        """The answer of an ordinary server: a new connection over any transport."""
        number = len(self.negotiations)
        answer: dict[str, Any] = {
            "negotiateVersion": 1,
            "connectionId": f"id{number}",
            "connectionToken": f"token{number}",
            "availableTransports": TRANSPORTS,
        }
        if request.query.get("useStatefulReconnect") == "true":
            answer["useStatefulReconnect"] = True
        return answer

    async def accept(self) -> Peer:
        """The next WebSocket, its handshake not done."""
        async with asyncio.timeout(PATIENCE):
            return await self._arrived.get()

    async def connected(self) -> Peer:
        """The next WebSocket, its handshake done."""
        return await (await self.accept()).handshake()

    async def answer_negotiate(self, request: web.Request) -> web.StreamResponse:
        """POST …/negotiate."""
        self.negotiations.append(request)
        answer = self.negotiate(request)
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    async def answer_connect(self, request: web.Request) -> web.StreamResponse:
        """GET … with an upgrade to a WebSocket."""
        token = request.query.get("id", "")
        if self.refusals or token in self.gone:
            self.refused += 1
            status = self.gone[token] if token in self.gone else self.refusals.pop(0)
            if not status:
                _abort(request)
            return web.Response(status=status or 500)
        socket = web.WebSocketResponse(timeout=PATIENCE)
        await socket.prepare(request)
        peer = Peer(request, socket)
        self.peers.append(peer)
        self._arrived.put_nowait(peer)
        await peer.ended.wait()
        return socket


@asynccontextmanager
async def serving(
    routes: Callable[[web.Application], object],
) -> AsyncIterator[str]:
    """Serve an application that `routes` fills; yields its address."""
    app = web.Application()
    routes(app)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scripted_hub() -> AsyncIterator[ScriptedHub]:
    """A running `ScriptedHub` at its `url`."""
    hub = ScriptedHub()

    def routes(app: web.Application) -> None:
        app.router.add_post("/hub/negotiate", hub.answer_negotiate)
        app.router.add_get("/hub", hub.answer_connect)

    async with serving(routes) as address:
        hub.url = f"{address}/hub"
        try:
            yield hub
        finally:
            for peer in hub.peers:
                peer.ended.set()


async def connect(client: HubClient, hub: ScriptedHub) -> Peer:
    """Open the client; return the hub's end."""
    peer, _ = await soon(asyncio.gather(hub.connected(), client.open()))
    return peer


class Events:
    """What happened to a client, in order."""

    def __init__(self, client: HubClient) -> None:
        self._log: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        client.on_reconnecting(lambda error: self._log.put_nowait(("reconnecting", error)))
        client.on_reconnected(lambda number: self._log.put_nowait(("reconnected", number)))
        client.on_closed(lambda error: self._log.put_nowait(("closed", error)))

    async def next(self) -> tuple[str, Any]:
        return await soon(self._log.get())

    def __len__(self) -> int:
        return self._log.qsize()


async def leave(peer: Peer, message: Close) -> None:
    """What a server does that closes a connection."""
    await peer.send(message)
    await peer.close()


class Wire:
    """A TCP connection point between a client and a server, which the test can cut."""

    def __init__(self, url: str) -> None:
        self._target = URL(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    def cut(self) -> None:
        """Break every connection at once, whatever is on its way."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator["Wire"]:
        """Pass bytes on while the context is open."""
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = str(self._target.with_port(port))
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await server.wait_closed()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = await asyncio.open_connection(self._target.host, self._target.port)
        both = (writer, ends[1])
        self._writers.update(both)
        tasks = [
            asyncio.create_task(_pass_on(source, sink))
            for source, sink in ((reader, ends[1]), (ends[0], writer))
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in both:
            end.transport.abort()
        await asyncio.wait(tasks)
        self._writers.difference_update(both)


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
