"""The two encodings of hub messages, as `Codec` values; the handshake, which is always JSON.

A codec frames what it encodes and decodes what a `RecordReader` has cut. It knows no connection.
"""

from typing import Any, Final, Protocol

import msgspec

from hubbub.errors import ProtocolError
from hubbub.protocol.framing import RecordReader
from hubbub.protocol.jsoncodec import JsonCodec
from hubbub.protocol.messages import HandshakeRequest, HandshakeResponse, Message
from hubbub.protocol.packcodec import MessagePackCodec

__all__ = [
    "CODECS",
    "JSON",
    "MESSAGEPACK",
    "Codec",
    "decode_handshake_request",
    "decode_handshake_response",
    "encode_handshake_request",
    "encode_handshake_response",
]

VERSIONS: Final = (1, 2)  # 2 is spoken where stateful reconnect was negotiated


class Codec(Protocol):
    """One encoding of hub messages."""

    @property
    def name(self) -> str:
        """The name that a handshake gives it."""

    @property
    def is_binary(self) -> bool:
        """Whether its records need a transport that carries any byte."""

    @property
    def ping(self) -> bytes:
        """The framed Ping."""

    def reader(self, limit: int) -> RecordReader:
        """A reader for this encoding's records of at most `limit` bytes."""

    def encode(self, message: Message) -> bytes:
        """The framed record of `message`."""

    def decode(self, record: bytes) -> Message | None:
        """The message in `record` without its framing, `None` where its type is unknown.

        Raises `ProtocolError` where the record is not what HubProtocol.md describes.
        """

    def encode_value(self, value: Any) -> msgspec.Raw:
        """The bytes of an argument list, a result or an item."""

    def decode_value(self, raw: msgspec.Raw) -> Any:
        """The value that `encode_value` made bytes of. Raises `ProtocolError` for other bytes."""


JSON: Final[Codec] = JsonCodec()
MESSAGEPACK: Final[Codec] = MessagePackCodec()
CODECS: Final = {codec.name: codec for codec in (JSON, MESSAGEPACK)}

_request = msgspec.json.Decoder(HandshakeRequest)
_response = msgspec.json.Decoder(HandshakeResponse)
_encoder = msgspec.json.Encoder()


def encode_handshake_request(request: HandshakeRequest) -> bytes:
    """The client's first bytes, framed."""
    return _encoder.encode(request) + b"\x1e"


def encode_handshake_response(response: HandshakeResponse) -> bytes:
    """The server's first bytes, framed: exactly `{}` where there is no error."""
    return _encoder.encode(response) + b"\x1e"


def decode_handshake_request(record: bytes) -> HandshakeRequest:
    """Read the client's first record. Raises `ProtocolError`; unknown members are skipped."""
    try:
        return _request.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"The first record is not a handshake request: {error}") from None


def decode_handshake_response(record: bytes) -> HandshakeResponse:
    """Read the server's first record. Raises `ProtocolError` where it is a hub message."""
    try:
        members = msgspec.json.decode(record, type=dict[str, Any])
        if "type" in members:
            raise ProtocolError("Expected a handshake response, got a hub message.")
        return _response.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"The first record is not a handshake response: {error}") from None
