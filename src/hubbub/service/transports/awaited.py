"""The transport of a connection whose client is on its way to this node: it carries nothing."""

from hubbub.protocol.codec import Codec
from hubbub.service.transports.websocket import websocket_wire
from hubbub.service.wire import Wire

__all__ = ["AwaitedTransport"]


class AwaitedTransport:
    """Stands for the WebSocket that is to come. Satisfies `Transport`."""

    carries_binary = True
    has_keep_alive = False
    pending = 0

    def write(self, data: bytes) -> None:
        """Nothing: what is kept for the client is kept by its connection."""

    def close(self) -> None:
        """There is nothing to close."""

    def abandon(self) -> None:
        """There is nothing to let go of."""

    def cut(self) -> None:
        """There is nothing to cut."""

    def is_deserted(self, now: float) -> bool:
        """The connection itself gives up on its client in time."""
        return False

    def wire(self, codec: Codec) -> Wire:
        """That of the WebSocket that is to come."""
        return websocket_wire(codec)
