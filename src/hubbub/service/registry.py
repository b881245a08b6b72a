"""Who is connected, to which hub, as which user, in which groups. Plain functions, no waiting.

It sends nothing. Each audience gives out a snapshot that stays true while a delivery uses it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from hubbub.service.audience import Audience
from hubbub.service.ordering import Order
from hubbub.service.outbox import Outbox
from hubbub.service.session import Connection

__all__ = ["Hub", "Members", "Registry"]

_MANY_GONE: Final = 1024  # names that an order may have beside twice those of the members


class Members:
    """Connections by id, and a snapshot of them that is made anew only after a change.

    Their order by id is kept from the first time on that somebody asks for it.
    """

    __slots__ = ("_by_id", "_order", "_snapshot")

    def __init__(self) -> None:
        self._by_id: dict[str, Connection] = {}
        self._snapshot: Audience | None = None
        self._order: Order | None = None

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._by_id

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.snapshot())

    def __repr__(self) -> str:
        return f"Members({len(self)})"

    def find(self, connection_id: str) -> Connection | None:
        """The connection with this id, `None` where it is no member."""
        return self._by_id.get(connection_id)

    def add(self, connection: Connection) -> None:
        """Make `connection` a member."""
        self._by_id[connection.id] = connection
        if self._order is not None:
            self._order.add(connection.id)
            if len(self._order) > 2 * len(self) + _MANY_GONE:
                self._order = None
        self.refresh()

    def remove(self, connection: Connection) -> bool:
        """End the membership of `connection`; false where it was no member."""
        if self._by_id.pop(connection.id, None) is None:
            return False
        self.refresh()
        return True

    def order(self) -> Order:
        """The ids of the members in order, and of some that have left, to be sorted."""
        if self._order is None or len(self._order) > 2 * len(self) + _MANY_GONE:
            self._order = Order(self._by_id)
        return self._order

    def snapshot(self) -> Audience:
        """The members now. The same object is returned until one joins or leaves."""
        if self._snapshot is None:
            self._snapshot = Audience(self._by_id.values())
        return self._snapshot

    def refresh(self) -> None:
        """What was true of the members when the last snapshot was made is not any more."""
        if self._snapshot is not None:
            self._snapshot.is_current = False
            self._snapshot = None


class Hub:
    """One hub: its connections, users and groups. It exists while it has connections."""

    __slots__ = ("connections", "groups", "name", "outbox", "users")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = Members()
        self.users: dict[str, Members] = {}
        self.groups: dict[str, Members] = {}
        self.outbox = Outbox()

    def __repr__(self) -> str:
        return (
            f"Hub({self.name!r}, connections={len(self.connections)}, users={len(self.users)}, "
            f"groups={len(self.groups)})"
        )


class Registry:
    """All hubs of a node. Hub names are compared ignoring case, all other names as they are."""

    def __init__(self) -> None:
        self._hubs: dict[str, Hub] = {}
        # Of hubs that are gone: what they counted, and those with something to write still.
        self._past = [0, 0]
        self._ending: dict[Outbox, None] = {}
        # Called with a hub's name and a group that has got its first member here, or lost its last.
        self.group_began: Callable[[str, str], None] = _unheard
        self.group_ended: Callable[[str, str], None] = _unheard

    def __repr__(self) -> str:
        return f"Registry({list(self._hubs.values())})"

    def hubs(self) -> tuple[Hub, ...]:
        """The hubs that have connections."""
        return tuple(self._hubs.values())

    @property
    def accepted(self) -> int:
        """How many messages have been accepted for clients here."""
        return self._past[0] + sum(each.accepted for each in self._outboxes())

    @property
    def delivered(self) -> int:
        """The same times the clients that each was for, where it has been written."""
        return self._past[1] + sum(each.delivered for each in self._outboxes())

    def hub(self, name: str) -> Hub | None:
        """The hub, `None` where nobody is connected to it."""
        return self._hubs.get(name.lower())

    def add(self, connection: Connection) -> Hub:
        """Register a connection whose handshake is done: from here on it is sent to."""
        name = connection.hub.lower()
        hub = self._hubs.get(name)
        if hub is None:
            hub = self._hubs[name] = Hub(name)
        hub.connections.add(connection)
        if connection.user_id is not None:
            hub.users.setdefault(connection.user_id, Members()).add(connection)
        return hub

    def remove(self, connection: Connection) -> None:
        """Forget a connection, with all its memberships. It may be unknown."""
        hub = self._hubs.get(connection.hub.lower())
        if hub is None or not hub.connections.remove(connection):
            return
        if connection.user_id is not None:
            _leave(hub.users, connection.user_id, connection)
        for group in connection.groups:
            self._leave_group(hub, group, connection)
        connection.groups = frozenset()
        if not hub.connections:
            del self._hubs[hub.name]
            self._ending[hub.outbox] = None
            hub.outbox.after(partial(self._ended, hub.outbox))

    def refresh(self, connection: Connection) -> None:
        """`connection`, which may be unknown, is to be written to in another way from here on."""
        hub = self._hubs.get(connection.hub.lower())
        if hub is None or hub.connections.find(connection.id) is not connection:
            return
        hub.connections.refresh()
        if connection.user_id is not None:
            hub.users[connection.user_id].refresh()
        for group in connection.groups:
            hub.groups[group].refresh()

    def add_to_group(self, hub: Hub, group: str, connection: Connection) -> None:
        """Put `connection` into `group`; once is enough."""
        members = hub.groups.get(group)
        if members is None:
            members = hub.groups[group] = Members()
            self.group_began(hub.name, group)
        members.add(connection)
        connection.groups |= {group}

    def remove_from_group(self, hub: Hub, group: str, connection: Connection) -> bool:
        """Take `connection` out of `group`; false where it was not in it."""
        if group not in connection.groups:
            return False
        connection.groups -= {group}
        self._leave_group(hub, group, connection)
        return True

    def _outboxes(self) -> Iterator[Outbox]:
        yield from (hub.outbox for hub in self._hubs.values())
        yield from self._ending

    def _ended(self, outbox: Outbox) -> None:
        del self._ending[outbox]
        self._past[0] += outbox.accepted
        self._past[1] += outbox.delivered

    def _leave_group(self, hub: Hub, group: str, connection: Connection) -> None:
        _leave(hub.groups, group, connection)
        if group not in hub.groups:
            self.group_ended(hub.name, group)


def _leave(audiences: dict[str, Members], name: str, connection: Connection) -> None:
    members = audiences[name]
    members.remove(connection)
    if not members:
        del audiences[name]


def _unheard(_hub: str, _group: str) -> None:
    """Nobody listens to other nodes."""
