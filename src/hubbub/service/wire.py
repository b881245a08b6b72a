"""What goes out, as bytes: encoded once for each encoding, framed once for each wire."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec import Raw

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import JSON, Codec
from hubbub.protocol.jsoncodec import json_invocation
from hubbub.protocol.messages import Invocation, Message

__all__ = ["EncodedMessage", "Sendable", "Wire", "transcode"]


class Wire:
    """One encoding on one kind of transport: how its records become the transport's bytes."""

    __slots__ = ("codec", "frame", "name", "ping")

    def __init__(self, name: str, codec: Codec, frame: Callable[[bytes], bytes]) -> None:
        self.name = name
        self.codec = codec
        self.frame = frame
        self.ping = frame(codec.ping)

    def __repr__(self) -> str:
        return f"Wire({self.name})"


class Sendable(Protocol):
    """A message that can be had as the bytes of any wire."""

    @property
    def count(self) -> int:
        """How many messages it is; more than one only where an app answered with several."""

    def framed(self, wire: Wire) -> bytes:
        """The bytes to write on a transport of `wire`.

        Raises `ProtocolError` where the message cannot be said in that wire's encoding.
        """


class EncodedMessage:
    """A message that is encoded and framed when a wire first asks for it. Satisfies `Sendable`."""

    __slots__ = ("_arguments", "_framed", "_records", "_target", "count")

    def __init__(
        self,
        target: str = "",
        arguments: bytes = b"[]",
        records: Mapping[str, bytes] | None = None,
        count: int = 1,
    ) -> None:
        """An invocation of `target` with `arguments` as JSON, or ready `records` by encoding."""
        self.count = count
        self._target = target
        self._arguments = arguments
        self._records = dict(records) if records is not None else None
        self._framed: dict[Wire, bytes] = {}

    @classmethod
    def of(cls, message: Message, codec: Codec) -> "EncodedMessage":
        """`message` for connections that speak `codec` only."""
        return cls(records={codec.name: codec.encode(message)})

    def __repr__(self) -> str:
        return f"EncodedMessage({self._target!r})"

    def framed(self, wire: Wire) -> bytes:
        """The bytes to write on a transport of `wire`."""
        data = self._framed.get(wire)
        if data is None:
            data = self._framed[wire] = wire.frame(self._record(wire.codec))
        return data

    def _record(self, codec: Codec) -> bytes:
        if self._records is not None:
            try:
                return self._records[codec.name]
            except KeyError:
                raise ProtocolError(f"The message was not sent for {codec.name} clients.") from None
        try:
            if codec is JSON:
                return json_invocation(self._target, self._arguments)
            # Only here are arguments opened: JSON came in and another encoding goes out.
            return codec.encode(
                Invocation(target=self._target, arguments=transcode(self._arguments, codec))
            )
        except UnicodeEncodeError as error:
            raise ProtocolError(f"The target is no text: {error}") from None


def transcode(json: bytes, codec: Codec) -> Raw:
    """JSON bytes as a value of `codec`. Raises `ProtocolError` where it cannot be said there."""
    if codec is JSON:
        return Raw(json)
    try:
        return codec.encode_value(msgspec.json.decode(json))
    except (msgspec.MsgspecError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise ProtocolError(f"It cannot be said in {codec.name}: {error}") from None
