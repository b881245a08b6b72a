"""The SignalR bindings: connection info for a client, and messages and group actions to send.

They speak to the service through `ServiceClient` alone, as an app anywhere else would.
"""

import base64
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hubbub.errors import ConfigError, ServiceError
from hubbub.functions.bindings import json_items
from hubbub.functions.expressions import BindingData, Template, parse_template, resolve_settings
from hubbub.functions.function import Binding, Function, FunctionError, InvocationError
from hubbub.functions.settings import AppSettings
from hubbub.functions.signalritems import GroupAction, Message, parse_item

if TYPE_CHECKING:
    from hubbub.client.management import HubContext, ServiceClient

DEFAULT_SETTING = "AzureSignalRConnectionString"


class Connections:
    """The clients of the services that the app's settings name, one for each setting."""

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._clients: dict[str, ServiceClient] = {}

    def client(self, setting: str) -> "ServiceClient":
        """The client for a setting's connection string, or a ConfigError that names the setting."""
        client = self._clients.get(setting)
        if client is None:
            # Imported late: the HTTP client behind it takes a quarter of a second to load.
            from hubbub.client.management import ServiceClient

            text = self._settings.connection_string(setting)
            if text is None:
                raise ConfigError(self._missing(setting))
            try:
                client = ServiceClient(text)
            except ConfigError as error:
                raise ConfigError(f"The setting '{setting}' cannot be used: {error}") from None
            self._clients[setting] = client
        return client

    def _missing(self, setting: str) -> str:
        text = "The SignalR Service connection string or endpoints are not set."
        if self._settings.find(f"{setting}:serviceUri") is not None:
            return (
                f"{text} '{setting}__serviceUri' names a service without an access key; this host "
                f"needs a connection string with a key in '{setting}'."
            )
        return (
            f"{text} Set '{setting}' in the Values of local.settings.json or in the environment "
            "to the service's connection string; `hubbub start` and `hubbub service` print theirs."
        )

    def problem(self, setting: str) -> str | None:
        """What is wrong with a setting before anything is sent, or None."""
        from hubbub.protocol.endpoints import parse_connection_string

        text = self._settings.connection_string(setting)
        if text is None:
            return self._missing(setting)
        try:
            parse_connection_string(text)
        except ConfigError as error:
            return f"The setting '{setting}' cannot be used: {error}"
        return None

    async def close(self) -> None:
        """Close the HTTP connections of all clients."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()


class _Hub:
    """Which hub of which service a binding is for."""

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        self.function = function.name
        self.setting = setting_name(binding)
        self._template = required_template(binding, "hubName", settings)
        self._connections = connections

    def open(self, data: BindingData) -> "HubContext":
        """The hub for one invocation."""
        name = self._template.evaluate(data, self.function)
        if not name:
            raise InvocationError("the binding's 'hubName' is empty; give the hub a name.")
        return self._connections.client(self.setting).hub(name)

    @property
    def address(self) -> str:
        """The service's address, for messages."""
        return self._connections.client(self.setting).endpoint.url


def setting_name(binding: Binding) -> str:
    """The name of the app setting that holds a binding's connection string."""
    name = str(binding.option("connectionStringSetting", DEFAULT_SETTING)).strip()
    if not name:
        raise FunctionError(
            f"'connectionStringSetting' of the binding '{binding.name}' is empty: "
            "'connectionStringKey' cannot be null or whitespace. Leave it out or name a setting."
        )
    return name


def required_template(binding: Binding, name: str, settings: AppSettings) -> Template:
    """A binding's text with expressions; a FunctionError where it is absent."""
    template = optional_template(binding, name, settings)
    if template is None or not template.parts:
        raise FunctionError(f"the {binding.type} binding '{binding.name}' needs a '{name}'.")
    return template


def optional_template(binding: Binding, name: str, settings: AppSettings) -> Template | None:
    """A binding's text with expressions, or None where it is absent."""
    text = binding.option(name)
    if text is None:
        return None
    return parse_template(resolve_settings(str(text), settings.find))


class ConnectionInfo:
    """`signalRConnectionInfo`: address and token for a client. Satisfies `InputBinding`."""

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        self._hub = _Hub(binding, function, settings, connections)
        self._user = optional_template(binding, "userId", settings)
        self._token = optional_template(binding, "idToken", settings)
        claims = binding.option("claimTypeList", [])
        if not isinstance(claims, list):
            raise FunctionError("'claimTypeList' must be a list of claim types.")
        self._claims = frozenset(map(str, claims))

    async def value(self, data: BindingData) -> str:
        """The JSON text `{"url": …, "accessToken": …}`."""
        function = self._hub.function
        user = None if self._user is None else self._user.evaluate(data, function)
        claims: list[tuple[str, Any]] = []
        if self._token is not None and self._claims:
            claims = list(_claims(self._token.evaluate(data, function), self._claims))
        negotiation = self._hub.open(data).negotiate(user_id=user, claims=claims)
        return json.dumps({"url": negotiation.url, "accessToken": negotiation.access_token})


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


class SignalROutput:
    """The `signalR` output: messages and group actions. Satisfies `OutputBinding`."""

    takes_none = False

    def __init__(
        self, binding: Binding, function: Function, settings: AppSettings, connections: Connections
    ) -> None:
        self._name = binding.name
        self._hub = _Hub(binding, function, settings, connections)

    def encode(self, value: Any) -> list[Message | GroupAction]:
        """All items, checked before the first is sent."""
        try:
            return [parse_item(item) for item in json_items(value, "signalR")]
        except InvocationError as error:
            raise InvocationError(f"output '{self._name}': {error}") from None

    async def send(self, encoded: Any, data: BindingData) -> None:
        """Send the items one after the other, in their order."""
        if not encoded:
            return
        hub = self._hub.open(data)
        try:
            for item in encoded:
                await _send_item(hub, item)
        except ServiceError as error:
            raise InvocationError(
                f"output '{self._name}' could not be sent to {self._hub.address}, the service of "
                f"the setting '{self._hub.setting}': {error}"
            ) from None


async def _send_item(hub: "HubContext", item: Message | GroupAction) -> None:
    if isinstance(item, GroupAction):
        groups = hub.groups if item.member == "connection" else hub.user_groups
        if item.action == "add":
            await groups.add(item.name, item.group)
        elif item.action == "remove":
            await groups.remove(item.name, item.group)
        else:
            await groups.remove_all(item.name)
        return
    audiences: dict[str, Callable[[str], Any]] = {
        "connection": hub.clients.client,
        "user": hub.clients.user,
        "group": hub.clients.group,
    }
    audience = audiences[item.audience](item.name) if item.name else hub.clients.all
    await audience.send(item.target, *item.arguments)
