"""WebSocket connections: `websockets`' sans-I/O core on a socket that `upgrade` hands over.

A connection costs no task and no queue: bytes come in by `data_received`, and frames that exist
already go straight to the socket's write buffer.
"""

import asyncio
import logging
import os
from typing import Any, Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.utils import apply_mask

from hubbub.protocol.codec import JSON, MESSAGEPACK, Codec
from hubbub.protocol.messages import Close
from hubbub.service.access import ClientAccess
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.wire import Wire

__all__ = ["WebSocketTransport", "frame_binary", "frame_text"]

# RFC 6455, 5.2: the last or only frame of a message, no extension; then mask bit, length and mask.
_WHOLE_MESSAGE: Final = frozenset((0x80 | Opcode.TEXT, 0x80 | Opcode.BINARY))
_MASKED: Final = 0x80
_SHORT_HEAD: Final = 6
_websockets_logger = logging.getLogger("websockets.server")


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


def websocket_wire(codec: Codec) -> Wire:
    """Text frames for JSON, binary frames for MessagePack."""
    return _WIRES[codec.name]


class WebSocketTransport(asyncio.Protocol):
    """One WebSocket. Satisfies `session.Transport`."""

    carries_binary = True
    has_keep_alive = False
    __slots__ = ("_connection", "_core", "_is_behind", "_node", "_peers", "_socket", "_timer")

    def __init__(self, node: Node, socket: asyncio.Transport, peers: set[Any]) -> None:
        """Take over `socket`; `peers` are what the server asks to end when it stops."""
        self._node = node
        self._socket = socket
        self._peers = peers
        self._core: Protocol | None = None  # only once there is something to it
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_behind = False
        peers.add(self)

    def accept(self, head: bytes) -> None:
        """Answer the upgrade request with `head`, once this object hears from the socket."""
        # With that nothing waits in the socket's buffer unless `pause_writing` has said so.
        self._socket.set_write_buffer_limits(0)
        self._socket.write(head)

    def open(self, access: ClientAccess) -> None:
        """Begin, after the upgrade request has been answered."""
        connection = self._connection = self._node.connect(access, self)
        if self._pending > self._node.settings.max_pending_bytes:
            connection.close_slow()  # what a client that came back had missed was too much
        elif not self._is_behind:
            self._write_at_once(connection)

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        """Take frames from the socket, cut anywhere."""
        if self._core is None:
            data = self._receive_short(data)
        if data:
            self._receive(data)
        inbox = self._connection.inbox if self._connection is not None else None
        if inbox is not None and inbox.is_full and not self._socket.is_closing():
            self._socket.pause_reading()
            inbox.when_room(self._resume_reading)

    def eof_received(self) -> None:
        """The client sends no more. Returning nothing closes the socket."""
        if self._core is not None:
            self._core.receive_eof()

    def pause_writing(self) -> None:
        """The socket is full: what is written is kept until the client takes it, up to a limit."""
        self._is_behind = True
        connection = self._connection
        if connection is None or not connection.is_live:
            return
        connection.write = self.write
        connection.descriptor = -1
        self._node.registry.refresh(connection)
        self._check_pending(connection)

    def resume_writing(self) -> None:
        """The client has taken all."""
        self._is_behind = False
        connection = self._connection
        if connection is not None and connection.is_live:
            self._write_at_once(connection)
            self._node.registry.refresh(connection)

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

    @property
    def pending(self) -> int:
        """Bytes in the socket's write buffer."""
        return self._socket.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send frames. While the client is not behind, the socket itself is written to."""
        self._socket.write(data)
        if self._is_behind and self._connection is not None:
            self._check_pending(self._connection)

    def close(self) -> None:
        """Send a close frame; cut the socket if the client does not answer it in time."""
        if self._socket.is_closing():
            return
        if self._ws.state is State.OPEN:
            self._ws.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
        self._cut_later()

    def abandon(self) -> None:
        """The client has come back on another socket; this one is of no use any more."""
        self._connection = None
        self.close()

    def cut(self) -> None:
        """End without a word: a client that is told nothing comes back to its connection."""
        self._connection = None
        self._socket.abort()

    def is_deserted(self, now: float) -> bool:
        """A socket tells of its end by itself."""
        return False

    def wire(self, codec: Codec) -> Wire:
        """Text frames for JSON, binary frames for MessagePack."""
        return _WIRES[codec.name]

    # The rest is between this class and its core.

    @property
    def _ws(self) -> Protocol:
        """The core, made when it is first needed: most connections never say a long message."""
        core = self._core
        if core is None:
            limit = self._node.settings.max_message_size
            core = self._core = Protocol(Side.SERVER, max_size=limit, logger=_websockets_logger)
        return core

    def _receive_short(self, data: bytes) -> bytes:
        """Take short messages that are whole, each in one frame, and return what is left.

        These need no core: there is nothing to keep between two of them.
        """
        position, end = 0, len(data)
        while position + _SHORT_HEAD <= end and data[position] in _WHOLE_MESSAGE:
            # A length over 125 says that a longer one follows; without the bit it has no mask.
            length = data[position + 1] - _MASKED
            start = position + _SHORT_HEAD
            if not 0 <= length < 126 or start + length > end or self._core is not None:
                break
            position = start + length
            if self._connection is not None:
                payload = apply_mask(data[start:position], data[start - 4 : start])
                self._connection.receive(payload)
        return data[position:] if position else data

    def _receive(self, data: bytes) -> None:
        ws = self._ws
        ws.receive_data(data)
        for frame in ws.events_received():
            assert isinstance(frame, Frame)  # requests are `upgrade`'s
            self._receive_frame(frame)
        if ws.parser_exc is not None and self._connection is not None:
            # The peer broke RFC 6455: the hub's Close message goes first, then the frame with 1002.
            self._connection.close(Close(error=f"WebSocket error: {ws.parser_exc}"))
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

    @property
    def _pending(self) -> int:
        """Bytes that the client has not taken yet and that no kernel has room for."""
        return self._socket.get_write_buffer_size()

    def _check_pending(self, connection: Connection) -> None:
        if self._pending > self._node.settings.max_pending_bytes:
            connection.close_slow()

    def _write_at_once(self, connection: Connection) -> None:
        connection.write = self._socket.write
        socket = self._socket.get_extra_info("socket")
        if socket is not None and os.name == "posix":  # elsewhere it is no file descriptor
            connection.descriptor = socket.fileno()

    def _resume_reading(self) -> None:
        """The app has caught up with this client."""
        if not self._socket.is_closing():
            self._socket.resume_reading()

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
