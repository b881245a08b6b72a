"""Tokens of Microsoft Entra, or another issuer of JSON web tokens, for the REST API.

Which issuers count and where their keys are is the operator's to say: nothing is ever fetched from
an address that a token names.
"""

import asyncio
import logging
import time
from typing import Any, Final

import jwt
from jwt.algorithms import has_crypto

from hubbub.errors import ConfigError
from hubbub.service.access import Refusal
from hubbub.service.settings import EntraSettings

__all__ = ["EntraGate", "is_entra_token"]

_logger = logging.getLogger("hubbub.service")
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384")
_SKEW: Final = 300  # seconds, as for other tokens
_MAX_TOKEN: Final = 16_384  # characters; these tokens are longer than those of access keys
_KEYS_LIFETIME: Final = 3600.0  # seconds until an issuer is asked for its keys anew
_FETCH_PAUSE: Final = 60.0  # seconds between two questions, whatever keys tokens name
_FETCH_TIMEOUT: Final = 10.0  # seconds
_MAX_KEYS_BYTES: Final = 1_048_576


def is_entra_token(token: str) -> bool:
    """Whether a token is signed as an issuer signs, not with an access key."""
    try:
        return jwt.get_unverified_header(token).get("alg") in _ALGORITHMS
    except (jwt.PyJWTError, ValueError, RecursionError):
        return False


class EntraGate:
    """Lets calls in whose token one of the issuers has signed for this service."""

    def __init__(self, settings: EntraSettings) -> None:
        """Raises `ConfigError` where the package that checks such signatures is missing."""
        if not has_crypto:
            raise ConfigError("Entra tokens need one more package: pip install 'hubbub[azure]'.")
        self._settings = settings
        self._keys = {issuer: _IssuerKeys(url) for issuer, url in settings.issuers.items()}

    async def admit(self, token: str) -> None:
        """Check a token. Raises `Refusal`: 401, 403 without a role, 503 without an issuer."""
        if len(token) > _MAX_TOKEN:
            raise Refusal(413, f"A token is at most {_MAX_TOKEN} characters long.")
        try:
            header = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _unauthorized("The token is malformed", str(error)) from None
        if not isinstance(issuer, str) or (keys := self._keys.get(issuer)) is None:
            known = ", ".join(self._settings.issuers)
            raise _unauthorized("The issuer is invalid", f"Tokens are accepted from {known}.")
        key = await keys.find(header.get("kid"))
        if key is None:
            raise _unauthorized("The signature key was not found", f"{issuer} has no such key.")
        self._check_roles(self._claims(token, key, issuer))

    def _claims(self, token: str, key: jwt.PyJWK, issuer: str) -> dict[str, Any]:
        audiences = self._settings.audiences
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=[*audiences, *(f"{each}/" for each in audiences)],
                issuer=issuer,
                leeway=_SKEW,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidAudienceError:
            raise _unauthorized(
                "The audience is invalid", f"A token is for {' or '.join(audiences)}."
            ) from None
        except jwt.PyJWTError as error:
            raise _unauthorized(str(error), type(error).__name__) from None
        return claims

    def _check_roles(self, claims: dict[str, Any]) -> None:
        wanted = self._settings.roles
        roles = claims.get("roles")
        if wanted and not (isinstance(roles, list) and any(role in wanted for role in roles)):
            raise Refusal(403, f"The identity has none of the roles {', '.join(wanted)}.")


class _IssuerKeys:
    """The keys of one issuer by id, fetched when they are needed and not too often."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._asked = self._failed = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: object) -> jwt.PyJWK | None:
        """The key of that id. Raises `Refusal` where the issuer had to be asked and is away."""
        if not isinstance(key_id, str):
            return None
        if key_id not in self._keys or time.monotonic() - self._fetched > _KEYS_LIFETIME:
            began = time.monotonic()
            async with self._lock:
                if self._failed > began and key_id not in self._keys:
                    raise _away()  # who has waited meanwhile need not ask once more
                await self._refresh(key_id)
        return self._keys.get(key_id)

    async def _refresh(self, key_id: str) -> None:
        now = time.monotonic()
        is_fresh = key_id in self._keys and now - self._fetched <= _KEYS_LIFETIME
        if is_fresh or now - self._asked < _FETCH_PAUSE:
            return
        self._asked = now
        try:
            self._keys = await self._fetch()
            self._fetched = now
        except (OSError, TimeoutError, jwt.PyJWTError, ValueError) as error:
            _logger.warning("the keys at %s cannot be had: %s", self._url, error)
            if key_id not in self._keys:
                self._asked = float("-inf")  # the next call may find the issuer back
                self._failed = time.monotonic()
                raise _away() from None

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        import aiohttp  # slow to load, and most services never need it here

        try:
            async with (
                asyncio.timeout(_FETCH_TIMEOUT),
                aiohttp.ClientSession() as http,
                http.get(self._url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise ValueError(f"it answered {response.status}")
                text = bytearray()
                async for piece in response.content.iter_any():
                    text += piece
                    if len(text) > _MAX_KEYS_BYTES:
                        raise ValueError(f"it answered more than {_MAX_KEYS_BYTES} bytes")
        except aiohttp.ClientError as error:
            raise OSError(str(error) or type(error).__name__) from None
        return {key.key_id: key for key in jwt.PyJWKSet.from_json(text.decode()).keys if key.key_id}


def _away() -> Refusal:
    return Refusal(503, "The issuer of the token cannot be asked for its keys. Try again later.")


def _unauthorized(description: str, advice: str) -> Refusal:
    safe = "".join(c for c in description if " " <= c <= "~" and c not in '"\\')
    challenge = f'Bearer error="invalid_token", error_description="{safe}"'
    return Refusal(401, description, headers={"WWW-Authenticate": challenge}, advice=advice)
