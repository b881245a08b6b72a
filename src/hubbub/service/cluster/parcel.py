"""What nodes send each other, as values and as bytes: a version, then MessagePack.

Fields are only ever added at the end and with a default, so that nodes of two releases understand
each other while one replaces the other.
"""

from enum import IntEnum
from typing import Final

import msgspec
from msgspec import Struct

from hubbub.errors import ProtocolError

__all__ = [
    "Drain",
    "Forwarded",
    "Kind",
    "Leave",
    "Marker",
    "Parcel",
    "Reply",
    "Visit",
    "decode_parcel",
    "encode_parcel",
]

_VERSION: Final = b"\x01"


class Forwarded(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A call of the REST API that others are to do as well, or instead.

    `request` is `None` where nobody waits for an answer.
    """

    sender: str
    request: int | None
    operation: str
    hub: str
    names: dict[str, str]
    query: bytes
    content_type: str
    body: bytes
    number: int = 0  # the sender counts what it publishes


class Reply(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """An answer to `request`.

    Where it is not here, a `status` tells that it should not be looked for or made elsewhere.
    `is_last` is false where the sender has begun, and will answer when it has finished.
    """

    sender: str
    request: int
    is_here: bool
    is_last: bool = True
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class Kind(IntEnum):
    """What a client wants of its connection."""

    SOCKET = 1  # to open it, or to go on with it, by a WebSocket
    EVENTS = 2  # to open it by an event stream
    OPEN = 3  # to open it by a poll
    POLL = 4  # what there is to say
    POST = 5  # to say something
    END = 6


class Visit(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A client has come to the sender with a connection that is not there."""

    sender: str
    request: int
    connection_id: str
    hub: str
    user_id: str | None
    kind: Kind
    body: bytes = b""


class Leave(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The client whose poll was `request` of the sender waits no more."""

    sender: str
    request: int


class Drain(Struct, frozen=True, array_like=True, tag=5, gc=False):
    """An operator wants the clients of who receives this to connect elsewhere."""

    sender: str = ""
    request: None = None


class Marker(Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The sender hears this channel, and wants the connection when it has been said on all."""

    sender: str
    request: int
    connection_id: str
    offer: int


Parcel = Forwarded | Reply | Visit | Leave | Drain | Marker
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Parcel]] = msgspec.msgpack.Decoder(Parcel)


def encode_parcel(parcel: Parcel) -> bytes:
    """The bytes that are published."""
    return _VERSION + _encoder.encode(parcel)


def decode_parcel(data: bytes) -> Parcel:
    """What somebody has published. Raises `ProtocolError` for what this release does not know."""
    if data[:1] != _VERSION:
        raise ProtocolError(f"another node speaks version {data[:1].hex()}, expected 01")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"another node sent what this release does not know: {error}") from None
