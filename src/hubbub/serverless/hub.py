"""The class that users derive their hubs from, and how it becomes functions of an app.

class Chat(ServerlessHub):
    async def broadcast(self, text: str) -> None:
        await self.clients.all.send("newMessage", self.context.user_id, text)

chat = Chat().register(app)
"""

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, Self
from weakref import WeakKeyDictionary

from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import Endpoint
from hubbub.serverless.audience import Audience, C, HubClients, Interface, interface_of
from hubbub.serverless.context import InvocationContext, NoInvocationError, current
from hubbub.serverless.filters import checks_of
from hubbub.serverless.link import ConnectionInfo, Link
from hubbub.serverless.methods import HubMethod, function_for, methods_of

if TYPE_CHECKING:
    from hubbub.client.groups import Groups, UserGroups
    from hubbub.client.identity import Credential
    from hubbub.client.management import HubContext
    from hubbub.client.presence import ClientManager

__all__ = ["FunctionRegister", "ServerlessHub"]

_SETTING: Final = "AzureSignalRConnectionString"
_LIFETIME: Final = 3600  # seconds, as in the original
_HUB_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,100}")
_HUB_NAME_RULE: Final = (
    "A hub's name is letters, digits, '_' and '.', begins with a letter, and has at most 101 "
    'characters. Rename the class, or write class Chat(ServerlessHub, hub_name="chat").'
)


class FunctionRegister(Protocol):
    """The part of `func.FunctionApp` and `func.Blueprint` that is needed here."""

    def function_name(self, name: str) -> Callable[..., Any]:
        """A decorator that names a function."""

    def generic_trigger(self, arg_name: str, type: str, **kwargs: Any) -> Callable[..., Any]:  # noqa: A002 the library's name
        """A decorator that gives a function a trigger of any type."""


# The hubs of each app, by name in lower case: a service tells hubs apart ignoring case.
_registered: WeakKeyDictionary[Any, dict[str, type]] = WeakKeyDictionary()


