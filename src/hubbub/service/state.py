"""Where a connection is in its life, and what it keeps while its handshake is not answered."""

from collections.abc import Iterator
from enum import Enum, auto

from hubbub.protocol.messages import HandshakeRequest, Message

__all__ = ["Held", "State"]


class State(Enum):
    """Where a connection is in its life."""

    HANDSHAKE = auto()
    OPEN = auto()
    DETACHED = auto()  # the transport was lost; stateful reconnect may bring another
    CLOSING = auto()  # nothing more is read; the transport sends what is on its way
    CLOSED = auto()


class Held:
    """What a client says before its handshake is answered: messages still to be read, and bytes."""

    __slots__ = ("messages", "pieces", "size")

    def __init__(self, messages: Iterator[HandshakeRequest | Message]) -> None:
        self.messages = messages
        self.pieces: list[bytes] = []
        self.size = 0
