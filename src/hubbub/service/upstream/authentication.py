"""Bearer tokens with which the service proves to an app who it is, kept until near their expiry."""

import asyncio
import importlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamsettings import Identity
from hubbub.service.upstream.issuer import ServiceIssuer
from hubbub.service.upstream.outcome import DeliveryError, Kind
from hubbub.service.upstream.secret import Secrets
from hubbub.service.upstream.shared import Shared

if TYPE_CHECKING:  # the HTTP client behind it is slow to load
    from hubbub.service.upstream.web import AppClient

__all__ = ["AzureIdentity", "TokenEndpoint", "TokenSource", "Tokens", "token_source"]

# Seconds before its expiry from which a token is not used any more, or the second half of its
# life: some issuers give tokens for a minute.
_MARGIN: Final = 300
_TIMEOUT: Final = 60.0  # seconds for any source; an Azure identity may look in several places
_ENDPOINT_TIMEOUT: Final = 30.0  # seconds
_MAX_TOKEN_ANSWER: Final = 65536  # bytes
# What Azure sets where an app can have an identity.
_AZURE_MARKS: Final = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE")


class TokenSource(Protocol):
    """Who issues tokens."""

    async def issue(self, resource: str, now: int) -> tuple[str, int]:
        """A token for the audience `resource`, and when it expires in Unix seconds.

        Raises `ConfigError` or `DeliveryError` where it cannot be had.
        """


class Tokens:
    """The tokens in use, by resource, each with the time from which it is to be replaced."""

    def __init__(self, source: TokenSource, *, clock: Callable[[], float] = time.time) -> None:
        self.source = source
        self._clock = clock
        self._tokens: dict[str, tuple[str, float]] = {}
        self._fetching = Shared(self._fetch)

    def __repr__(self) -> str:
        return f"Tokens({list(self._tokens)}, {self.source!r})"

    async def authorization(self, resource: str) -> str:
        """The value of the header `Authorization`. Raises `DeliveryError`."""
        token, until = self._tokens.get(resource, ("", 0.0))
        if self._clock() >= until:
            token = await self._fetching.outcome(resource)
        return f"Bearer {token}"

    async def _fetch(self, resource: str) -> str:
        now = self._clock()
        try:
            async with asyncio.timeout(_TIMEOUT):
                token, expires = await self.source.issue(resource, int(now))
        except TimeoutError:
            raise DeliveryError(
                Kind.NO_TOKEN, f"{self.source!r} gave no token within {_TIMEOUT:g} seconds."
            ) from None
        except ConfigError as error:
            raise DeliveryError(Kind.NO_TOKEN, str(error)) from None
        self._tokens[resource] = token, max(expires - _MARGIN, (now + expires) / 2)
        return token


class AzureIdentity:
    """Tokens of whatever identity this machine has in Azure. Satisfies `TokenSource`."""

    def __init__(self, credential: Any = None) -> None:
        """`credential` defaults to the SDK's own search for one."""
        self._credential = credential

    def __repr__(self) -> str:
        return "AzureIdentity()"

    async def issue(self, resource: str, now: int) -> tuple[str, int]:
        """Ask the SDK, in a thread: it may wait for the network."""
        return await asyncio.to_thread(self._issue, resource)

    def _issue(self, resource: str) -> tuple[str, int]:
        try:
            if self._credential is None:
                identity = importlib.import_module("azure.identity")
                self._credential = identity.DefaultAzureCredential()
            exceptions = importlib.import_module("azure.core.exceptions")
        except ImportError:
            raise ConfigError(
                "Tokens of an Azure identity need the Azure SDK: pip install 'hubbub[azure]'."
            ) from None
        try:
            token = self._credential.get_token(f"{resource.rstrip('/')}/.default")
        except exceptions.AzureError as error:
            first = str(error).strip().partition("\n")[0]
            raise DeliveryError(Kind.NO_TOKEN, f"Azure gave no token: {first}") from None
        return str(token.token), int(token.expires_on)


class _Answer(Struct):
    access_token: str
    expires_in: int | str = 3600


class TokenEndpoint:
    """Tokens by OAuth's client credentials (RFC 6749, 4.4). Satisfies `TokenSource`."""

    def __init__(self, identity: Identity, client: "AppClient", secrets: Secrets) -> None:
        self._identity = identity
        self._client = client
        self._secrets = secrets

    def __repr__(self) -> str:
        return f"TokenEndpoint({(self._identity.url or '').partition('?')[0]!r})"

    async def issue(self, resource: str, now: int) -> tuple[str, int]:
        """Post the credentials, the scope `RESOURCE/.default` and the resource itself."""
        identity = self._identity
        form = {
            "grant_type": "client_credentials",
            "client_id": identity.client_id or "",
            "client_secret": await self._secrets.fill(identity.client_secret or ""),
            "scope": f"{resource.rstrip('/')}/.default",
            "resource": resource,
        }
        try:
            reply = await self._client.post(
                identity.url or "",
                {"Content-Type": "application/x-www-form-urlencoded"},
                urlencode(form).encode(),
                timeout=_ENDPOINT_TIMEOUT,
                limit=_MAX_TOKEN_ANSWER,
            )
        except DeliveryError as error:
            raise DeliveryError(Kind.NO_TOKEN, f"{self!r} gave no token: {error}") from None
        if reply.status != 200:
            raise DeliveryError(Kind.NO_TOKEN, f"{self!r} answered {reply.status}.")
        try:
            answer = msgspec.json.decode(reply.body, type=_Answer)
            return answer.access_token, now + int(answer.expires_in)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise DeliveryError(
                Kind.NO_TOKEN, f"{self!r} answered with no access_token in JSON."
            ) from None


def token_source(
    identity: Identity, *, url: str, client: Callable[[], "AppClient"], secrets: Secrets
) -> TokenSource:
    """The source that the settings ask for; `url` is this service's own address."""
    match identity.kind or ("azure" if _is_azure() else "service"):
        case "azure":
            return AzureIdentity()
        case "tokenendpoint":
            return TokenEndpoint(identity, client(), secrets)
    return ServiceIssuer(identity.issuer or url, identity.key_file)


def _is_azure() -> bool:
    return any(mark in os.environ for mark in _AZURE_MARKS)
