"""Access tokens: JSON web tokens, HS256, made and checked as the Azure SDKs make and check them.

Whether a token allows a request is decided here; where it is found in a request is not.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from hubbub.errors import ConfigError, ProtocolError
from hubbub.protocol.endpoints import Endpoint
from hubbub.protocol.jws import SignatureError, sign, verified_payload
from hubbub.protocol.timestamps import format_utc

__all__ = [
    "CLOCK_SKEW",
    "MAX_TOKEN_LENGTH",
    "TokenError",
    "check_client_audience",
    "check_lifetime",
    "check_rest_audience",
    "decode_token",
    "issue_client_token",
    "issue_rest_token",
    "verified_claims",
]

CLOCK_SKEW: Final = 300  # seconds, the default of the library that the original uses
MAX_TOKEN_LENGTH: Final = 4096  # characters; a longer one is answered with 413
# These names have a meaning in a token, so a user's claim of that name travels as asrs.u.{name}.
_RESERVED: Final = frozenset(
    ("aud", "exp", "iat", "nbf", "iss", "actort", "acr", "azp", "c_hash", "jti", "nonce")
)
_CLAIM_NAMES: Final = {  # the long names of .NET's claims and what they are called in a token
    f"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/{long}": short
    for long, short in (
        ("nameidentifier", "nameid"),
        ("name", "unique_name"),
        ("emailaddress", "email"),
        ("givenname", "given_name"),
        ("surname", "family_name"),
        ("upn", "upn"),
    )
} | {"http://schemas.microsoft.com/ws/2008/06/identity/claims/role": "role"}

_LATEST: Final = 253402300799  # the end of the year 9999, in Unix seconds
_payload: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()


class TokenError(ProtocolError):
    """A token that does not allow the request. The message is fit for `WWW-Authenticate`.

    `advice` says what was expected; it is for the service's log and never holds the token.
    """

    def __init__(self, description: str, advice: str = "") -> None:
        super().__init__(description)
        self.advice = advice


def issue_client_token(
    endpoint: Endpoint,
    hub: str,
    *,
    now: int,
    lifetime: int = 3600,
    user_id: str | None = None,
    claims: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    key_id: str = "0",
) -> str:
    """Make the token that lets a client connect to `hub`.

    `now` and `lifetime` are seconds; `key_id` is the name of a key that a service has lent. Claims
    given more than once become a list. Raises `ConfigError` where the endpoint has no key or the
    token would be longer than 4096 characters.
    """
    payload: dict[str, Any] = {}
    if user_id is not None:
        payload["asrs.s.uid"] = user_id
    pairs = claims.items() if isinstance(claims, Mapping) else claims
    for name, value in pairs:
        _add_claim(payload, name, value)
    payload |= {"nbf": now, "exp": now + lifetime, "iat": now}
    payload["aud"] = f"{endpoint.audience}client/?hub={hub.lower()}"
    token = _sign(endpoint, payload, key_id)
    if len(token) > MAX_TOKEN_LENGTH:
        raise ConfigError("AccessToken must not be longer than 4K. Pass fewer or shorter claims.")
    return token


def issue_rest_token(
    endpoint: Endpoint, url: str, *, now: int, lifetime: int = 3600, server_name: str = "hubbub"
) -> str:
    """Make the token for one REST call; its audience is `url` without the query."""
    audience = url.partition("?")[0]
    times = {"nbf": now, "exp": now + lifetime, "iat": now}
    return _sign(endpoint, {"nameid": server_name, **times, "aud": audience})


def decode_token(
    token: str, keys: Sequence[str], *, now: int, skew: int = CLOCK_SKEW
) -> dict[str, Any]:
    """Check signature and lifetime of `token`; return its claims. Raises `TokenError`.

    Every key is tried, whatever the token's `kid` says: SDKs put a number there that means nothing.
    """
    claims = verified_claims(token, keys)
    check_lifetime(claims, now=now, skew=skew)
    return claims


def check_lifetime(claims: Mapping[str, Any], *, now: int, skew: int = CLOCK_SKEW) -> None:
    """Check that a token is valid at `now`, in Unix seconds. Raises `TokenError`."""
    expires = _time(claims, "exp")
    starts = _time(claims, "nbf")
    if expires is None:
        raise TokenError("The token has no expiration", "Add the claim exp, in Unix seconds.")
    if starts is not None and starts > expires:
        raise TokenError(
            "The token lifetime is invalid; "
            f"NotBefore: '{format_utc(starts)}', Expires: '{format_utc(expires)}'"
        )
    if starts is not None and starts > now + skew:
        raise TokenError(
            f"The token is not valid before '{format_utc(starts)}'",
            f"It is {format_utc(now)} here: compare the clocks.",
        )
    if expires < now - skew:
        raise TokenError(
            f"The token expired at '{format_utc(expires)}'",
            f"It is {format_utc(now)} here: fetch a new token, or compare the clocks.",
        )


def check_client_audience(claims: Mapping[str, Any], hub: str) -> None:
    """Check that a token is meant for clients of `hub`. Raises `TokenError`.

    Scheme, host and port of the audience do not count: SDKs leave the port out, and a service is
    reached under several names. A token that names no hub is good for each.
    """
    audiences = _audiences(claims)
    wanted = hub.lower()
    for is_client, named in map(_client_hub, audiences):
        if is_client and named in (None, wanted):
            return
    advice = f"A client of hub {hub!r} needs an audience that ends in /client/?hub={hub.lower()}."
    if any(urlsplit(audience).path.startswith("/api/") for audience in audiences):
        advice += " This is a REST token: use the one that negotiate returned."
    raise _wrong_audience(audiences, advice)


def check_rest_audience(claims: Mapping[str, Any], path: str) -> None:
    """Check that a token is meant for the REST call at `path` (decoded). Raises `TokenError`."""
    audiences = _audiences(claims)
    wanted = path.rstrip("/").lower()
    if any(_rest_path(audience) == wanted for audience in audiences):
        return
    advice = f"This REST call needs an audience that ends in {path}, without a query."
    if any(urlsplit(audience).path.lower().startswith("/client") for audience in audiences):
        advice += " This is a client token: it opens connections and cannot call the REST API."
    raise _wrong_audience(audiences, advice)


def _sign(endpoint: Endpoint, payload: Mapping[str, Any], key_id: str = "0") -> str:
    if endpoint.access_key is None:
        raise ConfigError(
            f"The connection string of {endpoint.url} has no AccessKey to sign a token with."
        )
    return sign(_encoder.encode(payload), endpoint.access_key, key_id)


def _add_claim(payload: dict[str, Any], name: str, value: Any) -> None:
    name = _CLAIM_NAMES.get(name, name)
    if name in _RESERVED or (name == "sub" and "sub" in payload):
        # A renamed claim is text, whatever it was before.
        name = f"asrs.u.{name}"
        value = value if isinstance(value, str) else _encoder.encode(value).decode()
    if name not in payload:
        payload[name] = value
    elif isinstance(payload[name], list):
        payload[name] = [*payload[name], value]
    else:
        payload[name] = [payload[name], value]


def verified_claims(token: str, keys: Sequence[str]) -> dict[str, Any]:
    """The claims of a token that one of `keys` has signed, whenever. Raises `TokenError`."""
    try:
        return _payload.decode(verified_payload(token, keys))
    except SignatureError as error:
        if error.is_malformed:
            raise TokenError("The token is malformed", str(error)) from None
        raise TokenError(
            "The signature key was not found",
            "No access key of this service has signed the token: compare the AccessKey of the "
            "connection string that issued it.",
        ) from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise TokenError("The token is malformed", f"{type(error).__name__}: {error}") from None


def _time(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise TokenError("The token lifetime is invalid", f"{name} is a number of Unix seconds.")
    return int(value)


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    value = claims.get("aud")
    values = value if isinstance(value, list) else [value]
    audiences = [item for item in values if isinstance(item, str)]
    try:
        for audience in audiences:
            urlsplit(audience)
    except ValueError:
        raise TokenError("The audience is invalid", "The audience is not a URL.") from None
    return audiences


# Many tokens have the same audience, and an address takes longer to read than the rest of a token.
# Only audiences of genuine tokens get in.
@lru_cache(256)
def _client_hub(audience: str) -> tuple[bool, str | None]:
    """Whether an audience is a client's, and of which hub, in lower case; `None` is every hub."""
    address = urlsplit(audience)
    # Without a hub it is good for each; an empty one is none.
    hubs = parse_qs(address.query, keep_blank_values=True).get("hub")
    return address.path.rstrip("/").lower() == "/client", hubs[-1].lower() if hubs else None


@lru_cache(256)
def _rest_path(audience: str) -> str:
    """The path of an audience as paths are compared."""
    return unquote(urlsplit(audience).path).rstrip("/").lower()


def _wrong_audience(audiences: Sequence[str], advice: str) -> TokenError:
    shown = ", ".join(audiences) or "(null)"
    # It goes into a header: nothing but what a URL may hold.
    safe = "".join(c for c in shown if " " <= c <= "~" and c not in "'\"\\")
    return TokenError(f"The audience '{safe}' is invalid", advice)
