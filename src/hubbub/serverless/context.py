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

from hubbub.errors import CallerError, HubbubError, ProtocolError
from hubbub.protocol.upstreamtext import format_claims, parse_claims
from hubbub.protocol.webhooks import parse_stream_id

__all__ = ["InvocationContext", "NoInvocationError", "current", "entered", "parse_trigger"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_CLAIMS_HEADER: Final = "x-asrs-user-claims"


class NoInvocationError(HubbubError):
    """Something was asked about a client's event while none is handled."""


class InvocationContext(Struct, frozen=True, kw_only=True):
    """The event of a client that a method handles."""

    hub: str
    category: str  # connections or messages
    event: str  # connected, disconnected, or the target as the client has written it
    connection_id: str
    user_id: str | None = None  # None where the client is anonymous
    arguments: tuple[Any, ...] = ()
    error: str | None = None  # why a connection ended, None where nothing was wrong
    headers: Mapping[str, str] = _NOTHING  # names in lower case
    query: Mapping[str, str] = _NOTHING  # of the address that the client connected to
    claims: Mapping[str, str] = _NOTHING  # of a repeated claim the first
    stream_id: str | None = None  # where the client has called `stream`

    def claim_values(self, name: str) -> tuple[str, ...]:
        """All values of a claim. `name` may be the token's short one, as in `role`."""
        names = {name, *parse_claims(format_claims({name: "value"}))}
        # The header has them all; whoever makes a context by hand may leave it out.
        header = self.headers.get(_CLAIMS_HEADER)
        found = (
            [dict(self.claims)]
            if header is None
            else [parse_claims(item) for item in header.split(",")]
        )
        return tuple(value for claim in found for key, value in claim.items() if key in names)


class _Trigger(Struct, rename="pascal"):
    """The trigger's JSON. Hosts say null for what is not there."""

    hub: str
    category: str
    event: str
    connection_id: str
    user_id: str | None = None
    arguments: tuple[Any, ...] | None = None
    error: str | None = None
    headers: dict[str, str] | None = None
    query: dict[str, str] | None = None
    claims: dict[str, str] | None = None


_current: ContextVar[InvocationContext | None] = ContextVar("hubbub_hub_invocation", default=None)
_decoder: Final = msgspec.json.Decoder(_Trigger)


def parse_trigger(text: str | bytes) -> InvocationContext:
    """Read what a `signalRTrigger` gives a function. Raises `ProtocolError`."""
    try:
        trigger = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"This is not the value of a signalRTrigger: {error}") from None
    headers = {name.lower(): value for name, value in (trigger.headers or {}).items()}
    return InvocationContext(
        hub=trigger.hub,
        category=trigger.category,
        event=trigger.event,
        connection_id=trigger.connection_id,
        user_id=trigger.user_id,
        arguments=trigger.arguments or (),
        error=trigger.error or None,
        headers=MappingProxyType(headers),
        query=MappingProxyType(trigger.query or {}),
        claims=MappingProxyType(trigger.claims or {}),
        stream_id=parse_stream_id(headers),
    )


def current() -> InvocationContext | None:
    """The event that is handled where this is called, `None` where that is none."""
    return _current.get()


@contextmanager
def entered(context: InvocationContext) -> Iterator[InvocationContext]:
    """Make `context` the current one inside. What the caller has done wrong gets its connection."""
    token = _current.set(context)
    try:
        yield context
    except CallerError as error:
        error.connection_id = context.connection_id
        raise
    finally:
        _current.reset(token)
