"""Raw clients of a service: a WebSocket, a plain socket, HTTP. Holds no fixtures.

Nothing here is the client of this package: WebSockets are driven by `websockets`, HTTP by aiohttp.
"""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from hubbub.protocol.codec import CODECS, JSON, Codec
from hubbub.protocol.messages import Close, Invocation, Message, Ping

if TYPE_CHECKING:
    from tests.service.running import Service

PATIENCE: Final = 20  # seconds that a test waits for what should come at once
Call = tuple[str, list[Any]]


@dataclass
class Client:
    """One WebSocket to the service. `codec` is what its handshake asked for."""

    socket: ClientConnection
    codec: Codec = JSON
    _messages: deque[Message] = field(default_factory=deque)

    async def handshake(self, protocol: str = "json", version: int = 1) -> bytes:
        """Send the handshake; return the frame that answers it."""
        self.codec = CODECS.get(protocol, JSON)
        await self.socket.send(f'{{"protocol":"{protocol}","version":{version}}}\x1e')
        return await self.frame()

    async def frame(self) -> bytes:
        """The next frame as it came."""
        async with asyncio.timeout(PATIENCE):
            data = await self.socket.recv()
        return data.encode() if isinstance(data, str) else data

    async def message(self) -> Message:
        """The next message."""
        while not self._messages:
            # Every frame of the service holds whole messages.
            reader = self.codec.reader(2**31 - 1)
            for record in reader.feed(await self.frame()):
                message = self.codec.decode(record)
                assert message is not None
                self._messages.append(message)
            assert reader.rest() == b""
        return self._messages.popleft()

    async def call(self) -> Call:
        """Target and arguments of the next invocation; pings before it do not count."""
        while isinstance(message := await self.message(), Ping):
            pass
        assert isinstance(message, Invocation), message
        return message.target, self.codec.decode_value(message.arguments)

    async def calls(self, count: int) -> list[Call]:
        """The next invocations."""
        return [await self.call() for _ in range(count)]

    async def end(self) -> tuple[Close | None, int | None]:
        """The Close message, if there is one, and the close code, when the service ends this.

        There may be invocations and completions before.
        """
        close = None
        try:
            while True:
                message = await self.message()
                close = message if isinstance(message, Close) else close
        except ConnectionClosed as error:
            return close, error.rcvd.code if error.rcvd is not None else None

    def write(self, data: bytes) -> None:
        """Put bytes on the socket that no WebSocket client would."""
        self.socket.transport.write(data)


@dataclass
class Answer:
    """What an HTTP request was answered with."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Raw:
    """A TCP connection to the service, on which a test writes what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _kept: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        """What comes up to and with `end`; what came after it is kept."""
        while (found := self._kept.find(end)) < 0:
            assert await self._more(), f"ended before {end!r}: {bytes(self._kept[-200:])!r}"
        data = bytes(self._kept[: found + len(end)])
        del self._kept[: found + len(end)]
        return data

    async def rest(self) -> bytes:
        """What comes until the service closes the connection, which it may do with a reset."""
        while await self._more():
            pass
        data = bytes(self._kept)
        self._kept.clear()
        return data

    async def status(self) -> int:
        """The status of the next answer; its head is taken, its body is not."""
        head = await self.until(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])

    async def _more(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                data = await self.reader.read(65536)
        except ConnectionError:
            return False
        self._kept += data
        return bool(data)


@dataclass
class HttpClient:
    """A client that has negotiated and goes on over HTTP: polls, events and posts."""

    service: "Service"
    id: str
    path: str
    token: str

    async def request(self, method: str, body: bytes | None = None) -> Answer:
        """A request to the connection, as the client that it belongs to."""
        return await self.service.request(method, self.path, token=self.token, body=body)

    async def post(self, data: bytes) -> Answer:
        """Say something."""
        return await self.request("POST", data)

    async def poll(self) -> Answer:
        """Ask what there is."""
        return await self.request("GET")

    def head(self, method: str, *headers: str) -> bytes:
        """The head of a request to the connection, for a raw connection."""
        lines = [f"{method} {self.path} HTTP/1.1", "Host: service", *headers]
        return "\r\n".join([*lines, f"Authorization: Bearer {self.token}", "", ""]).encode()

    async def events(self, receive_buffer: int | None = None) -> Raw:
        """Open the event stream; its handshake is still to come."""
        raw = await self.service.raw(receive_buffer)
        raw.send(self.head("GET", "Accept: text/event-stream"))
        assert await raw.status() == 200
        return raw
