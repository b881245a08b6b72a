"""The management client: send to clients, manage groups, negotiate, in the Azure SDK's terms.

It needs a connection string, or an address and an Azure credential, and holds no connection of a
hub itself.
"""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from hubbub.client.audience import ClientProxy, Clients, SingleClient
from hubbub.client.commands import Command
from hubbub.client.groups import Groups, UserGroups
from hubbub.client.identity import Credential, Identity, credential_for
from hubbub.client.presence import ClientManager
from hubbub.client.rest import RestClient
from hubbub.client.restretry import RestRetry
from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import Endpoint, client_url, parse_connection_string
from hubbub.protocol.tokens import issue_client_token

__all__ = [
    "ClientManager",
    "ClientProxy",
    "Clients",
    "Groups",
    "HubContext",
    "Negotiation",
    "RestRetry",
    "ServiceClient",
    "SingleClient",
    "UserGroups",
]

_LIFETIME: Final = 3600  # seconds, as in the Azure SDKs


class Negotiation(Struct, frozen=True):
    """Where a client connects to, and the token that lets it."""

    url: str
    access_token: str


class _Token(Struct):
    token: str


class ServiceClient:
    """A client of one service's REST API; `hub` gives what is sent to a hub's clients.

    Use it as an asynchronous context manager, or `close` it.
    """

    def __init__(
        self,
        connection: str | Endpoint,
        *,
        credential: Credential | None = None,
        timeout: float = 100.0,
        retry: RestRetry | None = None,
        application: str | None = None,
    ) -> None:
        """`connection` is a connection string or what one was parsed to; `timeout` is seconds.

        With a `credential` of Microsoft Entra it may be the service's address alone; a string with
        an AuthType names its own, which needs the extra `azure`. Calls are not made again unless
        `retry` says so. `application` is a name before the names of hubs, by which apps share a
        service. Raises `ConfigError`.
        """
        self.endpoint = _endpoint(connection, credential)
        if credential is None and self.endpoint.access_key is None:
            credential = credential_for(self.endpoint)
        self._rest = RestClient(
            self.endpoint,
            timeout=timeout,
            retry=retry,
            identity=Identity(credential) if credential is not None else None,
            application=application,
        )

    def __repr__(self) -> str:
        return f"ServiceClient({self.endpoint!r})"

    def hub(self, name: str) -> "HubContext":
        """What concerns the hub `name`. Names are compared ignoring case."""
        return HubContext(self._rest, name)

    async def is_healthy(self) -> bool:
        """Whether the service answers, and not with an error of its own."""
        return await self._rest.is_healthy()

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
        self.groups = Groups(rest, name)
        self.user_groups = UserGroups(rest, name)
        self.client_manager = ClientManager(rest, name)
        self._rest = rest

    def __repr__(self) -> str:
        return f"HubContext({self.name!r})"

    def negotiate(
        self,
        *,
        user_id: str | None = None,
        claims: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        lifetime: int = _LIFETIME,
        detailed_errors: bool = False,
        diagnostic: bool = False,
        close_on_expiration: bool = False,
    ) -> Negotiation:
        """Issue what a client needs to connect. `lifetime` of the token is seconds. No I/O.

        `detailed_errors` lets the client see why it is closed; `close_on_expiration` closes it when
        the token ends; `diagnostic` marks it for live traces. It needs an access key: where a
        credential is used instead, `negotiate_by_identity` does the same.
        """
        if self._rest.endpoint.access_key is None:
            raise ConfigError(
                f"The connection string of {self._rest.endpoint.url} has no AccessKey to sign a "
                "token with. Await negotiate_by_identity(), which asks the service for a key."
            )
        system = _system_claims(detailed_errors, diagnostic, close_on_expiration, lifetime)
        return self._issue(self._rest.endpoint, user_id, [*_pairs(claims), *system], lifetime)

    async def negotiate_by_identity(
        self,
        *,
        user_id: str | None = None,
        claims: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        lifetime: int = _LIFETIME,
        detailed_errors: bool = False,
        diagnostic: bool = False,
        close_on_expiration: bool = False,
    ) -> Negotiation:
        """The same with a key that the service lends to the credential, or else the access key."""
        key = await self._rest.temporary_key()
        endpoint = self._rest.endpoint
        if key is not None:
            endpoint = msgspec.structs.replace(endpoint, access_key=key.access_key)
        system = _system_claims(detailed_errors, diagnostic, close_on_expiration, lifetime)
        pairs = [*_pairs(claims), *system]
        return self._issue(endpoint, user_id, pairs, lifetime, key.key_id if key else "0")

    async def generate_token(self, *, user_id: str | None = None, minutes: int = 60) -> str:
        """Let the service make the token with which a client connects."""
        query = [("userId", user_id)] if user_id is not None else []
        query.append(("minutesToExpire", str(minutes)))
        verb = ":generateToken"
        answer = await self._rest.read(_Token, "POST", self.name, verb=verb, query=query)
        return answer.token

    async def execute(self, filter: str, *commands: Command) -> None:  # noqa: A002 the parameter's name
        """Do `commands` for the connections that an OData filter accepts, in that order."""
        await self._rest.call(
            "POST",
            self.name,
            verb=":execute",
            query=[("filter", filter)],
            body=msgspec.json.encode(commands),
            is_message=True,
        )

    def _issue(
        self,
        endpoint: Endpoint,
        user_id: str | None,
        claims: Iterable[tuple[str, Any]],
        lifetime: int,
        key_id: str = "0",
    ) -> Negotiation:
        application = self._rest.application
        hub = f"{application}_{self.name}" if application else self.name
        token = issue_client_token(
            endpoint,
            hub,
            now=int(time.time()),
            lifetime=lifetime,
            user_id=user_id,
            claims=claims,
            key_id=key_id,
        )
        return Negotiation(client_url(endpoint, hub), token)


def _endpoint(connection: str | Endpoint, credential: Credential | None) -> Endpoint:
    if not isinstance(connection, str):
        return connection
    if credential is not None and connection.startswith(("http://", "https://")):
        connection = f"Endpoint={connection};AuthType=azure"
    return parse_connection_string(connection)


def _pairs(claims: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    return claims.items() if isinstance(claims, Mapping) else claims


def _system_claims(
    detailed_errors: bool, diagnostic: bool, close_on_expiration: bool, lifetime: int
) -> list[tuple[str, Any]]:
    claims: list[tuple[str, Any]] = []
    if diagnostic:
        claims.append(("asrs.s.dc", "true"))
    if detailed_errors:
        claims.append(("asrs.s.derror", "True"))
    if close_on_expiration:
        claims += [("asrs.s.coae", "true"), ("asrs.s.aeo", int(time.time()) + lifetime)]
    return claims
