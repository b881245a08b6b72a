"""Server-sent events (TransportProtocols.md, "Server-Sent Events"): one response without end.

What the client sends comes by POST and is given to the connection by the client endpoint.
"""

import asyncio
import re
from typing import Final

from starlette.types import Receive, Scope, Send

from hubbub.protocol.codec import JSON, Codec
from hubbub.service.access import ClientAccess
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.wire import Wire

__all__ = ["EventStream", "frame_event"]

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")  # HTML, "Server-sent events", "Parsing"
_PREAMBLE: Final = b":\r\n"  # a comment, so that the client sees the stream begin
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache,no-store"),
    (b"pragma", b"no-cache"),
    (b"content-encoding", b"identity"),
    (b"x-accel-buffering", b"no"),  # nginx would wait for its buffer to fill
)


def frame_event(data: bytes) -> bytes:
    """`data` as one event: each of its lines is a data line, whatever ends it."""
    if b"\n" not in data and b"\r" not in data:
        return b"data: %b\r\n\r\n" % data
    return b"".join(b"data: %b\r\n" % line for line in _LINE_END.split(data)) + b"\r\n"


_WIRE: Final = Wire("events/json", JSON, frame_event)


class EventStream:
    """One event stream: the ASGI app that answers its GET. Satisfies `session.Transport`."""

    carries_binary = False
    has_keep_alive = False

    def __init__(self, node: Node, access: ClientAccess) -> None:
        self._limit = node.settings.max_pending_bytes
        self._pending: list[bytes] = [_PREAMBLE]
        self._pending_bytes = 0
        self._changed = asyncio.Event()
        self._is_closing = False
        self._connection: Connection = node.connect(access, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is written until either side ends the stream."""
        # Nothing but the end of the request can come from here on.
        gone = asyncio.ensure_future(receive_disconnect(receive))
        gone.add_done_callback(lambda _: self._changed.set())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            while not gone.done():
                data, is_last = self._take(), self._is_closing
                await send({"type": "http.response.body", "body": data, "more_body": not is_last})
                if is_last:
                    break
                await self._changed.wait()
        finally:
            gone.cancel()
            self._connection.lost()

    @property
    def pending(self) -> int:
        """Bytes that wait for their turn."""
        return self._pending_bytes

    def write(self, data: bytes) -> None:
        """Send events."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._changed.set()
        if self._pending_bytes > self._limit:
            self._connection.close_slow()

    def close(self) -> None:
        """End the response after what has been written."""
        self._is_closing = True
        self._changed.set()

    def abandon(self) -> None:
        """There is no stateful reconnect here, so nothing takes over."""
        self.close()

    def cut(self) -> None:
        """There is no stateful reconnect here."""
        self.close()

    def is_deserted(self, now: float) -> bool:
        """A stream tells of its end by itself."""
        return False

    def wire(self, codec: Codec) -> Wire:
        """Text alone can be sent, so JSON it is."""
        return _WIRE

    def _take(self) -> bytes:
        self._changed.clear()
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return data


async def receive_disconnect(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
