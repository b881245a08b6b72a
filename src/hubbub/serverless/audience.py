"""Whom a hub sends to, with the methods of its typed clients where it has them.

It chooses names and arguments; the sending is the service client's.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, cast

from msgspec import Struct

from hubbub.errors import ConfigError
from hubbub.serverless.arguments import plain
from hubbub.serverless.context import NoInvocationError
from hubbub.serverless.naming import target_of

__all__ = ["Audience", "HubClients", "Interface", "interface_of"]


class Audience(Protocol):
    """Some clients of a hub that has no typed clients."""

    async def send(self, target: str, *arguments: Any) -> None:
        """Call `target` on these clients, without an answer."""

    async def invoke(self, target: str, *arguments: Any) -> Any:
        """Call `target` and return what the client's method returns. Only for one connection."""


if TYPE_CHECKING:
    # Only checkers need the default, and they bring the module.
    from typing_extensions import TypeVar

    C = TypeVar("C", default=Audience, covariant=True)
else:
    from typing import TypeVar

    C = TypeVar("C", covariant=True)

_UNTYPED: Final = (
    "Write send({target!r}, …), or say which methods clients have: ServerlessHub[ChatClient] with "
    "a typing.Protocol."
)
_TAKEN: Final = frozenset({"send", "invoke"})


class _Call(Struct, frozen=True):
    target: str
    signature: inspect.Signature

    def arguments(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """The arguments in the order of the parameters, those with a default included."""
        bound = self.signature.bind(*arguments, **named)
        bound.apply_defaults()
        return [*bound.args, *bound.kwargs.values()]


class Interface(Struct, frozen=True):
    """The methods of typed clients."""

    name: str
    calls: dict[str, _Call]

    def call(self, name: str) -> _Call:
        """The method `name`, or an `AttributeError` that lists those there are."""
        try:
            return self.calls[name]
        except KeyError:
            there = ", ".join(sorted(self.calls))
            raise AttributeError(f"{self.name} has no method {name!r}, only {there}.") from None


def interface_of(kind: type) -> Interface:
    """The methods that the class or `typing.Protocol` `kind` declares."""
    calls: dict[str, _Call] = {}
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        if name.startswith("_"):
            continue
        if name in _TAKEN:
            raise ConfigError(
                f"{kind.__name__}.{name} has the name of what every audience can do. Give it "
                f"another, and @target({name!r}) above it for the clients."
            )
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1:]
        calls[name] = _Call(target_of(function, name), signature.replace(parameters=parameters))
    if not calls:
        raise ConfigError(
            f"{kind.__name__} declares no methods of clients. Give it one for each target, as in "
            "`async def new_message(self, text: str) -> None: ...`."
        )
    return Interface(kind.__name__, calls)


class _Sender:
    """An audience of the service client, given values that it can encode. Satisfies `Audience`."""

    def __init__(self, audience: Any, interface: Interface | None) -> None:
        self._audience = audience
        self._interface = interface

    def __repr__(self) -> str:
        return f"Sender({self._audience!r})"

    def send(self, target: str, *arguments: Any) -> Any:
        return self._audience.send(target, *map(plain, arguments))

    def invoke(self, target: str, *arguments: Any) -> Any:
        if not hasattr(self._audience, "invoke"):
            raise AttributeError("Only one connection can be asked: use clients.client or caller.")
        return self._audience.invoke(target, *map(plain, arguments))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._interface is None:
            raise AttributeError(f"There is no {name!r} here. {_UNTYPED.format(target=name)}")
        call = self._interface.call(name)

        def send(*arguments: Any, **named: Any) -> Any:
            return self.send(call.target, *call.arguments(arguments, named))

        return send


class HubClients(Generic[C]):
    """Whom to send to. In a coroutine the sends are awaited; in a plain method they block."""

    def __init__(self, clients: Any, interface: Interface | None, caller: str | None) -> None:
        self._clients = clients
        self._interface = interface
        self._caller = caller

    def __repr__(self) -> str:
        return f"HubClients({self._clients!r})"

    @property
    def all(self) -> C:
        """Every client of the hub."""
        return self._to(self._clients.all)

    def all_except(self, connection_ids: Iterable[str]) -> C:
        """Every client but those on `connection_ids`."""
        return self._to(self._clients.all_except(_several(connection_ids)))

    def client(self, connection_id: str) -> C:
        """The client on one connection."""
        return self._to(self._clients.client(connection_id))

    def clients(self, connection_ids: Iterable[str]) -> C:
        """The clients on several connections."""
        return self._to(self._clients.clients(_several(connection_ids)))

    def user(self, user_id: str) -> C:
        """Every connection of one user."""
        return self._to(self._clients.user(user_id))

    def users(self, user_ids: Iterable[str]) -> C:
        """Every connection of several users."""
        return self._to(self._clients.users(_several(user_ids)))

    def group(self, group: str) -> C:
        """Every connection in a group."""
        return self._to(self._clients.group(group))

    def groups(self, groups: Iterable[str]) -> C:
        """Every connection in several groups. Who is in two of them gets what is sent twice."""
        return self._to(self._clients.groups(_several(groups)))

    def group_except(self, group: str, connection_ids: Iterable[str]) -> C:
        """Every connection in a group but those on `connection_ids`."""
        return self._to(self._clients.group_except(group, _several(connection_ids)))

    @property
    def caller(self) -> C:
        """The client whose event is handled."""
        return self.client(self._calling())

    @property
    def others(self) -> C:
        """Every client but the one whose event is handled."""
        return self.all_except([self._calling()])

    def _calling(self) -> str:
        if self._caller is None:
            raise NoInvocationError(
                "No client's event is handled here, so there is no caller and no others. Use "
                "clients.client(connection_id) or clients.all."
            )
        return self._caller

    def _to(self, audience: Any) -> C:
        return cast("C", _Sender(audience, self._interface))


def _several(names: Iterable[str]) -> list[str]:
    """A list; one text would be taken for its letters."""
    if isinstance(names, str):
        raise TypeError(f"Several names are expected, as in [{names!r}], not one text.")
    return list(names)
