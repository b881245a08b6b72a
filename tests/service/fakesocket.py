"""An HTTP connection of the service on a socket that is none: bytes come in pieces as a test cuts
them, and what is written is kept.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import uvicorn
from tests.service.running import PATIENCE

from hubbub.service.limitedhttp import LimitedHttp
from hubbub.service.node import Node
from hubbub.service.server import configure


class FakeSocket(asyncio.Transport):
    """Keeps what is written. It never pauses its protocol by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False
        self.protocol: Any = None
        self._heard = asyncio.Event()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: Any) -> None:
        if not self.is_closed:
            self.written += data
            self._heard.set()

    def close(self) -> None:
        self.is_closed = True
        self._heard.set()

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.is_closed

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    async def change(self) -> None:
        """Wait until something is written, or the end."""
        self._heard.clear()
        async with asyncio.timeout(PATIENCE):
            await self._heard.wait()


class Http:
    """One HTTP connection to `node`."""

    def __init__(self, node: Node) -> None:
        self.node = node
        config = configure(node)
        config.load()
        self.state = uvicorn.server.ServerState()
        self.socket = FakeSocket()
        self.protocol: LimitedHttp = config.http_protocol_class(  # type: ignore[assignment,call-arg]
            config=config, server_state=self.state, app_state={}
        )
        self.socket.protocol = self.protocol
        self.protocol.connection_made(self.socket)

    def send(self, *pieces: bytes) -> None:
        """What a client sends, each piece read by itself."""
        for piece in pieces:
            self.socket.protocol.data_received(piece)

    async def answers(self, count: int) -> list["HttpAnswer"]:
        """So many answers; waits until they are written."""
        while True:
            found, rest = split_answers(bytes(self.socket.written))
            if len(found) >= count or self.socket.is_closed:
                assert (len(found), rest) == (count, b"")
                return found
            await self.socket.change()

    def end(self) -> None:
        """The client goes."""
        self.socket.close()
        self.socket.protocol.connection_lost(None)


class HttpAnswer:
    """One answer, read."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"HttpAnswer({self.status}, {self.headers}, {self.body!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpAnswer) and repr(self) == repr(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def split_answers(data: bytes) -> tuple[list[HttpAnswer], bytes]:
    """The whole answers in `data`, each with its length, and what is left."""
    answers = []
    while b"\r\n\r\n" in data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        length = int(dict(headers).get("content-length", "0"))
        if len(rest) < length:
            break
        answers.append(HttpAnswer(int(first.split(" ")[1]), headers, rest[:length]))
        data = rest[length:]
    return answers, data


def request(
    method: str, path: str, *headers: str, body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A request whose body has a length."""
    lines = [f"{method} {path} HTTP/{version}", "Host: service", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def chunked(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """The same request with a body in chunks."""
    head = request(method, path, *headers, "Transfer-Encoding: chunked")
    return head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


def in_bytes(data: bytes) -> Iterable[bytes]:
    """`data`, byte by byte."""
    return (data[start : start + 1] for start in range(len(data)))
