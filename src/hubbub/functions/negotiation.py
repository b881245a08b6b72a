"""The input bindings that tell a client where to connect: `signalRConnectionInfo`,
`signalRNegotiation` and `signalREndpoints`. They make tokens and send nothing.
"""

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hubbub.functions.connections import Connections, NamedEndpoint, describe, setting_name
from hubbub.functions.expressions import BindingData, optional_template, required_template
from hubbub.functions.function import Binding, Function, FunctionError, InvocationError
from hubbub.functions.settings import AppSettings

if TYPE_CHECKING:
    from hubbub.client.management import HubContext
    from hubbub.client.management import Negotiation as Negotiated


class _Negotiator:
    """What `signalRConnectionInfo` and `signalRNegotiation` have in common."""

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        self.function = function.name
        self.setting = setting_name(binding)
        self._hub = required_template(binding, "hubName", settings)
        self._user = optional_template(binding, "userId", settings)
        self._token = optional_template(binding, "idToken", settings)
        self._connections = connections
        claims = binding.option("claimTypeList", [])
        if not isinstance(claims, list):
            raise FunctionError("'claimTypeList' must be a list of claim types.")
        self._claims = frozenset(map(str, claims))

    async def info(self, data: BindingData, *endpoints: NamedEndpoint) -> list[dict[str, str]]:
        """Address and token of each endpoint, for one invocation."""
        user = None if self._user is None else self._user.evaluate(data, self.function)
        claims: list[tuple[str, Any]] = []
        if self._token is not None and self._claims:
            claims = list(_claims(self._token.evaluate(data, self.function), self._claims))
        hub = self._hub.evaluate(data, self.function)
        if not hub:
            raise InvocationError("the binding's 'hubName' is empty; give the hub a name.")
        found = []
        for entry in endpoints:
            client = self._connections.client(entry)
            if entry.endpoint.access_key is not None:
                issued = client.hub(hub).negotiate(user_id=user, claims=claims)
            else:
                issued = await self._lent(entry, client.hub(hub), user, claims)
            found.append({"url": issued.url, "accessToken": issued.access_token})
        return found

    async def _lent(
        self,
        entry: NamedEndpoint,
        hub: "HubContext",
        user: str | None,
        claims: list[tuple[str, Any]],
    ) -> "Negotiated":
        """Have the token signed with a key that the service lends to this identity."""
        try:
            return await hub.negotiate_by_identity(user_id=user, claims=claims)
        except Exception as error:  # the SDK's own kinds of errors are not known here
            raise InvocationError(
                f"no token could be made for {entry.endpoint.url} with the identity of the setting "
                f"'{self.setting}': {type(error).__name__}: {str(error).partition(chr(10))[0]}. "
                "The identity needs the role SignalR Service Owner or SignalR App Server."
            ) from error


class ConnectionInfo:
    """`signalRConnectionInfo`: address and token for a client. Satisfies `InputBinding`."""

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        self._negotiator = _Negotiator(binding, function, settings, connections)
        self._connections = connections

    async def value(self, data: BindingData) -> str:
        """The JSON text `{"url": …, "accessToken": …}`."""
        entry = self._connections.choose(self._negotiator.setting)
        return json.dumps((await self._negotiator.info(data, entry))[0])


class Negotiation:
    """`signalRNegotiation`: every endpoint with a token for it. Satisfies `InputBinding`."""

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        self._negotiator = _Negotiator(binding, function, settings, connections)
        self._connections = connections

    async def value(self, data: BindingData) -> str:
        """The JSON text `{"endpoints": [{…, "connectionInfo": {…}}]}`."""
        entries = self._connections.endpoints(self._negotiator.setting)
        infos = await self._negotiator.info(data, *entries)
        listed = [
            describe(entry, online=self._connections.is_online(entry)) | {"connectionInfo": info}
            for entry, info in zip(entries, infos, strict=True)
        ]
        return json.dumps({"endpoints": listed})


class Endpoints:
    """`signalREndpoints`: the endpoints of the setting. Satisfies `InputBinding`."""

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        required_template(binding, "hubName", settings)
        self._setting = setting_name(binding)
        self._connections = connections

    async def value(self, data: BindingData) -> str:
        """The JSON text of a list of endpoints."""
        return json.dumps(
            [
                describe(entry, online=self._connections.is_online(entry))
                for entry in self._connections.endpoints(self._setting)
            ]
        )


def _claims(token: str, wanted: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The claims of the wanted types in an id token, whose issuer the platform has checked.

    The signature is not verified here: whoever fills the header that
    `idToken` names must be trusted.
    """
    try:
        part = token.split(".")[1]
        payload = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        members = payload.items()
    except (IndexError, ValueError, AttributeError, RecursionError) as error:
        raise InvocationError("the binding's 'idToken' is no JSON web token.") from error
    for name, value in members:
        if name in wanted:
            for single in value if isinstance(value, list) else [value]:
                yield name, single
