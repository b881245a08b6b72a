"""Hub messages as MessagePack (HubProtocol.md, "MessagePack Encoding"), length prefix included."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from hubbub.errors import ProtocolError
from hubbub.protocol.framing import BinaryReader, varint
from hubbub.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)

__all__ = ["MessagePackCodec"]

_ERROR, _VOID, _RESULT = 1, 2, 3  # HubProtocol.md, "Completion Message Encoding"


class _Array(Struct, array_like=True, kw_only=True):
    """A record's items in the order of the wire; items after the known ones are ignored."""


class _Invocation(_Array, tag=1, kw_only=True):
    headers: dict[str, str] | None
    invocation_id: str | None
    target: str
    arguments: Raw
    stream_ids: tuple[str, ...] | None = ()  # the five-item form of old clients leaves it out

    def message(self) -> Message:
        return Invocation(
            target=self.target,
            arguments=_argument_list(self.arguments),
            invocation_id=self.invocation_id or None,
            headers=self.headers or {},
            stream_ids=self.stream_ids or (),
        )


class _StreamItem(_Array, tag=2, kw_only=True):
    headers: dict[str, str] | None
    invocation_id: str
    item: Raw

    def message(self) -> Message:
        return StreamItem(
            invocation_id=self.invocation_id, item=self.item.copy(), headers=self.headers or {}
        )


class _Completion(_Array, tag=3, kw_only=True):
    headers: dict[str, str] | None
    invocation_id: str
    kind: int
    payload: Raw | UnsetType = UNSET

    def message(self) -> Message:
        headers = self.headers or {}
        if self.kind == _VOID:
            return Completion(invocation_id=self.invocation_id, headers=headers)
        if isinstance(self.payload, UnsetType):
            raise ProtocolError(f"A completion of kind {self.kind} has five items, not four.")
        if self.kind == _RESULT:
            return Completion(
                invocation_id=self.invocation_id, result=self.payload.copy(), headers=headers
            )
        if self.kind == _ERROR:
            error = _error_text.decode(self.payload)
            return Completion(invocation_id=self.invocation_id, error=error, headers=headers)
        raise ProtocolError(f"A completion is of kind 1, 2 or 3, not {self.kind}.")


class _StreamInvocation(_Array, tag=4, kw_only=True):
    headers: dict[str, str] | None
    invocation_id: str
    target: str
    arguments: Raw
    stream_ids: tuple[str, ...] | None = ()

    def message(self) -> Message:
        return StreamInvocation(
            target=self.target,
            arguments=_argument_list(self.arguments),
            invocation_id=self.invocation_id,
            headers=self.headers or {},
            stream_ids=self.stream_ids or (),
        )


class _CancelInvocation(_Array, tag=5, kw_only=True):
    headers: dict[str, str] | None
    invocation_id: str

    def message(self) -> Message:
        return CancelInvocation(invocation_id=self.invocation_id, headers=self.headers or {})


class _Ping(_Array, tag=6, kw_only=True):
    def message(self) -> Message:
        return Ping()


class _Close(_Array, tag=7, kw_only=True):
    error: str | None
    allow_reconnect: bool = False

    def message(self) -> Message:
        return Close(error=self.error, allow_reconnect=self.allow_reconnect)


class _Ack(_Array, tag=8, kw_only=True):
    sequence_id: int

    def message(self) -> Message:
        return Ack(self.sequence_id)


class _Sequence(_Array, tag=9, kw_only=True):
    sequence_id: int

    def message(self) -> Message:
        return Sequence(self.sequence_id)


_AnyArray = (
    _Invocation
    | _StreamItem
    | _Completion
    | _StreamInvocation
    | _CancelInvocation
    | _Ping
    | _Close
    | _Ack
    | _Sequence
)
_KNOWN_TYPES: Final = range(1, 10)
_decoder: Final[msgspec.msgpack.Decoder[_AnyArray]] = msgspec.msgpack.Decoder(_AnyArray)
_head: Final = msgspec.msgpack.Decoder(list[Raw])
_type: Final = msgspec.msgpack.Decoder(int)
_error_text: Final = msgspec.msgpack.Decoder(str)
_encoder: Final = msgspec.msgpack.Encoder()
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class MessagePackCodec:
    """Length-prefixed MessagePack arrays. Satisfies `codec.Codec`."""

    name: Final = "messagepack"
    is_binary: Final = True
    ping: Final = b"\x02\x91\x06"

    def reader(self, limit: int) -> BinaryReader:
        """A reader for binary records of at most `limit` bytes."""
        return BinaryReader(limit)

    def encode(self, message: Message) -> bytes:
        """The record of `message` in the number of items that the reference server writes."""
        body = _encoder.encode(_items(message))
        return varint(len(body)) + body

    def decode(self, record: bytes) -> Message | None:
        """The message in `record`, `None` where its type is unknown; else `ProtocolError`."""
        try:
            return _decoder.decode(record).message()
        except msgspec.ValidationError as error:
            if _is_unknown_type(record):
                return None
            raise ProtocolError(f"Not a hub message: {error}") from None
        except _MALFORMED as error:
            raise ProtocolError(f"Not a hub message: {error}") from None

    def encode_value(self, value: Any) -> Raw:
        """The MessagePack of `value`. Raises `TypeError` or `OverflowError` where it has none."""
        return Raw(_encoder.encode(value))

    def decode_value(self, raw: Raw) -> Any:
        """The value of MessagePack bytes. Raises `ProtocolError` where they are not that."""
        try:
            return msgspec.msgpack.decode(raw)
        except _MALFORMED as error:
            raise ProtocolError(f"Not MessagePack: {error}") from None


def _items(message: Message) -> list[Any]:
    """The array of a message: its type, then what HubProtocol.md lists for it."""
    match message:
        case Invocation(target=target, arguments=arguments, invocation_id=id_):
            return [1, message.headers, id_, target, arguments, message.stream_ids]
        case StreamItem(invocation_id=id_, item=item):
            return [2, message.headers, id_, item]
        case Completion(invocation_id=id_, error=error, result=result):
            if error is not None:
                return [3, message.headers, id_, _ERROR, error]
            if result is UNSET:
                return [3, message.headers, id_, _VOID]
            return [3, message.headers, id_, _RESULT, result]
        case StreamInvocation(target=target, arguments=arguments, invocation_id=id_):
            return [4, message.headers, id_, target, arguments, message.stream_ids]
        case CancelInvocation(invocation_id=id_):
            return [5, message.headers, id_]
        case Ping():
            return [6]
        case Close(error=error, allow_reconnect=allow_reconnect):
            return [7, error, allow_reconnect]
        case Ack(sequence_id=sequence_id):
            return [8, sequence_id]
    return [9, message.sequence_id]


def _argument_list(raw: Raw) -> Raw:
    first = bytes(raw)[0]
    if not (0x90 <= first <= 0x9F or first in {0xDC, 0xDD}):  # fixarray, array 16, array 32
        raise ProtocolError("Expected 'arguments' to be of type Array.")
    return raw.copy()


def _is_unknown_type(record: bytes) -> bool:
    try:
        return _type.decode(_head.decode(record)[0]) not in _KNOWN_TYPES
    except (*_MALFORMED, IndexError):
        return False
