"""The one verb that sends: `Router.deliver`. It finds the audience of an envelope and no more."""

from typing import Final

from msgspec import Struct

from hubbub.service.outbox import Delivery
from hubbub.service.registry import Hub, Registry
from hubbub.service.session import Connection
from hubbub.service.wire import Sendable

__all__ = ["Address", "Envelope", "Everyone", "Group", "One", "Router", "Several", "User"]

_NOBODY: Final[tuple[Connection, ...]] = ()


class Everyone(Struct, frozen=True):
    """Every connection of a hub."""

    hub: str


class Group(Struct, frozen=True):
    """Every connection in a group of a hub."""

    hub: str
    group: str


class User(Struct, frozen=True):
    """Every connection of a user of a hub."""

    hub: str
    user_id: str


class One(Struct, frozen=True):
    """One connection of a hub."""

    hub: str
    connection_id: str


class Several(Struct, frozen=True):
    """Connections of a hub that somebody has chosen."""

    hub: str
    connection_ids: tuple[str, ...]


Address = Everyone | Group | User | One | Several


class Envelope(Struct, frozen=True):
    """A message and its address. Connections with an id in `excluded` do not get it."""

    address: Address
    message: Sendable
    excluded: frozenset[str] = frozenset()


class Router:
    """Takes envelopes from wherever they come and puts them into outboxes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __repr__(self) -> str:
        return f"Router({self._registry!r})"

    def deliver(self, envelope: Envelope) -> None:
        """Send to whoever has the address now. Nobody there is no error."""
        hub = self._registry.hub(envelope.address.hub)
        if hub is None:
            return
        audience = _audience(hub, envelope.address)
        if audience:
            hub.outbox.put(Delivery(audience, envelope.excluded, envelope.message))


def _audience(hub: Hub, address: Address) -> tuple[Connection, ...]:
    match address:
        case Everyone():
            return hub.connections.snapshot()
        case Group(group=group):
            members = hub.groups.get(group)
        case User(user_id=user_id):
            members = hub.users.get(user_id)
        case One(connection_id=connection_id):
            connection = hub.connections.find(connection_id)
            return (connection,) if connection is not None else _NOBODY
        case Several(connection_ids=connection_ids):
            found = map(hub.connections.find, connection_ids)
            return tuple(connection for connection in found if connection is not None)
    return members.snapshot() if members is not None else _NOBODY
