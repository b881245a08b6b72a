"""The messages of the SignalR hub protocol as values. How they look as bytes is `codec`'s affair.

Arguments, results and stream items stay the undecoded bytes of one encoding (`msgspec.Raw`): who
passes them on pays nothing for them. A codec's `decode_value` and `encode_value` open and make
them.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType

__all__ = [
    "Ack",
    "CancelInvocation",
    "Close",
    "Completion",
    "HandshakeRequest",
    "HandshakeResponse",
    "Invocation",
    "Message",
    "Ping",
    "Sequence",
    "StreamInvocation",
    "StreamItem",
    "is_tracked",
]

_NO_HEADERS: Final[Mapping[str, str]] = {}


class HandshakeRequest(Struct, frozen=True):
    """The client's first record, always JSON: which hub protocol it speaks from here on."""

    protocol: str
    version: int


class HandshakeResponse(Struct, frozen=True, omit_defaults=True):
    """The server's first record, always JSON: `error` is `None` where the handshake succeeded."""

    error: str | None = None


class Invocation(Struct, frozen=True, kw_only=True):
    """A call of `target`. Without an `invocation_id` the caller expects no completion."""

    target: str
    arguments: Raw
    invocation_id: str | None = None
    headers: Mapping[str, str] = _NO_HEADERS
    stream_ids: tuple[str, ...] = ()


class StreamInvocation(Struct, frozen=True, kw_only=True):
    """A call of `target` that is answered item by item, then completed."""

    target: str
    arguments: Raw
    invocation_id: str
    headers: Mapping[str, str] = _NO_HEADERS
    stream_ids: tuple[str, ...] = ()


class StreamItem(Struct, frozen=True, kw_only=True):
    """One item of a stream, named by the id of the invocation that it belongs to."""

    invocation_id: str
    item: Raw
    headers: Mapping[str, str] = _NO_HEADERS


class Completion(Struct, frozen=True, kw_only=True):
    """The end of an invocation: a result, an error, or neither for a void method."""

    invocation_id: str
    result: Raw | UnsetType = UNSET  # the bytes of null are a result; UNSET is no result
    error: str | None = None
    headers: Mapping[str, str] = _NO_HEADERS

    def __post_init__(self) -> None:
        if self.error is not None and self.result is not UNSET:
            raise ValueError("a completion carries a result or an error, not both")


class CancelInvocation(Struct, frozen=True, kw_only=True):
    """The caller no longer wants the stream of this invocation."""

    invocation_id: str
    headers: Mapping[str, str] = _NO_HEADERS


class Ping(Struct, frozen=True):
    """A sign of life. It is never answered."""


class Close(Struct, frozen=True, kw_only=True):
    """The last message of a connection; says why, and whether connecting again makes sense."""

    error: str | None = None
    allow_reconnect: bool = False


class Ack(Struct, frozen=True):
    """Stateful reconnect: all messages up to `sequence_id` have arrived."""

    sequence_id: int


class Sequence(Struct, frozen=True):
    """Stateful reconnect: the next tracked message that is sent has this `sequence_id`."""

    sequence_id: int


Message = (
    Invocation
    | StreamItem
    | Completion
    | StreamInvocation
    | CancelInvocation
    | Ping
    | Close
    | Ack
    | Sequence
)


def is_tracked(message: Message) -> bool:
    """Whether stateful reconnect counts `message`: types 1 to 5 (HubProtocol.md, "Ack")."""
    return not isinstance(message, (Ping, Close, Ack, Sequence))
