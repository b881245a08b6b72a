"""Who may do what: tokens of clients and of REST calls. A refusal is an HTTP answer as a value."""

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from msgspec import Struct

from hubbub.errors import ProtocolError
from hubbub.protocol.negotiate import TRANSPORTS, TransportOffer
from hubbub.protocol.tokens import (
    MAX_TOKEN_LENGTH,
    TokenError,
    check_client_audience,
    check_lifetime,
    check_rest_audience,
    decode_token,
    verified_claims,
)
from hubbub.service.lentkeys import keys_lent_for
from hubbub.service.settings import ServiceSettings

__all__ = [
    "ClientAccess",
    "Refusal",
    "admit_client",
    "admit_rest_call",
    "check_transport",
    "is_hub_name",
]

_SECRETS: Final = frozenset(("access_token", "id"))
_NAMES: Final = _SECRETS | {"hub"}
# REST API reference: hub and application names.
_HUB_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
HUB_NAME_RULE: Final = (
    "Invalid hub name. Valid hub name should be in between 1 and 128 characters long. The first "
    "character must be a letter, other characters can be letters, digits or the following symbols "
    "_`,.[]"
)


class Refusal(ProtocolError):
    """A request that is not let in: `status` and `headers` answer it, the message says why.

    `advice` is what was expected; it goes to the service's log.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.advice = advice

    @property
    def explanation(self) -> str:
        """Why, and what was expected, in whole sentences."""
        reason = str(self)
        return f"{reason.rstrip('.')}. {self.advice}" if self.advice else reason


class ClientAccess(Struct, frozen=True):
    """What a client's token and address say about it."""

    hub: str
    user_id: str | None
    query: str  # as the client sent it, without access_token and id
    connection_token: str | None
    claims: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"ClientAccess(hub={self.hub!r}, user={self.user_id!r})"  # the rest are secrets

    # The rest are the `asrs.s.*` claims, with which an app sets how one client is treated.

    @property
    def detailed_errors(self) -> bool:
        """Whether this client may be told details of errors (`asrs.s.derror`)."""
        return self._flag("asrs.s.derror")

    @property
    def is_diagnostic(self) -> bool:
        """Whether this client is one for live traces (`asrs.s.dc`)."""
        return self._flag("asrs.s.dc")

    @property
    def handshake_timeout(self) -> int | None:
        """Seconds that the hub handshake may take (`asrs.s.cht`, 1 to 30)."""
        return self._number("asrs.s.cht", 1, 30)

    @property
    def poll_interval(self) -> int | None:
        """Seconds without a poll after which a long-polling client is gone (`asrs.s.ttl`)."""
        return self._number("asrs.s.ttl", 1, 300)

    @property
    def transports(self) -> int:
        """Which transports may be offered, as bits: 1 WebSockets, 2 events, 4 long polling."""
        return (self._number("asrs.s.htt", 0, 255) or 0) & 7 or 7

    @property
    def closes_at(self) -> int | None:
        """Unix seconds at which the connection is to be closed (`asrs.s.coae`, `asrs.s.aeo`)."""
        if not self._flag("asrs.s.coae"):
            return None
        return self._number("asrs.s.aeo", 0, 253402300799)

    def _flag(self, name: str) -> bool:
        return str(self.claims.get(name, "")).lower() == "true"

    def _number(self, name: str, low: int, high: int) -> int | None:
        """The claim as a number within its limits, `None` where it is absent or not one."""
        try:
            number = int(str(self.claims[name]))
        except (KeyError, ValueError):
            return None
        return min(max(number, low), high)


def admit_client(
    settings: ServiceSettings,
    *,
    query: str,
    authorization: str | None,
    accepts_query_token: bool,
) -> ClientAccess:
    """Check a request to /client. Raises `Refusal`.

    `query` is the address's, without its question mark. Only WebSocket and event-stream requests
    may carry the token there, and only where there is no `authorization` header.
    """
    found, rest = _parameters(query)
    hub = _hub_name(found.get("hub", []))
    token = _bearer(authorization)
    if token is None and authorization is None and accepts_query_token:
        token = found.get("access_token", [None])[-1]
    claims = _claims(settings, token, _recently_verified)
    try:
        check_client_audience(claims, hub)
    except TokenError as error:
        raise _unauthorized(error) from None
    return ClientAccess(
        hub=hub,
        user_id=_user_id(claims),
        query=rest,
        connection_token=found.get("id", [None])[0],
        claims=claims,
    )


def check_transport(access: ClientAccess, offer: TransportOffer) -> None:
    """Raise `Refusal` where the client's token does not allow the transport (`asrs.s.htt`)."""
    if not access.transports & 1 << TRANSPORTS.index(offer):
        raise Refusal(404, f"{offer.transport} transport not supported by this end point type")


def admit_rest_call(settings: ServiceSettings, *, path: str, authorization: str | None) -> None:
    """Check that a request may call the REST API at the raw `path`. Raises `Refusal`."""
    claims = _claims(settings, _bearer(authorization), verified_claims)
    try:
        check_rest_audience(claims, unquote(path))
    except TokenError as error:
        raise _unauthorized(error) from None


def is_hub_name(name: str) -> bool:
    """Whether `name` is allowed for a hub."""
    return _HUB_NAME.fullmatch(name) is not None


def _hub_name(names: list[str]) -> str:
    if len(names) != 1:
        found = "more than one" if names else "none"
        raise Refusal(400, f"The query names one hub, as in ?hub=chat; there is {found}.")
    if not is_hub_name(names[0]):
        raise Refusal(400, HUB_NAME_RULE)
    return names[0]


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


# A client negotiates and connects with the same token. The claims are never changed.
_recently_verified: Final = lru_cache(1024)(verified_claims)


def _claims(
    settings: ServiceSettings,
    token: str | None,
    verified: Callable[[str, tuple[str, ...]], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """The claims of a token that is genuine, by `verified`, and valid now."""
    if token is None:
        raise Refusal(
            401,
            "No access token.",
            headers={"WWW-Authenticate": "Bearer"},
            advice="Expected the header 'Authorization: Bearer TOKEN'; a WebSocket or an event "
            "stream may have ?access_token=TOKEN instead.",
        )
    if len(token) > MAX_TOKEN_LENGTH:
        raise Refusal(413, f"An access token is at most {MAX_TOKEN_LENGTH} characters long.")
    now = int(time.time())
    try:
        claims = verified(token, settings.access_keys)
        check_lifetime(claims, now=now)
        return claims
    except TokenError as error:
        lent = keys_lent_for(token, settings.access_keys, now=now)
        if not lent:
            raise _unauthorized(error) from None
    try:
        return decode_token(token, lent, now=now)
    except TokenError as error:
        raise _unauthorized(error) from None


def _unauthorized(error: TokenError) -> Refusal:
    challenge = f'Bearer error="invalid_token", error_description="{error}"'
    return Refusal(401, str(error), headers={"WWW-Authenticate": challenge}, advice=error.advice)


def _user_id(claims: Mapping[str, Any]) -> str | None:
    for name in ("asrs.s.uid", "nameid", "sub"):
        value = claims.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if value is not None:
            return str(value)
    return None


def _parameters(query: str) -> tuple[dict[str, list[str]], str]:
    """The parameters of `_NAMES`, and the query without those that are secrets, as it came."""
    found: dict[str, list[str]] = {}
    rest = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        name = unquote_plus(name).lower()
        if name in _NAMES:
            found.setdefault(name, []).append(unquote_plus(value))
        if name not in _SECRETS:
            rest.append(part)
    return found, "&".join(rest)
