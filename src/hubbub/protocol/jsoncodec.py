"""Hub messages as JSON (HubProtocol.md, "JSON Encoding"). It never opens arguments or results."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from hubbub.errors import ProtocolError
from hubbub.protocol.framing import TextReader
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

__all__ = ["JsonCodec", "json_invocation"]

_SEPARATOR: Final = b"\x1e"


class _Record(Struct, rename="camel", tag_field="type", omit_defaults=True, kw_only=True):
    """What all records have. A member that is absent is not written."""

    headers: dict[str, str] | None = None


class _Invocation(_Record, tag=1, kw_only=True):
    invocation_id: str | None = None
    target: str
    arguments: Raw
    stream_ids: tuple[str, ...] | None = None

    def message(self) -> Message:
        return Invocation(
            target=self.target,
            arguments=_argument_list(self.arguments),
            # An empty id is no id, as in the reference server.
            invocation_id=self.invocation_id or None,
            headers=self.headers or {},
            stream_ids=self.stream_ids or (),
        )


class _StreamItem(_Record, tag=2, kw_only=True):
    invocation_id: str
    item: Raw

    def message(self) -> Message:
        return StreamItem(
            invocation_id=self.invocation_id, item=_own(self.item), headers=self.headers or {}
        )


class _Completion(_Record, tag=3, kw_only=True):
    invocation_id: str
    result: Raw | UnsetType = UNSET
    error: str | None = None

    def message(self) -> Message:
        if self.error is not None and self.result is not UNSET:
            raise ProtocolError("The 'error' and 'result' properties are mutually exclusive.")
        return Completion(
            invocation_id=self.invocation_id,
            result=self.result if isinstance(self.result, UnsetType) else _own(self.result),
            error=self.error,
            headers=self.headers or {},
        )


class _StreamInvocation(_Record, tag=4, kw_only=True):
    invocation_id: str
    target: str
    arguments: Raw
    stream_ids: tuple[str, ...] | None = None

    def message(self) -> Message:
        return StreamInvocation(
            target=self.target,
            arguments=_argument_list(self.arguments),
            invocation_id=self.invocation_id,
            headers=self.headers or {},
            stream_ids=self.stream_ids or (),
        )


class _CancelInvocation(_Record, tag=5, kw_only=True):
    invocation_id: str

    def message(self) -> Message:
        return CancelInvocation(invocation_id=self.invocation_id, headers=self.headers or {})


class _Ping(_Record, tag=6, kw_only=True):
    def message(self) -> Message:
        return Ping()


class _Close(_Record, tag=7, kw_only=True):
    error: str | None = None
    allow_reconnect: bool = False

    def message(self) -> Message:
        return Close(error=self.error, allow_reconnect=self.allow_reconnect)


class _Ack(_Record, tag=8, kw_only=True):
    sequence_id: int

    def message(self) -> Message:
        return Ack(self.sequence_id)


class _Sequence(_Record, tag=9, kw_only=True):
    sequence_id: int

    def message(self) -> Message:
        return Sequence(self.sequence_id)


class _Head(Struct):
    """Enough of a record to tell an unknown type from a broken record."""

    type: int


_AnyRecord = (
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
_decoder: Final[msgspec.json.Decoder[_AnyRecord]] = msgspec.json.Decoder(_AnyRecord)
_head: Final = msgspec.json.Decoder(_Head)
_encoder: Final = msgspec.json.Encoder()
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class JsonCodec:
    """JSON text records. Satisfies `codec.Codec`."""

    name: Final = "json"
    is_binary: Final = False
    ping: Final = b'{"type":6}\x1e'

    def reader(self, limit: int) -> TextReader:
        """A reader for text records of at most `limit` bytes."""
        return TextReader(limit)

    def encode(self, message: Message) -> bytes:
        """The record of `message`, members in the reference server's order, 0x1e at its end."""
        return _encoder.encode(_record(message)) + _SEPARATOR

    def decode(self, record: bytes) -> Message | None:
        """The message in `record`, `None` where its type is unknown; else `ProtocolError`."""
        try:
            # The decoder does not check UTF-8 in what it skips, and that travels on as it is.
            if not record.isascii():
                record.decode()
            return _decoder.decode(record).message()
        except msgspec.ValidationError as error:
            if _is_unknown_type(record):
                return None
            raise ProtocolError(f"Not a hub message: {error}") from None
        except _MALFORMED as error:
            raise ProtocolError(f"Not a hub message: {error}") from None

    def encode_value(self, value: Any) -> Raw:
        """The JSON of `value`. Raises `TypeError` or `ValueError` where it has none."""
        return Raw(_encoder.encode(value))

    def decode_value(self, raw: Raw) -> Any:
        """The value of JSON bytes. Raises `ProtocolError` where they are not JSON."""
        try:
            return msgspec.json.decode(raw)
        except _MALFORMED as error:
            raise ProtocolError(f"Not JSON: {error}") from None


def json_invocation(target: str, arguments: Raw | bytes) -> bytes:
    """The framed record of an invocation without id, spliced from bytes that are JSON already."""
    return b'{"type":1,"target":%b,"arguments":%b}\x1e' % (
        _encoder.encode(target),
        bytes(arguments),
    )


def _record(message: Message) -> _Record:
    """The record of a message: the same members under their names on the wire."""
    match message:
        case Invocation() | StreamInvocation():
            kind = _Invocation if isinstance(message, Invocation) else _StreamInvocation
            return kind(
                headers=dict(message.headers) or None,
                invocation_id=message.invocation_id,  # type: ignore[arg-type]
                target=message.target,
                arguments=message.arguments,
                stream_ids=message.stream_ids or None,
            )
        case StreamItem():
            return _StreamItem(
                headers=dict(message.headers) or None,
                invocation_id=message.invocation_id,
                item=message.item,
            )
        case Completion():
            return _Completion(
                headers=dict(message.headers) or None,
                invocation_id=message.invocation_id,
                result=message.result,
                error=message.error,
            )
        case CancelInvocation():
            return _CancelInvocation(
                headers=dict(message.headers) or None, invocation_id=message.invocation_id
            )
        case Ping():
            return _Ping()
        case Close():
            return _Close(error=message.error, allow_reconnect=message.allow_reconnect)
        case Ack():
            return _Ack(sequence_id=message.sequence_id)
    return _Sequence(sequence_id=message.sequence_id)


def _argument_list(raw: Raw) -> Raw:
    if bytes(raw)[:1] != b"[":
        raise ProtocolError("Expected 'arguments' to be of type Array.")
    return _own(raw)


def _own(raw: Raw) -> Raw:
    """The bytes alone, so that they do not keep the whole record they stood in alive."""
    return raw.copy()


def _is_unknown_type(record: bytes) -> bool:
    try:
        return _head.decode(record).type not in _KNOWN_TYPES
    except _MALFORMED:  # nested too deep after the type, say
        return False
