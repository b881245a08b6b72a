"""Connections that come and go, seen from the other nodes: what is listened to on their behalf.

A handshake is answered when everything that is sent to the client from then on arrives here.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hubbub.service.cluster.channel import (
    connection_channel,
    group_channel,
    hub_channel,
    user_channel,
)
from hubbub.service.cluster.subscriptions import LINGER, Subscriptions
from hubbub.service.cluster.unreached import What
from hubbub.service.session import Connection
from hubbub.service.store import StoreError

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["Arrivals"]

_logger = logging.getLogger("hubbub.service")
_User = tuple[str, str]  # hub, user


class _Arrival:
    """A connection whose handshake is still to be answered."""

    __slots__ = ("is_stale", "user")

    def __init__(self, user: _User | None) -> None:
        self.user = user
        self.is_stale = False  # the user's groups have changed since they were read


class Arrivals:
    """What the connections of a node hold, from their beginning to their end."""

    def __init__(
        self,
        node: "Node",
        subscriptions: Subscriptions,
        unreached: Callable[[What, str], object],
    ) -> None:
        """`unreached` says what is amiss because others cannot be reached."""
        self._node = node
        self._unreached = unreached
        self._subscriptions = subscriptions
        self._arriving: set[_Arrival] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._groups: dict[str, tuple[str, ...]] = {}
        # Connections that were let in though the groups of their users are not known.
        self._unread: dict[str, Connection] = {}
        self._catching_up: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Arrivals(arriving={len(self._arriving)}, unread={len(self._unread)})"

    def arrived(self, connection: Connection) -> None:
        """A connection has begun: begin to listen to what may be sent to it."""
        for channel in _channels(connection):
            self._subscriptions.hold(channel)

    def channels_of(self, hub: str, user_id: str | None) -> tuple[str, ...]:
        """The channels that all connections of a hub and a user share."""
        if user_id is None:
            return (hub_channel(hub),)
        return hub_channel(hub), user_channel(hub, user_id)

    def left(self, connection: Connection) -> None:
        """A connection is gone for good."""
        hub, own, *user = _channels(connection)
        tickets = self._node.tickets
        # Who comes with its token is to hear, wherever that is, that it is used up.
        keep = connection.token_expires - tickets.clock()
        self._subscriptions.release(own, max(keep, 0.0))
        for channel in (hub, *user):
            self._subscriptions.release(channel)
        self._unread.pop(connection.id, None)

    def admits(self, connection: Connection) -> bool:
        """Whether nothing has to be waited for; else its `admit` is called in time."""
        groups: tuple[str, ...] | None = ()
        if connection.user_id is not None:
            known = self._node.store.known_groups_of(connection.hub.lower(), connection.user_id)
            groups = tuple(known) if known is not None else None
        if groups is not None and self._hears(connection, groups):
            self._groups[connection.id] = groups
            return True
        task = asyncio.get_running_loop().create_task(self._admit(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return False

    def groups_of(self, connection: Connection) -> Iterable[str]:
        """The stored groups of a connection that is being let in."""
        return self._groups.pop(connection.id, ())

    def touch(self, hub: str, user_id: str) -> None:
        """The stored groups of a user are changed: what was read of them is of no use."""
        for arrival in self._arriving:
            if arrival.user == (hub, user_id):
                arrival.is_stale = True

    @property
    def is_caught_up(self) -> bool:
        """Whether all are in the groups of their users."""
        return not self._unread

    def catch_up(self) -> None:
        """The store can be read: put those who were let in without it into their groups."""
        if self._unread and self._catching_up is None:
            self._catching_up = asyncio.get_running_loop().create_task(self._read_all())
            self._tasks.add(self._catching_up)
            self._catching_up.add_done_callback(self._caught_up)

    def _caught_up(self, task: asyncio.Task[None]) -> None:
        self._catching_up = None
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("reading the groups of users failed", exc_info=error)

    async def _read_all(self) -> None:
        for connection in tuple(self._unread.values()):
            arrival = _Arrival(_user(connection))
            self._arriving.add(arrival)
            try:
                groups = await self._read(connection, arrival)
            finally:
                self._arriving.discard(arrival)
            if not connection.is_established:
                self._unread.pop(connection.id, None)
            elif groups is None:
                return  # the next time may be better
            hub = self._node.registry.hub(connection.hub)
            if hub is not None and connection.id in hub.connections:
                for group in groups or ():
                    self._node.registry.add_to_group(hub, group, connection)

    async def close(self) -> None:
        """Let nobody in any more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hears(self, connection: Connection, groups: Iterable[str]) -> bool:
        """Whether all that is sent to the connection would arrive here."""
        channels = [group_channel(connection.hub, group) for group in groups]
        listened = self._subscriptions
        return all(channel in listened for channel in channels) and not listened.waits_for(
            (*_channels(connection), *channels)
        )

    async def _admit(self, connection: Connection) -> None:
        arrival = _Arrival(_user(connection))
        self._arriving.add(arrival)
        held: set[str] = set()
        try:
            async with asyncio.timeout(self._node.settings.answer_timeout):
                await self._prepare(connection, arrival, held)
        except TimeoutError:
            self._unread[connection.id] = connection
            text = "a client is let in before other nodes can reach it."
            self._unreached(What.UNKNOWN, text)
        except Exception:  # this client is let in all the same
            self._unread[connection.id] = connection
            _logger.exception("letting %r in was not prepared", connection)
        finally:
            self._arriving.discard(arrival)
        try:
            connection.admit()
        finally:
            self._groups.pop(connection.id, None)
            if not connection.is_established:
                self._unread.pop(connection.id, None)
            for channel in held:
                self._subscriptions.release(channel, LINGER)

    async def _prepare(self, connection: Connection, arrival: _Arrival, held: set[str]) -> None:
        await self._subscriptions.settled(_channels(connection))
        arrival.is_stale = True
        while arrival.is_stale:
            groups = await self._read(connection, arrival) or ()
            self._groups[connection.id] = tuple(groups)
            for channel in {group_channel(connection.hub, group) for group in groups} - held:
                self._subscriptions.hold(channel)
                held.add(channel)
            await self._subscriptions.settled(held)

    async def _read(self, connection: Connection, arrival: _Arrival) -> Iterable[str] | None:
        """The user's groups, which nobody has changed meanwhile; `None` where they are unknown."""
        arrival.is_stale = True
        groups: Iterable[str] | None = None
        while arrival.is_stale:
            arrival.is_stale = False
            groups = await self._stored(connection)
        return groups

    async def _stored(self, connection: Connection) -> Iterable[str] | None:
        """The user's groups, `None` where the store cannot be read now."""
        if connection.user_id is None:
            return ()
        try:
            groups = await self._node.store.groups_of(connection.hub.lower(), connection.user_id)
        except StoreError as error:
            self._unreached(What.GROUPS, f"a user's groups could not be read: {error}")
            self._unread[connection.id] = connection
            return None
        self._unread.pop(connection.id, None)
        return groups


def _channels(connection: Connection) -> tuple[str, ...]:
    shared = hub_channel(connection.hub), connection_channel(connection.id)
    if connection.user_id is None:
        return shared
    return *shared, user_channel(connection.hub, connection.user_id)


def _user(connection: Connection) -> _User | None:
    if connection.user_id is None:
        return None
    return connection.hub.lower(), connection.user_id
