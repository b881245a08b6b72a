"""The messages that are sent: the body of the REST call, and what arrives of it at each client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from benchmarks.process import BenchmarkError

__all__ = ["Kind", "Message", "framed", "message"]

_TARGET: Final = "newMessage"
_SEPARATOR: Final = 1  # byte 0x1e that ends a JSON record


class Kind(Enum):
    """What a client speaks."""

    PLAIN = "plain"  # TCP alone, from the C `send()` loop
    JSON = "json"
    MESSAGEPACK = "messagepack"
    SCRIPT = "script"  # another server's clients


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the body of the REST call, and bytes on the wire at each kind of client."""

    body: bytes
    sizes: Mapping[Kind, int]


def message(payload: int, kind: Kind = Kind.JSON) -> Message:
    """The message whose WebSocket frame, without its head, has `payload` bytes for `kind`."""
    filler = ""
    # A longer text takes a longer length before it, in MessagePack: two passes find the fit.
    for _ in range(3):
        filler = "x" * (len(filler) + payload - _hub_size(filler, kind))
    if not filler or _hub_size(filler, kind) != payload:
        raise BenchmarkError(f"No message has {payload} bytes as {kind.value}.")
    sizes = {each: framed(_hub_size(filler, each)) for each in (Kind.JSON, Kind.MESSAGEPACK)}
    body = _json({"target": _TARGET, "arguments": [filler]})
    return Message(body, {**sizes, Kind.PLAIN: framed(payload), Kind.SCRIPT: framed(payload)})


def framed(payload: int) -> int:
    """Bytes of a server's WebSocket frame (RFC 6455, 5.2) for so many in it."""
    return payload + (2 if payload < 126 else 4)


def _hub_size(filler: str, kind: Kind) -> int:
    """Bytes of the hub message (HubProtocol.md, "Invocation Message Encoding")."""
    if kind is Kind.MESSAGEPACK:
        record = msgspec.msgpack.encode([1, {}, None, _TARGET, [filler], []])
        return len(record) + (1 if len(record) < 128 else 2)  # its length goes first, as a varint
    return len(_json({"type": 1, "target": _TARGET, "arguments": [filler]})) + _SEPARATOR


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
