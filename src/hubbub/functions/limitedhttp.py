"""uvicorn's HTTP/1.1 connection, with the limits that it leaves to a proxy in front of it.

They are about what a client sends or leaves unread, and how slowly. What a request says is not
looked at. The numbers are those of the original's web server, where it has any.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from hubbub.functions.joinedwrite import EXTENSION, JoinedWrite

__all__ = ["LimitedHttp"]

_MAX_UNREAD: Final = 64 * 1024  # bytes of a head, or between two pieces of a body; see `request`
_PATIENCE: Final = 15.0  # seconds for a whole head, and from one look at a body to the next
_SLOWEST: Final = 240  # bytes of a body in a second
_UNTAKEN: Final = 60.0  # seconds that a client may leave an answer in the buffers
_BUSY: Final = float("inf")
_INVALID: Final = "Invalid HTTP request received."
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class LimitedHttp(HttpToolsProtocol):
    """One HTTP connection. What is too slow or too large ends it, and it alone."""

    patience = _PATIENCE  # seconds

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._unread = 0  # bytes since a head or a piece of a body was complete
        self._is_whole = False  # the request that came last
        self._is_in_body = False
        self._body_bytes = 0  # since the last look
        self._read_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_until = _BUSY  # by the loop's clock

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._joined_write = JoinedWrite(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self._stop_send_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read it, and count what is not complete yet: also trailers and other bytes of framing."""
        self._idle_until = _BUSY
        self._unread += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning(_INVALID)
            self.send_400_response(_INVALID)
            return
        if self._unread > _MAX_UNREAD:
            if self._is_idle:
                self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._is_whole and not self._is_idle:
            self._stop_waiting()  # the client waits by now
        else:
            self._wait()

    def pause_writing(self) -> None:
        """The client leaves its answer untaken: for a while, not for ever."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(_UNTAKEN, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._stop_send_timer()
        super().resume_writing()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_whole = False
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self._joined_write}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        """Have the request answered, unless its head has to be read again; see `_feed`."""
        self._unread = 0
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return
        self._is_in_body = True
        super().on_headers_complete()
        self.cycle.transport = self._joined_write  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._unread = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete, unless it was only a head that has to be read again."""
        if not self._is_in_body:
            return
        self._unread = 0
        self._is_whole = True
        self._is_in_body = False
        super().on_message_complete()

    # What a request that has been answered calls.

    def on_response_complete(self) -> None:
        """Go on with the next request; where there is none, wait for it only so long.

        uvicorn makes a timer for each answer, which costs more than the route of a request. Here
        one that runs is left to run, and finds out whether it is meant.
        """
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._idle_until = self.loop.time() + self.timeout_keep_alive
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_at(self._idle_until, self._look_whether_idle)

    # The rest is between these.

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
            else:
                return
            if self.parser.get_method() == b"CONNECT":
                return  # what follows belongs to nobody
            # RFC 9110, 7.8: an upgrade may be ignored. Clients that would rather speak HTTP/2 ask
            # so beside their request, but the parser leaves out the body of every upgrade.
            data = self._head_without_upgrade() + rest

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))

    def _wait(self) -> None:
        if self._read_timer is None:
            self._body_bytes = 0
            self._read_timer = self.loop.call_later(self.patience, self._look)

    def _stop_waiting(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _look_whether_idle(self) -> None:
        self._idle_timer = None
        if self._idle_until == _BUSY:
            return
        if self.loop.time() < self._idle_until:
            self._idle_timer = self.loop.call_at(self._idle_until, self._look_whether_idle)
        else:
            self.timeout_keep_alive_handler()

    def _look(self) -> None:
        """End what has taken too long; a body that the app does not take is not late."""
        self._read_timer = None
        is_late = self._body_bytes < _SLOWEST * self.patience and not self.flow.read_paused
        if not self._is_in_body or is_late:
            self.transport.close()
        else:
            self._wait()
