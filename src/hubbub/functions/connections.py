"""The services that the app's settings name: connection strings, several endpoints, and clients.

It finds and chooses endpoints. What is sent to them is the bindings' affair.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hubbub.errors import ConfigError
from hubbub.functions.function import Binding, FunctionError, InvocationError
from hubbub.functions.identity import Login, build_credential, read_section
from hubbub.functions.settings import AppSettings
from hubbub.protocol.endpoints import Endpoint, parse_connection_string

if TYPE_CHECKING:
    from hubbub.client.management import ServiceClient

DEFAULT_SETTING = "AzureSignalRConnectionString"
_ENDPOINTS = "Azure:SignalR:Endpoints"
_NOT_SET = "The SignalR Service connection string or endpoints are not set."
_OFFLINE = 30.0  # seconds that an endpoint which could not be reached counts as offline
Kind = Literal["Primary", "Secondary"]


@dataclass(frozen=True, slots=True)
class NamedEndpoint:
    """One service among those of a setting. The key is no part of who it is."""

    name: str  # "" for the one of the plain connection string
    kind: Kind
    endpoint: Endpoint
    # Of an identity-based connection; None: the access key signs, or what AuthType says.
    login: Login | None = field(default=None, repr=False)

    @property
    def identity(self) -> tuple[str, str, str]:
        """What an output item's `endpoints` names it by."""
        return self.name, self.endpoint.url, self.kind


