"""One node: everything that one process of the service holds, and its clock."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from hubbub.protocol.messages import (
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    StreamInvocation,
)
from hubbub.service.access import ClientAccess, Refusal
from hubbub.service.outbox import Delivery
from hubbub.service.registry import Registry
from hubbub.service.results import Results
from hubbub.service.router import Router
from hubbub.service.session import TOO_SLOW, Connection, State
from hubbub.service.settings import ServiceSettings
from hubbub.service.store import MemoryStore, Store
from hubbub.service.tickets import (
    NODE_ID_BYTES,
    Tickets,
    connection_id_of,
    new_connection_id,
)
from hubbub.service.transports.transport import Transport
from hubbub.service.upstream.dispatcher import Upstream
from hubbub.service.wire import EncodedMessage

if TYPE_CHECKING:
    from hubbub.service.cluster.cluster import Cluster

__all__ = ["Node"]

_logger = logging.getLogger("hubbub.service")
# Keep-alive is looked after once a second, in this many slices, so that pings never come in bursts.
_SLICES: Final = 10
_DRAIN_PAUSE: Final = 0.1  # seconds between two steps of letting clients go
_DRAIN_AT_ONCE: Final = 50  # connections; so many at least go in one step
_NO_UPSTREAM: Final = (
    "This service has no upstream configured, so nobody can receive what clients send."
)


class Node:
    """The hubs and connections of one process. Satisfies `Owner`."""

    def __init__(self, settings: ServiceSettings, store: Store | None = None) -> None:
        """`store` is open, and stays its opener's to close. Default: nothing outlives the node."""
        self.settings = settings
        self.store = store if store is not None else MemoryStore()
        self.results = Results()
        self.upstream = Upstream(settings)
        self.id = secrets.token_hex(NODE_ID_BYTES)
        self.registry = Registry()
        self.router = Router(self.registry)
        self.tickets = Tickets(settings, issuer=lambda: self.id)
        self.cluster: Cluster | None = None  # the other nodes, where there are any
        self._connections: dict[str, Connection] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep: Iterator[None] = iter(())
        self._is_draining = False
        # What is refused, by way and status, and who is let go because of being slow.
        self.refused: Counter[tuple[str, int]] = Counter()
        self.slow_closes = 0

    def __repr__(self) -> str:
        return f"Node({self.id!r}, connections={len(self._connections)}, {self.registry!r})"

    @property
    def connections(self) -> Collection[Connection]:
        """All connections, those among them whose handshake is still to come."""
        return self._connections.values()

    def use_keys(self, access_keys: tuple[str, ...]) -> None:
        """Go by other access keys from here on. Who is connected stays so."""
        self.settings = replace(self.settings, access_keys=access_keys)
        self.tickets.use(self.settings)
        self.upstream.courier.use_keys(access_keys)

    def open(self) -> None:
        """Start looking after connections. Needs a running loop."""
        self.upstream.open()
        self._tick()

    def close(self) -> None:
        """Close every connection in a way that lets clients connect again."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self._connections.values()):
            connection.close(Close(allow_reconnect=True))

    def drain(self) -> Iterator[float]:
        """Let every client go and connect elsewhere; yield the seconds to wait between steps.

        A few go at once, many are spread over the settings' drain window. None comes back here.
        Clients with stateful reconnect take their connections with them, where there are other
        nodes; they have the same time for that.
        """
        self._is_draining = True
        moves = self.cluster is not None and self.cluster.life.has_heirs
        connections = tuple(self._connections.values())
        steps = max(1.0, self.settings.drain_window / _DRAIN_PAUSE)
        size = max(_DRAIN_AT_ONCE, round(len(connections) / steps))
        for start in range(0, len(connections), size):
            for connection in connections[start : start + size]:
                if moves and connection.is_resumable:
                    connection.cut()
                else:
                    self.dismiss(connection, Close(allow_reconnect=True))
            if start + size < len(connections):
                yield _DRAIN_PAUSE
        for _ in range(round(steps)):
            if not any(each.state is State.DETACHED for each in self._connections.values()):
                break
            yield _DRAIN_PAUSE
        for connection in tuple(self._connections.values()):
            self.dismiss(connection, Close(allow_reconnect=True))

    def find(self, access: ClientAccess) -> Connection | None:
        """The connection that a request belongs to, `None` where it is not on this node.

        Raises `Refusal` where it is another hub's or another user's.
        """
        connection_id = connection_id_of(access.connection_token or "")
        if connection_id is None:
            return None
        return self.find_by_id(connection_id, access.hub, access.user_id)

    def find_by_id(self, connection_id: str, hub: str, user_id: str | None) -> Connection | None:
        """The same for who has the id from the token already."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return None
        if connection.hub.lower() != hub.lower():
            raise Refusal(404, "No Connection with that ID")
        if connection.user_id != user_id:
            raise Refusal(403, "The connection belongs to another user.")
        return connection

    def has_to_ask(self, access: ClientAccess) -> bool:
        """Whether a connection that is not here may be on another node."""
        return (
            self.cluster is not None
            and access.connection_token is not None
            and self.find(access) is None
        )

    @property
    def is_drained(self) -> bool:
        """Whether no client is left after `drain`, and the app has heard so."""
        clients = self._connections.values()
        return not self.upstream.is_busy and not any(client.is_live for client in clients)

    @property
    def is_draining(self) -> bool:
        """Whether clients are let go, and none is let in."""
        return self._is_draining

    def check_open(self) -> None:
        """Raise `Refusal` where no client is let in any more."""
        if self._is_draining:
            raise Refusal(503, "The service is stopping.")

    def check_negotiable(self) -> None:
        """The same for who only asks for a token, which any other node takes too."""
        if self.cluster is None or not self.cluster.life.has_heirs:
            self.check_open()

    def check(self, access: ClientAccess) -> None:
        """Raise the `Refusal` that `connect` would be answered with, if any."""
        self.check_open()
        if access.connection_token is None:
            return  # negotiation may be left out
        connection = self.find(access)
        if connection is None:
            self.tickets.open(access)
        else:
            self.check_resumable(connection)

    def check_resumable(self, connection: Connection) -> None:
        """Raise `Refusal` where no client can go on with a connection.

        A client that comes back to what has been forgotten has left its old socket: that ends here,
        even if its loss would be noticed only later, and the client begins anew.
        """
        if connection.is_resumable:
            return
        if connection.state is State.OPEN and connection.replay is not None:
            connection.leave()
        if connection.state in {State.HANDSHAKE, State.OPEN}:
            raise Refusal(409, "The connection is in use.")
        raise Refusal(404, "No Connection with that ID")

    def connect(self, access: ClientAccess, transport: Transport) -> Connection:
        """The connection that `transport` carries from here on.

        It is a new one, or one with stateful reconnect whose client has come back. Raises `Refusal`
        as `check` does.
        """
        if access.connection_token is None:
            connection = Connection(new_connection_id(), access, transport, self)
        else:
            self.check(access)
            found = self.find(access)
            if found is not None:
                found.attach(transport, access)
                return found
            ticket = self.tickets.open(access)
            connection = Connection(ticket.connection_id, access, transport, self, ticket)
        self._connections[connection.id] = connection
        if self.cluster is not None:
            self.cluster.arrived(connection)
        return connection

    def admits(self, connection: Connection) -> bool:
        """Whether a handshake can be answered at once: where there are others, they come first."""
        return self.cluster is None or self.cluster.admits(connection)

    def adopt(self, connection: Connection) -> None:
        """Keep a connection that another node had, before anything is sent to it here."""
        self._connections[connection.id] = connection

    def release(self, connection: Connection) -> None:
        """Let go of a connection that another node goes on with."""
        self._connections.pop(connection.id, None)
        self.registry.remove(connection)
        self.results.lost(connection.id)

    def opened(self, connection: Connection) -> None:
        """The handshake is done: the connection may be sent to."""
        hub = self.registry.add(connection)
        for group in self._stored_groups(connection):
            self.registry.add_to_group(hub, group, connection)
        self.upstream.opened(connection)
        if self.cluster is not None:
            self.cluster.life.legacy.opened(connection)

    def closed(self, connection: Connection) -> None:
        """The connection is not to be sent to any more."""
        self.slow_closes += connection.close_reason == TOO_SLOW
        self.registry.remove(connection)
        self.results.lost(connection.id)
        if self.cluster is None:
            self.upstream.closed(connection)
        else:
            self.cluster.life.closed(connection)

    def completed(self, connection: Connection, completion: Completion) -> None:
        """The client has answered an invocation. What nobody waits for is dropped."""
        self.results.complete(connection.id, completion)

    def invoked(self, connection: Connection, message: Invocation | StreamInvocation) -> None:
        """The client calls a method: the app's affair, and an error where there is no app."""
        if self.upstream.is_configured:
            self.upstream.receive(connection, message)
            return
        if message.invocation_id is not None:
            connection.send(Completion(invocation_id=message.invocation_id, error=_NO_UPSTREAM))
        self.dismiss(connection, Close(error=_NO_UPSTREAM))

    def cancelled(self, connection: Connection, message: CancelInvocation) -> None:
        """The client waits for no more items of a stream."""
        self.upstream.streaming.cancel(connection, message.invocation_id)

    def deliver(self, connection: Connection, records: bytes, count: int) -> None:
        """Send `count` records to one connection, after what has been accepted for it before."""
        hub = self.registry.hub(connection.hub)
        if hub is not None:
            codec = connection.wire.codec.name
            message = EncodedMessage(records={codec: records}, count=count)
            hub.outbox.put(Delivery((connection,), frozenset(), message))

    def dismiss(self, connection: Connection, message: Close) -> None:
        """Close a connection after what has been accepted for it before."""
        hub = self.registry.hub(connection.hub)
        if hub is None:
            connection.close(message)
        else:
            hub.outbox.after(partial(connection.close, message))

    def gone(self, connection: Connection) -> None:
        """The connection's transport has ended for good."""
        self._connections.pop(connection.id, None)
        if self.cluster is not None:
            self.cluster.left(connection)
        self.tickets.spend(connection.id, connection.token_expires)

    def _stored_groups(self, connection: Connection) -> Iterable[str]:
        """The groups that the user of a connection has been put into."""
        if connection.user_id is None:
            return ()
        if self.cluster is not None:
            return self.cluster.arrivals.groups_of(connection)
        return self.store.known_groups_of(connection.hub.lower(), connection.user_id) or ()

    def _tick(self) -> None:
        # First, so that nothing that goes wrong below ends the looking after connections.
        self._sweeper = asyncio.get_running_loop().call_later(1 / _SLICES, self._tick)
        if next(self._sweep, self) is self:
            self._sweep = self._sweep_slices()

    def _sweep_slices(self) -> Iterator[None]:
        """Look at every connection once, a slice a step."""
        connections = tuple(self._connections.values())
        size = -(-len(connections) // _SLICES)
        for start in range(0, len(connections), size or 1):
            now = asyncio.get_running_loop().time()
            for connection in connections[start : start + size]:
                try:
                    connection.tick(now)
                except Exception:  # one connection at most is lost
                    _logger.exception("looking after %r failed", connection)
                    connection.fail()
            yield
        self.tickets.expire()
        if self.cluster is not None:
            self.cluster.sweep()
        self.store.expire()
