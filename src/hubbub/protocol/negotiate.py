"""Negotiation (TransportProtocols.md, "POST [endpoint-base]/negotiate request"): the answers."""

from typing import Final

import msgspec
from msgspec import Struct

from hubbub.errors import ProtocolError

__all__ = [
    "TRANSPORTS",
    "NegotiateError",
    "NegotiateResponse",
    "TransportOffer",
    "parse_negotiate_version",
]

_NEWEST: Final = 1


class NegotiateError(ProtocolError):
    """A negotiate request that is answered with an error, in a response of status 200."""


class TransportOffer(Struct, frozen=True, rename="camel"):
    """One transport that the service offers, and what it carries there."""

    transport: str
    transfer_formats: tuple[str, ...]


WEB_SOCKETS: Final = TransportOffer("WebSockets", ("Text", "Binary"))
SERVER_SENT_EVENTS: Final = TransportOffer("ServerSentEvents", ("Text",))
LONG_POLLING: Final = TransportOffer("LongPolling", ("Text", "Binary"))
TRANSPORTS: Final = (WEB_SOCKETS, SERVER_SENT_EVENTS, LONG_POLLING)


class NegotiateResponse(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What a client needs to connect, or where else to ask, or why not. Absent is not written."""

    negotiate_version: int | None = None
    url: str | None = None
    access_token: str | None = None
    connection_id: str | None = None
    connection_token: str | None = None
    use_stateful_reconnect: bool = False
    available_transports: tuple[TransportOffer, ...] | None = None
    error: str | None = None

    def encode(self) -> bytes:
        """The JSON, members in the order that the reference server writes them."""
        return msgspec.json.encode(self)


def parse_negotiate_version(text: str | None) -> int:
    """The version to answer with: 0 where none was asked for, at most 1. Raises NegotiateError."""
    if text is None:
        return 0
    try:
        version = int(text)
    except ValueError:
        raise NegotiateError("The client requested a non-integer protocol version.") from None
    if version < 0:
        raise NegotiateError(
            f"The client requested version '{version}', but the server does not support this "
            "version."
        )
    return min(version, _NEWEST)
