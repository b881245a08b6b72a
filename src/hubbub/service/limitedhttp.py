"""HTTP/1.1 connections: one parser, limits that uvicorn leaves to a proxy, and three ways on.

A WebSocket upgrade goes to `upgrade`, what can be answered at once to `direct`, and the rest to
uvicorn's own protocol, which runs the ASGI app. A head is the request line and the headers. What
comes after it is limited where it is read.
"""

import asyncio
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
)
from uvicorn.server import ServerState

from hubbub.service.calls import Answer
from hubbub.service.deadlines import NEVER, Deadlines
from hubbub.service.direct import Direct, DirectHandler
from hubbub.service.httpanswer import encode_answer
from hubbub.service.node import Node
from hubbub.service.outstanding import Later
from hubbub.service.transports.upgrade import answer_upgrade

__all__ = ["LimitedHttp"]

# The original allows 16 KB of headers and an address of 12 KB (REST API reference, "Limits").
_MAX_HEAD_BYTES: Final = 28 * 1024
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_HEAD_END: Final = b"\r\n\r\n"
_INVALID: Final = "Invalid HTTP request received."


class LimitedHttp(asyncio.Protocol):
    """One HTTP connection. What is too slow or too large ends it, and it alone."""

    __slots__ = (
        "_app_state",
        "_body",
        "_config",
        "_deadlines",
        "_direct",
        "_handler",
        "_head_bytes",
        "_head_due",
        "_headers",
        "_is_awaiting_head",
        "_is_delegated",
        "_is_fresh",
        "_is_in_body",
        "_later",
        "_loop",
        "_node",
        "_parser",
        "_send_timer",
        "_state",
        "_transport",
        "_upgrade",
        "_url",
        "_uvicorn",
    )

    def __init__(
        self,
        node: Node,
        direct: Direct,
        deadlines: Deadlines,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._node = node
        self._direct = direct
        self._deadlines = deadlines
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._uvicorn: HttpToolsProtocol | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        # As uvicorn does: a request that follows the last one must not take its answer away.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._head_bytes = 0
        self._head_due = NEVER
        self._send_timer: asyncio.TimerHandle | None = None  # only while the client leaves data
        self._is_awaiting_head = False
        self._later: Later | None = None  # an answer that is known later
        self._is_in_body = False
        self._is_fresh = True  # no request has come
        # Of the request that is being read.
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._handler: DirectHandler | None = None
        self._body = b""
        self._is_delegated = False
        self._upgrade = b""

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        self._transport = transport  # type: ignore[assignment]
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._deadlines.add(self)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is complete; read the rest."""
        if self._later is not None and self._later.is_spoilt:
            return
        if self._uvicorn is not None:
            self._uvicorn._unset_keepalive_if_required()
        if not self._is_awaiting_head and self._is_idle:
            # Also for what is no request: an empty line, or a body whose request has been answered.
            self._await_head()
        # Such a body has its time like a head, but is let in: closing on a client that sends still
        # would take the answer from it.
        if self._is_awaiting_head and not self._is_in_body:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and not self._holds_head_end(data):
                self._transport.write(_TOO_LARGE)
                self._transport.close()
                return
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse()
            return
        if self._handler is not None:
            self._pass_on()  # the rest of its body has to be waited for

    def eof_received(self) -> None:
        """The client sends no more. Returning nothing closes the socket."""

    def pause_writing(self) -> None:
        """The client leaves its answer untaken: for a while, not for ever."""
        if self._send_timer is None:
            timeout = self._node.settings.send_timeout
            self._send_timer = self._loop.call_later(timeout, self._transport.abort)
        if self._uvicorn is not None:
            self._uvicorn.pause_writing()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._stop_send_timer()
        if self._uvicorn is not None:
            self._uvicorn.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._leave()
        if self._uvicorn is not None:
            self._uvicorn.connection_lost(exc)

    # What uvicorn's server and the deadlines call.

    def shutdown(self) -> None:
        """The server stops: end after the answer that is on its way."""
        if self._later is not None:
            self._later.is_last = True
        elif self._uvicorn is None:
            self._transport.close()
        else:
            self._uvicorn.shutdown()

    @property
    def is_expected(self) -> bool:
        """Whether the first request is still to come, the rest of one, or its answer."""
        is_begun = self._is_in_body or (self._is_awaiting_head and bool(self._url))
        return self._is_fresh or is_begun or self._later is not None

    def expire(self, now: float) -> None:
        """End what has taken too long."""
        if now >= self._head_due and not self._transport.is_closing():
            self._transport.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of the head; a pipelined request is not the first."""
        if not self._is_awaiting_head:
            self._await_head()
        self._url = b""
        self._headers = []
        self._is_delegated = False

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Stop waiting for the head, and choose the way on."""
        self._is_awaiting_head = False
        self._head_due = NEVER
        self._is_in_body = True
        self._is_fresh = False
        self._upgrade = b""
        parser = self._parser
        method = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            upgrades = [value for name, value in self._headers if name == b"upgrade"]
            self._upgrade = upgrades[-1].lower()
            return  # the parser ends here, see `_feed`
        if self._transport.is_closing() or (self._later is not None and self._later.is_last):
            return  # a request after the last one
        if self._is_free and parser.get_http_version() == "1.1":
            self._handler = self._direct.find(method, self._url, self._headers)
            self._body = b""
        if self._handler is None:
            self._pass_on()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._handler is not None:
            self._body = self._body + body if self._body else body
        elif self._is_delegated:
            self._delegate().on_body(body)

    def on_message_complete(self) -> None:
        """Answer, where that can be done at once.

        Wait for the next head where the request was answered before it was complete.
        """
        self._is_in_body = False
        if self._is_awaiting_head:
            self._await_head()
        handler = self._handler
        if handler is not None:
            self._handler = None
            self._answer(handler)
        elif self._is_delegated:
            self._delegate().on_message_complete()

    # The three ways on.

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
            else:
                return
            if self._upgrade == b"websocket":
                if self._later is None:
                    self._open_websocket(rest)
                else:  # no client does that
                    self._later.is_spoilt = True
                return
            if not self._upgrade:
                return  # CONNECT has been refused; what follows belongs to nobody
            # RFC 9110, 7.8: any other upgrade is ignored. Clients that would rather speak HTTP/2
            # ask so beside their request, but the parser leaves out the body of every upgrade.
            data = self._head_without_upgrade() + rest

    def _open_websocket(self, rest: bytes) -> None:
        """Hand the socket over, with the head as it has been parsed here."""
        parser = self._parser
        self._leave()
        transport = answer_upgrade(
            self._node,
            parser.get_method().decode("ascii"),
            self._url.decode("latin-1"),
            self._headers,
            self._transport,
            self._state.connections,
        )
        if transport is not None and rest:
            transport.data_received(rest)

    def _answer(self, handler: DirectHandler) -> None:
        """Write the answer of `handler`, or see to it that it is written when it is known."""
        answer: Answer | Later | Exception
        is_last = not self._parser.should_keep_alive()
        try:
            answer = handler(self._body)
        except Exception as error:  # the connection and its other requests must survive a defect
            answer = error
        self._body = b""
        if isinstance(answer, Later):
            self._later = answer
            answer.is_last, answer.then = is_last, self._answer_later
            return
        self._write(answer, is_last=is_last)
        self._head_due = self._loop.time() + self._config.timeout_keep_alive

    def _answer_later(self, later: Later, answer: Answer | Exception) -> None:
        """Write an answer that had to be waited for, and go on with what has come meanwhile."""
        self._later = None
        if self._transport.is_closing():
            return
        self._write(answer, is_last=later.is_last)
        if later.is_spoilt:
            self._refuse()
        elif self._uvicorn is not None and self._uvicorn.pipeline:
            self._uvicorn.on_response_complete()  # as for one of its own
        elif not self._is_awaiting_head and not self._is_in_body:
            self._head_due = self._loop.time() + self._config.timeout_keep_alive

    def _write(self, answer: Answer | Exception, *, is_last: bool) -> None:
        data, is_last = encode_answer(answer, self._state.default_headers, is_last=is_last)
        self._transport.write(data)
        if is_last:
            self._transport.close()

    def _refuse(self) -> None:
        """Answer what is no HTTP, in its turn, and end."""
        if self._later is not None:
            self._later.is_spoilt = True
            return
        protocol = self._delegate()
        protocol.logger.warning(_INVALID)
        protocol.send_400_response(_INVALID)

    def _pass_on(self) -> None:
        """Have uvicorn answer the request, as far as it has come."""
        protocol = self._delegate()
        self._handler = None
        self._is_delegated = True
        protocol.on_message_begin()
        protocol.on_url(self._url)
        for name, value in self._headers:
            protocol.on_header(name, value)
        if self._later is not None and (protocol.cycle is None or protocol.cycle.response_complete):
            protocol.cycle = self._later  # type: ignore[assignment]  # which its turn is after
        protocol.on_headers_complete()
        if self._body:
            protocol.on_body(self._body)
            self._body = b""

    def _delegate(self) -> HttpToolsProtocol:
        """uvicorn's protocol for this connection, made when it is first needed."""
        protocol = self._uvicorn
        if protocol is None:
            protocol = HttpToolsProtocol(self._config, self._state, self._app_state, self._loop)
            protocol.connection_made(self._transport)
            protocol.connections.discard(protocol)  # this object stands for it
            protocol.parser = self._parser
            if self._send_timer is not None:
                protocol.pause_writing()
            self._uvicorn = protocol
        return protocol

    # The rest is between these.

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered."""
        if self._later is not None:
            return False
        protocol = self._uvicorn
        return protocol is None or protocol.cycle is None or protocol.cycle.response_complete

    @property
    def _is_free(self) -> bool:
        """Whether an answer may be written now: none is due before it, and the client reads."""
        return self._send_timer is None and self._is_idle

    def _head_without_upgrade(self) -> bytes:
        parser = self._parser
        version = parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self._url, version)]
        lines += [name + b": " + value for name, value in self._headers if name != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))

    def _holds_head_end(self, data: bytes) -> bool:
        """Whether a body that came along is what made the piece so long."""
        end = data.find(_HEAD_END)
        return end >= 0 and self._head_bytes - len(data) + end <= _MAX_HEAD_BYTES

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._is_awaiting_head = True
        self._head_due = self._loop.time() + self._node.settings.head_timeout

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _leave(self) -> None:
        """This object has nothing more to do with the socket."""
        self._stop_send_timer()
        self._deadlines.discard(self)
        self._state.connections.discard(self)
        # The parser holds this object: without that it is gone now, and not when cycles are sought.
        self._parser = None
        if self._uvicorn is not None:
            self._uvicorn.parser = None  # type: ignore[assignment]  # as it does itself at the end