class ServerlessHub(Generic[C]):
    """A hub: clients call its public methods, and it calls clients.

    The class's name is the hub's, unless `hub_name` says otherwise. `connection` names the app
    setting with the connection string of the service. One object serves all invocations, at the
    same time, so what belongs to one of them is in `context` and not in attributes.
    """

    hub_name: ClassVar[str] = ""
    _setting: ClassVar[str] = _SETTING
    _methods: ClassVar[tuple[HubMethod, ...]] = ()
    _interface: ClassVar[Interface | None] = None
    _link: Link | None = None

    def __init_subclass__(
        cls, *, hub_name: str | None = None, connection: str | None = None, **options: Any
    ) -> None:
        super().__init_subclass__(**options)
        public = {name for name in vars(ServerlessHub) if not name.startswith("_")}
        cls._methods = methods_of(cls, public, ServerlessHub)
        cls._interface = _interface(cls)
        cls.hub_name = hub_name if hub_name is not None else cls.__name__
        if not _HUB_NAME.fullmatch(cls.hub_name):
            raise ConfigError(f"{cls.hub_name!r} cannot be a hub's name. {_HUB_NAME_RULE}")
        if connection is not None:
            if not connection.strip():
                raise ConfigError(f"{cls.__name__}: 'connection' is empty; name an app setting.")
            cls._setting = connection

    def __init__(
        self,
        connection: str | Endpoint | None = None,
        *,
        credential: "Credential | None" = None,
    ) -> None:
        """Without a connection string, the app setting has it: `AzureSignalRConnectionString`.

        A `credential` of Microsoft Entra takes the place of an access key.
        """
        self._link = Link(self.hub_name, self._setting, connection, credential)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hub_name!r})"

    @property
    def context(self) -> InvocationContext:
        """The event that is handled: of which connection and user, with which claims."""
        context = current()
        if context is None:
            raise NoInvocationError(
                f"{type(self).__name__}.context is there only while a client's event is handled. "
                "A thread of your own needs a copy: contextvars.copy_context().run(…)."
            )
        return context

    @property
    def clients(self) -> HubClients[C]:
        """Whom to send to."""
        context = current()
        caller = context.connection_id if context is not None else None
        return HubClients(self._hub.clients, self._interface, caller)

    @property
    def groups(self) -> "Groups":
        """Which connection is in which group."""
        return self._hub.groups

    @property
    def user_groups(self) -> "UserGroups":
        """Which user is in which group, with all connections."""
        return self._hub.user_groups

    @property
    def client_manager(self) -> "ClientManager":
        """Who is there, and sending them away."""
        return self._hub.client_manager

    def negotiate(
        self,
        user_id: str | None = None,
        claims: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        lifetime: int = _LIFETIME,
    ) -> ConnectionInfo:
        """Issue address and token for a client; `lifetime` is seconds. Nobody is asked for it."""
        return self._to_service.negotiate(user_id, claims, lifetime)

    async def negotiate_by_identity(
        self,
        user_id: str | None = None,
        claims: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        lifetime: int = _LIFETIME,
    ) -> ConnectionInfo:
        """The same where a credential takes the place of an access key; the service is asked."""
        return await self._to_service.negotiate_by_identity(user_id, claims, lifetime)

    def register(self, app: FunctionRegister) -> Self:
        """Make a function of each method and event, in a `func.FunctionApp` or a blueprint.

        They have generic triggers alone, so any host of Azure Functions runs them.
        """
        if not callable(getattr(app, "generic_trigger", None)):
            raise ConfigError(f"register takes a func.FunctionApp or func.Blueprint, not {app!r}.")
        if not self._methods:
            raise ConfigError(
                f"{type(self).__name__} has no public methods, so there is nothing that a client "
                "could call. Add one, or on_connected or on_disconnected."
            )
        self._claim_name(app)
        for method in self._methods:
            checks = checks_of(type(self), method.function)
            function = function_for(self, method, checks, lambda: self._hub)
            _describe(function, f"{self.hub_name.replace('.', '_')}_{method.name}", method)
            app.function_name(name=function.__name__)(
                app.generic_trigger(
                    arg_name="invocation",
                    type="signalRTrigger",
                    hub_name=self.hub_name,
                    category=method.category,
                    event=method.event,
                    connection_string_setting=self._setting,
                )(function)
            )
        return self

    async def close(self) -> None:
        """Close the connections to the service. A host's end does that too."""
        await self._to_service.close()

    @property
    def _to_service(self) -> Link:
        if self._link is None:  # the subclass has an __init__ of its own
            self._link = Link(self.hub_name, self._setting, None, None)
        return self._link

    @property
    def _hub(self) -> "HubContext":
        context: HubContext = self._to_service.hub
        return context

    def _claim_name(self, app: FunctionRegister) -> None:
        names = _registered.setdefault(app, {})
        other = names.get(self.hub_name.lower())
        if other is not None:
            raise ConfigError(
                f"Two hubs of this app have the name {self.hub_name!r}, ignoring case: "
                f"{other.__qualname__} and {type(self).__qualname__}. Register each hub once, and "
                'rename one of two: class Chat(ServerlessHub, hub_name="chat").'
            )
        names[self.hub_name.lower()] = type(self)


def _interface(hub: type) -> Interface | None:
    """The methods of typed clients: what stands in the brackets of ServerlessHub[…]."""
    for kind in hub.__mro__:
        for written in vars(kind).get("__orig_bases__", ()):
            origin = typing.get_origin(written)
            if not (isinstance(origin, type) and issubclass(origin, ServerlessHub)):
                continue
            found = typing.get_args(written)[0]
            if isinstance(found, typing.ForwardRef):
                found = _look_up(found.__forward_arg__, kind)
            if isinstance(found, type):
                return None if found is Audience else interface_of(found)
    return None


def _look_up(name: str, kind: type) -> Any:
    try:
        return getattr(sys.modules[kind.__module__], name)
    except AttributeError:
        raise ConfigError(
            f"ServerlessHub[{name!r}] of {kind.__name__}: its module has no {name} above it."
        ) from None


def _describe(function: Callable[..., Any], name: str, method: HubMethod) -> None:
    """Let hosts say where the app has the method, though they call the function around it."""
    signature = inspect.signature(function)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = method.function.__doc__
    vars(function).update(__wrapped__=method.function, __signature__=signature)