class Connections:
    """The endpoints of each setting, and one client for each endpoint. Close it when done."""

    def __init__(
        self, settings: AppSettings, credential: Callable[[Login], Any] = build_credential
    ) -> None:
        """`credential` makes a login into what gives tokens."""
        self._settings = settings
        self._credential = credential
        self._found: dict[str, tuple[NamedEndpoint, ...]] = {}
        self._clients: dict[tuple[str, str, str], ServiceClient] = {}
        self._failed_at: dict[str, float] = {}  # by URL

    def endpoints(self, setting: str) -> tuple[NamedEndpoint, ...]:
        """The endpoints of a setting, or a ConfigError that names the setting."""
        found = self._found.get(setting)
        if found is None:
            found = self._found[setting] = self._read(setting)
        return found

    def _read(self, setting: str) -> tuple[NamedEndpoint, ...]:
        listed = [*self._plain(setting), *self._named()]
        if not listed:
            raise ConfigError(self._missing(setting))
        unique: dict[str, NamedEndpoint] = {}
        for entry in sorted(listed, key=lambda entry: entry.kind):  # Primary first
            unique.setdefault(entry.endpoint.url, entry)
        found = tuple(entry for entry in listed if entry in unique.values())
        if all(entry.kind == "Secondary" for entry in found):
            raise ConfigError(
                "No primary endpoint defined. Name one of the endpoints "
                f"{_ENDPOINTS.replace(':', '__')}__NAME or …__NAME__primary."
            )
        return found

    def _plain(self, setting: str) -> list[NamedEndpoint]:
        text = self._settings.connection_string(setting)
        if text is not None:
            return [_endpoint("", "Primary", text, setting)]
        found = read_section(self._settings.below(setting), setting)
        return [] if found is None else [_by_identity("", *found)]

    def _named(self) -> list[NamedEndpoint]:
        """`…__NAME`, `…__NAME__primary` and `…__NAME__secondary`, all of which may be there.

        Where there is a `…__NAME__serviceUri`, the others of that name do not count.
        """
        found = []
        settings = self._settings.below(_ENDPOINTS)
        by_identity = {path.partition(":")[0].lower(): path.partition(":")[0] for path in settings}
        for lower, name in list(by_identity.items()):
            full = f"{_ENDPOINTS}:{name}"
            section = read_section(self._settings.below(full), full.replace(":", "__"))
            if section is None:
                del by_identity[lower]
            else:
                found.append(_by_identity(name, *section))
        for path, text in settings.items():
            name, _, rest = path.partition(":")
            if name.lower() in by_identity:
                continue
            kind: Kind | None = None
            if rest.lower() in {"", "primary"}:
                kind = "Primary"
            elif rest.lower() == "secondary":
                kind = "Secondary"
            if kind is not None and text:
                full = f"{_ENDPOINTS}:{path}".replace(":", "__")
                found.append(_endpoint(name, kind, text, full))
        return found

    def _missing(self, setting: str) -> str:
        return (
            f"{_NOT_SET} Set '{setting}' in the Values of local.settings.json or in the "
            "environment to the service's connection string; `hubbub start` and `hubbub service` "
            "print theirs."
        )

    def place(self, setting: str) -> str:
        """Where a setting stands, for whoever has to change it."""
        return self._settings.place(setting)

    def problem(self, setting: str) -> str | None:
        """What is wrong with a setting before anything is sent, or None."""
        try:
            self.endpoints(setting)
        except ConfigError as error:
            return str(error)
        return None

    def keys(self, setting: str) -> Sequence[str] | None:
        """The access keys that may have signed a webhook.

        None where an endpoint has no key: nothing can be checked then, and the original checks
        nothing.
        """
        keys = [entry.endpoint.access_key for entry in self.endpoints(setting)]
        return None if None in keys else [key for key in keys if key is not None]

    def choose(self, setting: str) -> NamedEndpoint:
        """The endpoint for one client: any online primary, else any online secondary."""
        found = self.endpoints(setting)
        if len(found) == 1:
            return found[0]
        for kind in ("Primary", "Secondary"):
            if online := [e for e in found if e.kind == kind and self.is_online(e)]:
                return random.choice(online)  # noqa: S311  spreads load; nothing depends on it
        raise InvocationError(
            "Azure SignalR Service is not connected yet, please try again later. "
            f"No endpoint of '{setting}' could be reached in the last {_OFFLINE:.0f} seconds."
        )

    def is_online(self, entry: NamedEndpoint) -> bool:
        """Whether the last call to an endpoint did not fail to reach it a moment ago."""
        failed = self._failed_at.get(entry.endpoint.url)
        return failed is None or time.monotonic() - failed > _OFFLINE

    def note(self, entry: NamedEndpoint, *, reached: bool) -> None:
        """Remember whether an endpoint could be reached."""
        if reached:
            self._failed_at.pop(entry.endpoint.url, None)
        else:
            self._failed_at[entry.endpoint.url] = time.monotonic()

    def client(self, entry: NamedEndpoint) -> "ServiceClient":
        """The client of one endpoint."""
        client = self._clients.get(entry.identity)
        if client is None:
            # Imported late: the HTTP client behind it takes a quarter of a second to load.
            from hubbub.client.management import ServiceClient

            credential = None if entry.login is None else self._credential(entry.login)
            client = ServiceClient(entry.endpoint, credential=credential)
            self._clients[entry.identity] = client
        return client

    async def close(self) -> None:
        """Close the HTTP connections of all clients."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()


def _endpoint(name: str, kind: Kind, text: str, setting: str) -> NamedEndpoint:
    try:
        endpoint = parse_connection_string(text)
    except ConfigError as error:
        raise ConfigError(f"The setting '{setting}' cannot be used: {error}") from None
    return NamedEndpoint(name, kind, endpoint)


def _by_identity(name: str, endpoint: Endpoint, kind: str, login: Login) -> NamedEndpoint:
    return NamedEndpoint(name, "Secondary" if kind == "Secondary" else "Primary", endpoint, login)


def setting_name(binding: Binding) -> str:
    """The name of the app setting that holds a binding's connection string."""
    name = str(binding.option("connectionStringSetting", DEFAULT_SETTING)).strip()
    if not name:
        raise FunctionError(
            f"'connectionStringSetting' of the binding '{binding.name}' is empty: "
            "'connectionStringKey' cannot be null or whitespace. Leave it out or name a setting."
        )
    return name


def describe(entry: NamedEndpoint, *, online: bool) -> dict[str, Any]:
    """An endpoint as `signalREndpoints` gives it."""
    return {
        "endpointType": entry.kind,
        "name": entry.name,
        "endpoint": entry.endpoint.url,
        "online": online,
    }
