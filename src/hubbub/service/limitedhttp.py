"""HTTP/1.1 by uvicorn, with limits that it leaves to a proxy: how long and how large a head may be.

A head is the request line and the headers. What comes after it is limited where it is read.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hubbub.service.node import Node
from hubbub.service.transports.upgrade import answer_upgrade

__all__ = ["HEAD_TIMEOUT", "MAX_HEAD_BYTES", "LimitedHttp"]

# The original allows 16 KB of headers and an address of 12 KB (REST API reference, "Limits").
MAX_HEAD_BYTES: Final = 28 * 1024
HEAD_TIMEOUT: Final = 15.0  # seconds from the first byte, or from the connection, to the last

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class LimitedHttp(HttpToolsProtocol):
    """One HTTP connection. A head that is too slow or too large ends it, and it alone."""

    def __init__(self, node: Node, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.node = node
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is complete."""
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._holds_head_end(data):
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins; on a kept-alive connection it is not the first."""
        if self._head_timer is None:
            self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and nothing is waited for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the socket over, with the head as it has been parsed here."""
        self._stop_waiting()
        self.connections.discard(self)
        protocol = answer_upgrade(
            self.node, self.url.decode("latin-1"), self.headers, self.transport, self.connections
        )
        if protocol is not None:
            self.transport.set_protocol(protocol)
        # The parser holds this object: without that it is gone now, and not when cycles are sought.
        self.parser = None  # type: ignore[assignment]  # as uvicorn does itself at the end

    def _holds_head_end(self, data: bytes) -> bool:
        """Whether a body that came along is what made the piece so long."""
        end = data.find(b"\r\n\r\n")
        return end >= 0 and self._head_bytes - len(data) + end <= MAX_HEAD_BYTES

    def _wait_for_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
