"""What a connection needs of the transport under it. It knows no connections."""

from typing import Protocol

from hubbub.protocol.codec import Codec
from hubbub.service.wire import Wire

__all__ = ["Transport"]


class Transport(Protocol):
    """What carries the bytes of one connection."""

    @property
    def carries_binary(self) -> bool:
        """Whether any byte may be sent, not text alone."""

    @property
    def has_keep_alive(self) -> bool:
        """Whether it notices by itself that its client is gone, so that pings are not needed."""

    @property
    def pending(self) -> int:
        """Bytes that are on their way to the client and that it has not taken."""

    def write(self, data: bytes) -> None:
        """Send bytes that are framed for a wire of this transport."""

    def close(self) -> None:
        """End the connection after what has been written."""

    def abandon(self) -> None:
        """Let go of the connection, which has moved to another transport, and end."""

    def cut(self) -> None:
        """End without a word, as a broken network would."""

    def is_deserted(self, now: float) -> bool:
        """Whether the client has stayed away for too long at `now` of the loop's clock."""

    def wire(self, codec: Codec) -> Wire:
        """How records of `codec` are framed here."""
