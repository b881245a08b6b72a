"""The management client: send to clients, manage groups, negotiate, in the Azure SDK's terms.

It needs a connection string and nothing else, and holds no connection of a hub itself.
"""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct

from hubbub.client.rest import RestClient, encode_invocation
from hubbub.protocol.endpoints import Endpoint, client_url, parse_connection_string
from hubbub.protocol.tokens import issue_client_token

__all__ = ["ClientProxy", "Clients", "Groups", "HubContext", "Negotiation", "ServiceClient"]

# Answers of a 404 that the SDK takes for an outcome (x-ms-error-code, compared ignoring case).
_NO_CONNECTION_IS_FINE: Final = {"error.connection.notexisted": False}


class Negotiation(Struct, frozen=True):
    """Where a client connects to, and the token that lets it."""

    url: str
    access_token: str


class ServiceClient:
    """A client of one service's REST API; `hub` gives what is sent to a hub's clients.

    Use it as an asynchronous context manager, or `close` it.
    """

    def __init__(self, connection: str | Endpoint, *, timeout: float = 100.0) -> None:
        """`connection` is a connection string or what one was parsed to; `timeout` is seconds."""
        self.endpoint = (
            parse_connection_string(connection) if isinstance(connection, str) else connection
        )
        self._rest = RestClient(self.endpoint, timeout=timeout)

    def hub(self, name: str) -> "HubContext":
        """What concerns the hub `name`. Names are compared ignoring case."""
        return HubContext(self._rest, name)

    async def close(self) -> None:
        """Close the HTTP connections."""
        await self._rest.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class HubContext:
    """One hub of a service. Calls raise `ServiceError` where the service refuses them."""

    def __init__(self, rest: RestClient, name: str) -> None:
        self.name = name
        self.clients = Clients(rest, name)
        self.groups = Groups(rest, name, "connections")
        self.user_groups = Groups(rest, name, "users")
        self._endpoint = rest.endpoint

    def negotiate(
        self,
        *,
        user_id: str | None = None,
        claims: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        lifetime: int = 3600,
    ) -> Negotiation:
        """Issue what a client needs to connect. `lifetime` of the token is seconds. No I/O."""
        token = issue_client_token(
            self._endpoint,
            self.name,
            now=int(time.time()),
            lifetime=lifetime,
            user_id=user_id,
            claims=claims,
        )
        return Negotiation(client_url(self._endpoint, self.name), token)


class Clients:
    """Whom to send to."""

    def __init__(self, rest: RestClient, hub: str) -> None:
        self._rest = rest
        self._hub = hub

    @property
    def all(self) -> "ClientProxy":
        """Every client of the hub."""
        return ClientProxy(self._rest, self._hub)

    def all_except(self, connection_ids: Iterable[str]) -> "ClientProxy":
        """Every client of the hub but those on `connection_ids`."""
        return ClientProxy(self._rest, self._hub, excluded=connection_ids)

    def client(self, connection_id: str) -> "ClientProxy":
        """The client on one connection."""
        return ClientProxy(self._rest, self._hub, "connections", connection_id)

    def user(self, user_id: str) -> "ClientProxy":
        """Every connection of one user."""
        return ClientProxy(self._rest, self._hub, "users", user_id)

    def group(self, group: str) -> "ClientProxy":
        """Every connection in a group."""
        return ClientProxy(self._rest, self._hub, "groups", group)

    def group_except(self, group: str, connection_ids: Iterable[str]) -> "ClientProxy":
        """Every connection in a group but those on `connection_ids`."""
        return ClientProxy(self._rest, self._hub, "groups", group, excluded=connection_ids)


class ClientProxy:
    """Some of a hub's clients, as one audience to send to."""

    def __init__(
        self, rest: RestClient, hub: str, *path: str, excluded: Iterable[str] = ()
    ) -> None:
        self._rest = rest
        self._hub = hub
        self._path = path
        self._query = [("excluded", connection_id) for connection_id in excluded]

    async def send(self, target: str, *arguments: Any) -> None:
        """Invoke `target` on these clients, without an answer. Arguments go as JSON."""
        body = encode_invocation(target, arguments)
        await self._rest.call(
            "POST", self._hub, *self._path, verb=":send", query=self._query, body=body
        )


class Groups:
    """Who is in which group: connections, or users with all their connections."""

    def __init__(self, rest: RestClient, hub: str, collection: str) -> None:
        self._rest = rest
        self._hub = hub
        self._collection = collection

    async def add(self, member: str, group: str) -> None:
        """Put a connection or a user into `group`. A connection that is gone is no error."""
        await self._rest.call(
            "PUT", self._hub, *self._membership(member, group), absent=_NO_CONNECTION_IS_FINE
        )

    async def remove(self, member: str, group: str) -> None:
        """Take a connection or a user out of `group`."""
        await self._rest.call(
            "DELETE", self._hub, *self._membership(member, group), absent=_NO_CONNECTION_IS_FINE
        )

    async def remove_all(self, member: str) -> None:
        """Take a connection or a user out of all groups."""
        await self._rest.call("DELETE", self._hub, self._collection, member, "groups")

    def _membership(self, member: str, group: str) -> tuple[str, ...]:
        if self._collection == "connections":
            return ("groups", group, "connections", member)
        return ("users", member, "groups", group)
