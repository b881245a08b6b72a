"""What a hub's method may know of the event that it handles, and which event that is.

It reads the trigger's JSON. Who may call what is not decided here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct

from hubbub.errors import HubbubError, ProtocolError
from hubbub.protocol.upstreamtext import format_claims, parse_claims

__all__ = ["InvocationContext", "NoInvocationError", "current", "entered", "parse_trigger"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_CLAIMS_HEADER: Final = "x-asrs-user-claims"


class NoInvocationError(HubbubError):
    """Something was asked about a client's event while none is handled."""


class InvocationContext(Struct, frozen=True, kw_only=True, rename="pascal"):
    """The event of a client that a method handles (extension facts, 4.6)."""

    hub: str
    category: str  # connections or messages
    event: str  # connected, disconnected, or the target as the client has written it
    connection_id: str
    user_id: str | None = None  # None where the client is anonymous
    arguments: tuple[Any, ...] | None = ()
    error: str | None = None  # why a connection ended, None where nothing was wrong
    headers: Mapping[str, Any] | None = _NOTHING  # names in lower case
    query: Mapping[str, Any] | None = _NOTHING  # of the address that the client connected to
    claims: Mapping[str, Any] | None = _NOTHING  # of a repeated claim the first

    def __post_init__(self) -> None:
        # Hosts say null for what is not there, and each writes the names of headers as it likes.
        put = msgspec.structs.force_setattr
        put(self, "arguments", tuple(self.arguments or ()))
        headers = {name.lower(): value for name, value in (self.headers or {}).items()}
        for name, value in (
            ("headers", headers),
            ("query", self.query),
            ("claims", self.claims),
        ):
            put(self, name, MappingProxyType(dict(value or {})))

    def claim_values(self, name: str) -> tuple[str, ...]:
        """All values of a claim. `name` may be the token's short one, as in `role`."""
        names = {name, *parse_claims(format_claims({name: "value"}))}
        items = str((self.headers or {}).get(_CLAIMS_HEADER, "")).split(",")
        found = [parse_claims(item) for item in items]
        if not any(found):  # a host that passes the header on under another name
            found = [{key: str(value)} for key, value in (self.claims or {}).items()]
        return tuple(value for claim in found for key, value in claim.items() if key in names)


_current: ContextVar[InvocationContext | None] = ContextVar("hubbub_hub_invocation", default=None)
_decoder: Final = msgspec.json.Decoder(InvocationContext)


def parse_trigger(text: str | bytes) -> InvocationContext:
    """Read what a `signalRTrigger` gives a function. Raises `ProtocolError`."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"The trigger's value is not that of a signalRTrigger: {error}") from None


def current() -> InvocationContext | None:
    """The event that is handled where this is called, `None` where that is none."""
    return _current.get()


@contextmanager
def entered(context: InvocationContext) -> Iterator[InvocationContext]:
    """Make `context` the current one inside."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
