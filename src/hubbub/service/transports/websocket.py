"""WebSocket connections: `websockets`' sans-I/O core, plugged into uvicorn as its `ws` class.

A connection costs no task and no queue: bytes come in by `data_received`, and frames that exist
already go straight to the socket's write buffer.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from hubbub.protocol.codec import JSON, MESSAGEPACK, Codec
from hubbub.protocol.messages import Close
from hubbub.service.access import ClientAccess, Refusal, admit_client
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.wire import Wire

__all__ = ["WebSocketTransport", "frame_binary", "frame_text"]

_logger = logging.getLogger("hubbub.service")
_websockets_logger = logging.getLogger("websockets.server")
_websockets_logger.setLevel(logging.WARNING)  # it would say "connection closed" for each

_NO_CACHE: Final = {
    "Cache-Control": "no-cache, no-store",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Pragma": "no-cache",
}
_DEFAULT_MODE: Final = (
    "This service runs in serverless mode and takes no server connections. "
    "Use the management SDK with ServiceTransportType Transient, or Azure Functions bindings."
)


def _header(opcode: Opcode, length: int) -> bytes:
    """The head of an unmasked, unfragmented frame (RFC 6455, 5.2)."""
    first = 0x80 | opcode
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return bytes((first, 126)) + length.to_bytes(2)
    return bytes((first, 127)) + length.to_bytes(8)


def frame_text(data: bytes) -> bytes:
    """`data`, which is UTF-8, as one text frame of a server."""
    return _header(Opcode.TEXT, len(data)) + data


def frame_binary(data: bytes) -> bytes:
    """`data` as one binary frame of a server."""
    return _header(Opcode.BINARY, len(data)) + data


_WIRES: Final = {
    JSON.name: Wire("websocket/json", JSON, frame_text),
    MESSAGEPACK.name: Wire("websocket/messagepack", MESSAGEPACK, frame_binary),
}


class WebSocketTransport(asyncio.Protocol):
    """One WebSocket. Satisfies `session.Transport`; made by uvicorn for each upgrade request."""

    carries_binary = True
    has_keep_alive = False
    __slots__ = ("_connection", "_node", "_peers", "_socket", "_timer", "_ws")

    def __init__(self, node: Node, server_state: Any) -> None:
        self._node = node
        self._peers: set[Any] = server_state.connections
        self._ws = ServerProtocol(
            max_size=node.settings.max_message_size, logger=_websockets_logger
        )
        self._socket: asyncio.Transport = cast(asyncio.Transport, None)
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None

    @staticmethod
    def factory(node: Node) -> Callable[..., asyncio.Protocol]:
        """What uvicorn's `ws` option takes: it calls it with settings that are not needed here."""

        def make(config: Any, server_state: Any, app_state: Any) -> asyncio.Protocol:
            return WebSocketTransport(node, server_state)

        return make

    # What uvicorn and the event loop call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the socket of an upgrade request."""
        self._socket = cast(asyncio.Transport, transport)
        limit = self._node.settings.max_pending_bytes
        self._socket.set_write_buffer_limits(high=limit, low=limit // 2)
        self._peers.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket: first the upgrade request, then frames."""
        ws = self._ws
        ws.receive_data(data)
        for event in ws.events_received():
            if isinstance(event, Frame):
                self._receive_frame(event)
            elif isinstance(event, Request):
                self._open(event)
        if ws.parser_exc is not None and self._connection is not None:
            # The peer broke RFC 6455: the hub's Close message goes first, then the frame with 1002.
            self._connection.close(Close(error=f"WebSocket error: {ws.parser_exc}"))
        self._flush()

    def eof_received(self) -> None:
        """The client sends no more. Returning nothing closes the socket."""
        self._ws.receive_eof()

    def pause_writing(self) -> None:
        """More is on its way to this client than is allowed."""
        if self._connection is not None:
            self._connection.close_slow()

    def resume_writing(self) -> None:
        """The rest has been taken after all; the connection is closing all the same."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._peers.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is not None:
            self._connection.detach(str(exc) if exc is not None else None)
            self._connection = None

    def shutdown(self) -> None:
        """The server stops: let the client connect elsewhere."""
        if self._connection is None:
            self._socket.close()
        else:
            self._connection.close(Close(allow_reconnect=True))

    # What the connection calls.

    def write(self, data: bytes) -> None:
        """Send frames. The hot path writes to the socket itself, see `Connection.write`."""
        self._socket.write(data)

    def close(self) -> None:
        """Send a close frame; cut the socket if the client does not answer it in time."""
        if self._ws.state is State.OPEN:
            self._ws.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
        self._cut_later()

    def abandon(self) -> None:
        """The client has come back on another socket; this one is of no use any more."""
        self._connection = None
        self.close()

    def is_deserted(self, now: float) -> bool:
        """A socket tells of its end by itself."""
        return False

    def wire(self, codec: Codec) -> Wire:
        """Text frames for JSON, binary frames for MessagePack."""
        return _WIRES[codec.name]

    # The rest is between this class and its core.

    def _open(self, request: Request) -> None:
        try:
            access = self._admit(request)
            self._node.check(access)
        except Refusal as refusal:
            self._reject(request, refusal)
            return
        response = self._ws.accept(request)
        is_accepted = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        if is_accepted:
            for name, value in _NO_CACHE.items():
                response.headers[name] = value
        self._ws.send_response(response)
        self._flush()
        if is_accepted:
            self._connection = self._node.connect(access, self)
            self._connection.write = self._socket.write

    def _admit(self, request: Request) -> ClientAccess:
        path, _, query = request.path.partition("?")
        if path.rstrip("/").lower() == "/server":
            raise Refusal(403, _DEFAULT_MODE)
        if path.rstrip("/").lower() != "/client":
            raise Refusal(404, "There is nothing here. Clients connect to /client/?hub=HUB.")
        authorizations = request.headers.get_all("Authorization")
        return admit_client(
            self._node.settings,
            query=query,
            authorization=authorizations[0] if authorizations else None,
            accepts_query_token=True,
        )

    def _reject(self, request: Request, refusal: Refusal) -> None:
        path = request.path.partition("?")[0]
        _logger.info(
            "refused WebSocket %s: %d %s %s", path, refusal.status, refusal, refusal.advice
        )
        response = self._ws.reject(refusal.status, f"{refusal}\n")
        for name, value in refusal.headers.items():
            response.headers[name] = value
        self._ws.send_response(response)
        self._flush()

    def _receive_frame(self, frame: Frame) -> None:
        connection = self._connection
        if connection is None:
            return
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            connection.receive(bytes(frame.data))
        elif frame.opcode is Opcode.CLOSE:
            received = self._ws.close_rcvd
            clean = received is None or received.code in {1000, 1001, 1005}
            connection.lost(None if clean else f"WebSocket closed with status {received}")

    def _flush(self) -> None:
        """Send what the core has to say; an empty piece is its word for the end."""
        for data in self._ws.data_to_send():
            if data:
                self._socket.write(data)
            else:
                self._socket.close()
                self._cut_later()

    def _cut_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._node.settings.close_timeout, self._socket.abort)
