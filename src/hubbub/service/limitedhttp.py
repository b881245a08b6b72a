"""HTTP/1.1 by uvicorn, with limits that it leaves to a proxy: how long and how large a head may be,
and how long a client may leave an answer untaken.

A head is the request line and the headers. What comes after it is limited where it is read.
"""

import asyncio
import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hubbub.service.node import Node
from hubbub.service.transports.upgrade import answer_upgrade

__all__ = ["LimitedHttp"]

# The original allows 16 KB of headers and an address of 12 KB (REST API reference, "Limits").
_MAX_HEAD_BYTES: Final = 28 * 1024
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_HEAD_END: Final = b"\r\n\r\n"
# Clients that would rather speak HTTP/2 ask so beside their request, and take no for an answer
# (RFC 9113, 3.1). The parser would take the rest of the connection for HTTP/2.
_OTHER_UPGRADE: Final = re.compile(rb"^upgrade(?=:\s*h2c\b)", re.IGNORECASE | re.MULTILINE)


class LimitedHttp(HttpToolsProtocol):
    """One HTTP connection. What is too slow or too large ends it, and it alone."""

    def __init__(self, node: Node, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.node = node
        self._head_bytes = 0
        self._is_in_body = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is complete."""
        if self._head_timer is None and self._is_idle:
            # Also for what is no request: an empty line, or a body whose request has been answered.
            self._wait_for_head()
        # Such a body has its time like a head, but is let in: closing on a client that sends still
        # would take the answer from it.
        if self._head_timer is not None and not self._is_in_body:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and not self._holds_head_end(data):
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
            if b"h2c" in data:
                data = _without_other_upgrade(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of the head; a pipelined request is not the first."""
        if self._head_timer is None:
            self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop waiting for the head."""
        self._stop_head_timer()
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head where the request was answered before it was complete."""
        self._is_in_body = False
        if self._head_timer is not None:
            self._stop_head_timer()
            self._wait_for_head()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client leaves its answer untaken: for a while, not for ever."""
        super().pause_writing()
        if self._send_timer is None:
            timeout = self.node.settings.send_timeout
            self._send_timer = self.loop.call_later(timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._stop_send_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_head_timer()
        self._stop_send_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the socket over, with the head as it has been parsed here."""
        self._stop_head_timer()
        self.connections.discard(self)
        answer_upgrade(
            self.node,
            self.scope["method"],
            self.url.decode("latin-1"),
            self.headers,
            self.transport,
            self.connections,
        )
        # The parser holds this object: without that it is gone now, and not when cycles are sought.
        self.parser = None  # type: ignore[assignment]  # as uvicorn does itself at the end

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.cycle is None or self.cycle.response_complete

    def _holds_head_end(self, data: bytes) -> bool:
        """Whether a body that came along is what made the piece so long."""
        end = data.find(_HEAD_END)
        return end >= 0 and self._head_bytes - len(data) + end <= _MAX_HEAD_BYTES

    def _wait_for_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.node.settings.head_timeout, self._give_up)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def _without_other_upgrade(data: bytes) -> bytes:
    """`data` with a header that asks for HTTP/2 renamed, where it is in the head."""
    head, end, rest = data.partition(_HEAD_END)
    return _OTHER_UPGRADE.sub(b"x-upgrade", head) + end + rest
