"""Microsoft Entra in place of an access key: tokens for REST calls, a key to sign for clients.

It asks any credential of the `azure-identity` package, or one like it, and keeps what it is given
until shortly before its end. Nothing of it is logged.
"""

import asyncio
import importlib
import inspect
import time
from typing import Any, Final, Protocol

from msgspec import Struct

from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import Endpoint

__all__ = ["SCOPE", "Credential", "Identity", "TemporaryKey", "credential_for"]

SCOPE: Final = "https://signalr.azure.com/.default"
_MARGIN: Final = 300  # seconds before its end from which on a token is not used any more
# The Azure SDK asks for another key when one is 55 minutes old; it is good for 90.
KEY_LIFETIME: Final = 55 * 60


class Credential(Protocol):
    """Gives tokens; its `get_token` may be a coroutine function or not."""

    def get_token(self, *scopes: str) -> Any:
        """A value with `token` and `expires_on`, in Unix seconds; or something to await for it."""


class TemporaryKey(Struct, frozen=True):
    """A key that a service lends, and its name in a token's header."""

    key_id: str
    access_key: str
    expires: float  # of this process's monotonic clock

    def __repr__(self) -> str:
        return f"TemporaryKey({self.key_id!r})"


class Identity:
    """A credential and the token that it gave last."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._token = ""
        self._expires = 0.0
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Identity(expires={self._expires:g})"

    async def token(self) -> str:
        """A token for REST calls, the same one while it lasts."""
        async with self._lock:
            if time.time() > self._expires - _MARGIN:
                # A credential that is not asynchronous may take its time.
                found = await asyncio.to_thread(self._credential.get_token, SCOPE)
                if inspect.isawaitable(found):
                    found = await found
                self._token, self._expires = found.token, found.expires_on
            return self._token


def credential_for(endpoint: Endpoint) -> Credential:
    """The credential that `AuthType` of a connection string asks for, as the Azure SDK has it.

    `azure.app` is an application, `azure.msi` this machine, `azure` whatever is found, and `aad`
    the older name of the first two. Raises `ConfigError` where the package is missing that has
    them, or where what the string says of an application is none.
    """
    try:
        identity = importlib.import_module("azure.identity")
    except ImportError:
        raise ConfigError(
            f"The connection string of {endpoint.url} has no AccessKey, but "
            f"AuthType={endpoint.auth_type}. That needs one more package: "
            "pip install 'hubbub[azure]'. Or pass credential=, or an AccessKey in the string."
        ) from None
    credential: Credential
    if endpoint.auth_type == "azure.app" or (endpoint.auth_type == "aad" and endpoint.tenant_id):
        application = {"tenant_id": endpoint.tenant_id, "client_id": endpoint.client_id}
        if endpoint.client_secret:
            credential = identity.ClientSecretCredential(
                client_secret=endpoint.client_secret, **application
            )
        else:
            credential = _certificate(identity, endpoint.client_certificate, application)
    elif endpoint.auth_type == "azure":
        credential = identity.DefaultAzureCredential()
    else:
        credential = identity.ManagedIdentityCredential(client_id=endpoint.client_id)
    return credential


def _certificate(identity: Any, path: str | None, application: dict[str, str | None]) -> Credential:
    try:
        credential: Credential = identity.CertificateCredential(
            certificate_path=path, **application
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"ClientCert {path} is no certificate to use: {error}") from None
    return credential
