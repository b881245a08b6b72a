"""What the body of a send holds, in each of its three forms. Arguments stay undecoded bytes.

It checks a body as far as clients rely on it: what is passed on is a whole, sound record.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw, Struct

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import CODECS, JSON, MESSAGEPACK, Codec
from hubbub.protocol.jsoncodec import json_invocation
from hubbub.protocol.messages import Invocation, Message
from hubbub.service.calls import RestError
from hubbub.service.wire import EncodedMessage, Sendable, Wire, transcode

__all__ = ["CONTENT_TYPES", "LazyMessage", "Payload", "decode_payload"]

CONTENT_TYPES: Final = ("application/json", "application/octet-stream", "application/x-msgpack")
_NO_ARGUMENTS: Final = b"[]"
_MALFORMED: Final = (
    msgspec.MsgspecError,
    UnicodeDecodeError,
    RecursionError,
    ValueError,
    TypeError,
)
_REQUIRED: Final = "Message in request body is required."
_TARGET_REQUIRED: Final = "The Target field is required."
_JSON_FORM: Final = 'The body is {"target": "name", "arguments": [...]}: '
_RECORDS_FORM: Final = "The body is a MessagePack map of encodings to framed records: "
_PACK_FORM: Final = "The body is a MessagePack map of target and arguments: "


class Payload(Protocol):
    """An invocation that came as a body: to be sent, or to be invoked for its result."""

    def message(self) -> Sendable:
        """What every client of an audience is sent."""

    def invocation(self, codec: Codec, invocation_id: str) -> Message:
        """The invocation for one client, whose answer is waited for.

        Raises `ProtocolError` where it cannot be said in that encoding.
        """


class LazyMessage:
    """A message that is made for an encoding when a wire first asks. Satisfies `Sendable`."""

    count = 1
    __slots__ = ("_framed", "_make")

    def __init__(self, make: Callable[[Codec], Message]) -> None:
        self._make = make
        self._framed: dict[Wire, bytes] = {}

    def framed(self, wire: Wire) -> bytes:
        """The bytes to write on a transport of `wire`."""
        data = self._framed.get(wire)
        if data is None:
            data = wire.frame(wire.codec.encode(self._make(wire.codec)))
            self._framed[wire] = data
        return data


class _JsonPayload(Struct, frozen=True):
    """Satisfies `Payload` with a target and the JSON of its arguments."""

    target: str
    arguments: bytes

    def message(self) -> Sendable:
        return EncodedMessage(self.target, self.arguments)

    def invocation(self, codec: Codec, invocation_id: str) -> Message:
        arguments = transcode(self.arguments, codec)
        return Invocation(target=self.target, arguments=arguments, invocation_id=invocation_id)


class _RecordPayload(Struct, frozen=True):
    """Satisfies `Payload` with a ready record for each encoding."""

    records: Mapping[str, bytes]
    invocations: Mapping[str, Invocation]

    def message(self) -> Sendable:
        return EncodedMessage(records=self.records)

    def invocation(self, codec: Codec, invocation_id: str) -> Message:
        invocation = self.invocations.get(codec.name)
        if invocation is None:
            raise ProtocolError(f"The body has no record for {codec.name}, which the client uses.")
        return msgspec.structs.replace(invocation, invocation_id=invocation_id)


class _JsonBody(Struct):
    """The JSON body of a send, member names in lower case."""

    target: str
    arguments: Raw = Raw(b"null")


class _PascalBody(Struct, rename="pascal"):
    """The same as the Azure SDKs write it."""

    target: str
    arguments: Raw


_pascal: Final = msgspec.json.Decoder(_PascalBody)
_members: Final = msgspec.json.Decoder(dict[str, Raw])
_lower: Final = msgspec.json.Decoder(_JsonBody)
_records: Final = msgspec.msgpack.Decoder(dict[str, bytes])
_pack_members: Final = msgspec.msgpack.Decoder(dict[str, Raw])
_pack_items: Final = msgspec.msgpack.Decoder(list[Raw])
_pack_text: Final = msgspec.msgpack.Decoder(str)


def decode_payload(body: bytes, content_type: str) -> Payload:
    """Read the body of a send. Raises `RestError` that names the field at fault.

    No content type is JSON, as clients written by hand leave it out.
    """
    if content_type in {"application/json", ""}:
        return decode_invocation(body)
    decode = _BINARY_FORMS.get(content_type)
    if decode is None:
        raise RestError(
            415,
            f"The content type is {', '.join(CONTENT_TYPES)}, not {content_type}.",
            target="Content-Type",
        )
    if not body:
        raise RestError(400, _REQUIRED, target="body")
    return decode(body)


def decode_invocation(body: bytes) -> Payload:
    """Read `{"target": …, "arguments": […]}`; names are compared ignoring case."""
    if not body:
        raise RestError(400, _REQUIRED, target="body")
    try:
        if not body.isascii():
            body.decode()  # what is passed on undecoded must be UTF-8 all the same
        content = _read_json(body)
    except _MALFORMED as error:
        raise _bad(_JSON_FORM, error) from None
    return _JsonPayload(_checked(content.target), _argument_list(bytes(content.arguments)))


def _read_json(body: bytes) -> _JsonBody | _PascalBody:
    """Read names as the SDKs write them; where one is missing, compare them ignoring case."""
    try:
        return _pascal.decode(body)
    except msgspec.ValidationError:
        members: dict[str, Raw] = {}
        for name, value in _members.decode(body).items():
            if name.lower() in members:
                raise ValueError(f"{name} is there twice") from None
            members[name.lower()] = value
        return _lower.decode(msgspec.json.encode(members))


def _decode_records(body: bytes) -> Payload:
    """Read what SDKs send where MessagePack is enabled: a ready record for each encoding."""
    try:
        found = _records.decode(body)
    except _MALFORMED as error:
        raise _bad(_RECORDS_FORM, error) from None
    records = {name.lower(): record for name, record in found.items() if name.lower() in CODECS}
    if not records:
        raise RestError(400, f"{_RECORDS_FORM}it has none of {', '.join(CODECS)}.", target="body")
    invocations = {name: _invocation(CODECS[name], record) for name, record in records.items()}
    return _RecordPayload(records, invocations)


def _invocation(codec: Codec, data: bytes) -> Invocation:
    """The one invocation that `data` is: a client that gets less, or more, closes."""
    reader = codec.reader(len(data))
    try:
        framed = reader.feed(data)
        if len(framed) != 1 or reader.rest():
            raise ProtocolError("it is not exactly one framed record")
        message = codec.decode(framed[0])
    except ProtocolError as error:
        raise RestError(400, f"{_RECORDS_FORM}{codec.name}: {error}", target=codec.name) from None
    if not isinstance(message, Invocation) or message.invocation_id is not None:
        raise RestError(
            400, f"{_RECORDS_FORM}{codec.name} is no invocation without id.", target=codec.name
        )
    _checked(message.target)
    return message


def _decode_pack(body: bytes) -> Payload:
    """Read target and arguments as a MessagePack map or array of two."""
    try:
        target, arguments = _pack_parts(body)
        values = msgspec.msgpack.decode(arguments)
    except _MALFORMED as error:
        raise _bad(_PACK_FORM, error) from None
    if values is None:
        values = []
    if not isinstance(values, list):
        raise RestError(400, "The arguments are an array, or null.", target="arguments")
    try:
        json = msgspec.json.encode(values)
    except (*_MALFORMED, OverflowError) as error:
        raise RestError(
            400, f"The arguments cannot be said in JSON: {error}", target="arguments"
        ) from None
    invocation = Invocation(target=_checked(target), arguments=Raw(msgspec.msgpack.encode(values)))
    json_form = Invocation(target=target, arguments=Raw(json))
    records = {
        JSON.name: json_invocation(target, json),
        MESSAGEPACK.name: MESSAGEPACK.encode(invocation),
    }
    return _RecordPayload(records, {JSON.name: json_form, MESSAGEPACK.name: invocation})


def _pack_parts(body: bytes) -> tuple[str, Raw]:
    try:
        members = {name.lower(): value for name, value in _pack_members.decode(body).items()}
    except msgspec.ValidationError:
        items = _pack_items.decode(body)
        if len(items) != 2:
            raise ValueError("an array has exactly two items") from None
        target, arguments = items
    else:
        if "target" not in members:
            raise ValueError("target is missing")
        target, arguments = members["target"], members.get("arguments", Raw(b"\xc0"))
    return _pack_text.decode(target), arguments


_BINARY_FORMS: Final[Mapping[str, Callable[[bytes], Payload]]] = {
    "application/octet-stream": _decode_records,
    "application/x-msgpack": _decode_pack,
}


def _checked(target: str) -> str:
    if not target:
        raise RestError(400, _TARGET_REQUIRED, target="target")
    return target


def _argument_list(arguments: bytes) -> bytes:
    if arguments == b"null":
        return _NO_ARGUMENTS
    if arguments[:1] != b"[":
        raise RestError(400, "The arguments are an array, or null.", target="arguments")
    return arguments


def _bad(form: str, error: Any) -> RestError:
    complaint = str(error)
    for field in ("target", "arguments"):
        if field in complaint.lower():
            return RestError(400, f"{form}{complaint}", target=field)
    return RestError(400, f"{form}{complaint}", target="body")
