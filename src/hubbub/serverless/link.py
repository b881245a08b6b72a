"""The way from a hub to its service: for coroutines the client of their loop, else a blocking one.

It is opened with the first call. A loop that ends closes what it has opened.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Struct

from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import Endpoint

if TYPE_CHECKING:
    from hubbub.client.blocking import SyncServiceClient
    from hubbub.client.identity import Credential
    from hubbub.client.management import ServiceClient

__all__ = ["ConnectionInfo", "Link"]


class ConnectionInfo(Struct, frozen=True, rename="camel"):
    """Where a client connects to, and the token that lets it: what `negotiate` answers."""

    url: str
    access_token: str

    def json(self) -> str:
        """The JSON text that clients expect."""
        return msgspec.json.encode(self).decode()

    def __repr__(self) -> str:
        return f"ConnectionInfo({self.url!r})"


class Link:
    """One hub of one service. `connection` is a connection string; else the setting holds it."""

    def __init__(
        self,
        hub: str,
        setting: str,
        connection: str | Endpoint | None,
        credential: "Credential | None",
    ) -> None:
        self._hub = hub
        self._setting = setting
        self._connection = connection
        self._credential = credential
        self._clients: WeakKeyDictionary[Any, _Open] = WeakKeyDictionary()
        self._issuer: ServiceClient | None = None
        self._blocking: SyncServiceClient | None = None
        self._lock = threading.Lock()  # plain methods run in many threads

    def __repr__(self) -> str:
        return f"Link({self._hub!r}, {self._setting!r})"

    @property
    def hub(self) -> Any:
        """The hub's `HubContext`; where no event loop runs, one whose methods block."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._waiting().hub(self._hub)
        opened = self._clients.get(loop)
        if opened is None:
            opened = self._clients[loop] = _Open(self._client())
        return opened.client.hub(self._hub)

    def negotiate(
        self,
        user_id: str | None,
        claims: Mapping[str, Any] | Iterable[tuple[str, Any]],
        lifetime: int,
    ) -> ConnectionInfo:
        """Issue what a client needs to connect, without asking anybody."""
        if self._issuer is None:
            self._issuer = self._client()  # it opens nothing, so it needs no loop
        context = self._issuer.hub(self._hub)
        found = context.negotiate(user_id=user_id, claims=claims, lifetime=lifetime)
        return ConnectionInfo(found.url, found.access_token)

    async def negotiate_by_identity(
        self,
        user_id: str | None,
        claims: Mapping[str, Any] | Iterable[tuple[str, Any]],
        lifetime: int,
    ) -> ConnectionInfo:
        """The same with a key that the service lends to the credential."""
        found = await self.hub.negotiate_by_identity(
            user_id=user_id, claims=claims, lifetime=lifetime
        )
        return ConnectionInfo(found.url, found.access_token)

    async def close(self) -> None:
        """Close what this loop and what threads have opened."""
        opened = self._clients.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened.client.close()
        with self._lock:
            blocking, self._blocking = self._blocking, None
        if blocking is not None:
            atexit.unregister(blocking.close)
            await asyncio.to_thread(blocking.close)

    def _client(self) -> "ServiceClient":
        # Imported late: an app is indexed without the HTTP client, which takes a while to load.
        from hubbub.client.management import ServiceClient

        return ServiceClient(self._found(), credential=self._credential)

    def _waiting(self) -> "SyncServiceClient":
        with self._lock:
            if self._blocking is None:
                from hubbub.client.blocking import SyncServiceClient

                self._blocking = SyncServiceClient(self._found(), credential=self._credential)
                atexit.register(self._blocking.close)
            return self._blocking

    def _found(self) -> str | Endpoint:
        """The connection string: as given, or as the app's settings have it (facts, 1.3)."""
        if self._connection is not None:
            return self._connection
        names = [f"ConnectionStrings__{self._setting}", self._setting]
        if self._credential is not None:
            names.append(f"{self._setting}__serviceUri")
        for name in names:
            if text := os.environ.get(name):
                return text
        raise ConfigError(
            f"The app setting '{self._setting}' is missing, so hub '{self._hub}' does not know its "
            "service. Set it to the service's connection string, in the Values of "
            "local.settings.json or in the environment."
        )


class _Open:
    """A client that its loop closes at its end, as it does with every generator that is left."""

    def __init__(self, client: "ServiceClient") -> None:
        self.client = client
        self._held = self._hold()
        self._started = asyncio.ensure_future(anext(self._held))

    async def _hold(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.client.close()
