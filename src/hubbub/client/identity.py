"""Microsoft Entra in place of an access key: tokens for REST calls, a key to sign for clients.

It asks any credential of the `azure-identity` package, or one like it, and keeps what it is given
until shortly before its end. Nothing of it is logged.
"""

import asyncio
import inspect
import time
from typing import Any, Final, Protocol

from msgspec import Struct

__all__ = ["SCOPE", "Credential", "Identity", "TemporaryKey"]

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
