"""Connections with stateful reconnect whose clients come back to another node: they move there.

The new node listens to all that the old one listens to for the connection, keeping what comes, and
says a marker on each channel. When the old node has met them all it gives away what it remembers,
and up to which number of each sender it has acted. What was kept beyond that is done then. So each
message is acted upon once, and those of one sender to one audience stay in order.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hubbub.protocol.codec import CODECS
from hubbub.protocol.messages import Completion
from hubbub.protocol.replay import Replay, ReplayState
from hubbub.service.access import ClientAccess, Refusal
from hubbub.service.backplane.backplane import Backplane, BackplaneError
from hubbub.service.cluster.channel import connection_channel, group_channel
from hubbub.service.cluster.kept import Kept, Solo
from hubbub.service.cluster.parcel import Forwarded, Marker, Reply, Visit, encode_parcel
from hubbub.service.cluster.questions import Questions, UnansweredError
from hubbub.service.cluster.subscriptions import Subscriptions
from hubbub.service.session import Connection, State
from hubbub.service.transports.awaited import AwaitedTransport

if TYPE_CHECKING:
    from hubbub.service.cluster.cluster import Cluster
    from hubbub.service.node import Node

__all__ = ["Handover"]

_logger = logging.getLogger("hubbub.service")
_TRY_AGAIN: Final = 409
_BUSY: Final = "The connection is busy and cannot move now. Try again."
_STREAM_ENDED: Final = "The stream has ended, as its connection has moved to another node."
Send = Callable[[str, Reply], asyncio.Future[int]]


class _State(Struct, frozen=True, array_like=True):
    """All there is to know of a connection that moves."""

    access: ClientAccess
    codec: str
    replay: ReplayState
    groups: tuple[str, ...]
    token_expires: float
    acted: dict[str, dict[str, int]]  # by channel and sender: up to which number


class _Offer(Struct, frozen=True, array_like=True):
    """What is said to the node that a client has come back to."""

    number: int
    groups: tuple[str, ...]


class _Leaving:
    """A connection that another node wants."""

    def __init__(self, visit: Visit, connection: Connection, channels: Iterable[str]) -> None:
        self.offer = visit.sender, visit.request
        self.begun = asyncio.get_running_loop().time()
        self.connection = connection
        self.channels = set(channels)
        self.marked: set[str] = set()
        self.acted: dict[str, dict[str, int]] = {}


class Handover:
    """Both sides: connections that leave this node, and those that come to it."""

    def __init__(
        self,
        node: "Node",
        cluster: "Cluster",
        backplane: Backplane,
        questions: Questions,
        subscriptions: Subscriptions,
        send: Send,
    ) -> None:
        """`send` publishes an answer to the node with that id."""
        self._node = node
        self._cluster = cluster
        self._backplane = backplane
        self._questions = questions
        self._subscriptions = subscriptions
        self._send = send
        self._leaving: dict[str, _Leaving] = {}
        self._coming: dict[str, Kept] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Handover(leaving={len(self._leaving)}, coming={len(self._coming)})"

    def forget(self, connection: Connection) -> None:
        """A connection is gone for good."""
        self._leaving.pop(connection.id, None)

    def sweep(self, now: float) -> None:
        """Forget what nobody has come for. Called now and then."""
        limit = now - 2 * self._node.settings.answer_timeout
        for connection_id in [key for key, each in self._leaving.items() if each.begun < limit]:
            del self._leaving[connection_id]

    async def close(self) -> None:
        """Move nothing any more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What is published, by others and by this node.

    def note(self, channel: str, parcel: Forwarded) -> bool:
        """Take note of a call; false where it must not be done now, because it is kept."""
        is_free = True
        for leaving in self._leaving.values():
            if channel in leaving.channels:
                leaving.acted.setdefault(channel, {})[parcel.sender] = parcel.number
        for kept in self._coming.values():
            if channel in kept.channels:
                kept.calls.append((channel, parcel))
                is_free = is_free and not kept.withholds(channel, parcel)
        return is_free

    async def done(self, channels: Iterable[str]) -> None:
        """Return when no connection that hears one of `channels` is on its way here."""
        channels = set(channels)
        waiting = [kept.done for kept in self._coming.values() if kept.channels & channels]
        for each in waiting:
            await asyncio.shield(each)

    # For the node that has the connection.

    def offer(self, visit: Visit, connection: Connection) -> None:
        """A client has come back to another node: leave its old transport, tell its groups."""
        if connection.state is State.OPEN:
            transport = connection.transport
            connection.detach()
            transport.abandon()
        channels = (*_channels(self._cluster, connection), *_groups(connection))
        self._leaving[connection.id] = _Leaving(visit, connection, channels)
        body = msgspec.msgpack.encode(_Offer(visit.request, tuple(connection.groups)))
        self._send(
            visit.sender,
            Reply(self._node.id, visit.request, is_here=True, status=200, body=body),
        )

    def mark(self, channel: str, marker: Marker) -> None:
        """The node that wants the connection hears `channel`."""
        leaving = self._leaving.get(marker.connection_id)
        if leaving is None or leaving.offer != (marker.sender, marker.offer):
            return
        leaving.marked.add(channel)
        if leaving.channels <= leaving.marked:
            task = asyncio.get_running_loop().create_task(self._give(leaving, marker))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _give(self, leaving: _Leaving, marker: Marker) -> None:
        connection = leaving.connection
        try:
            await self._idle(connection)
            # From here on nothing waits: what is said and what is given up are one.
            is_away = connection.state is State.DETACHED and connection.is_resumable
            can_move = is_away and leaving.marked.issuperset(_groups(connection))
        except TimeoutError:
            can_move = False
        if self._leaving.get(connection.id) is not leaving:
            return  # somebody else wants it by now
        if not can_move:
            del self._leaving[connection.id]
            again = Reply(self._node.id, marker.request, is_here=True, status=_TRY_AGAIN)
            self._send(marker.sender, again)
            return
        body = msgspec.msgpack.encode(self._state(leaving))
        self._release(connection, marker.sender)
        state = Reply(self._node.id, marker.request, is_here=True, status=200, body=body)
        try:
            taken = await self._send(marker.sender, state)
        except BackplaneError:
            _logger.warning("%r may be lost on its way to another node", connection)
            return
        if not taken:
            _logger.warning("%r was lost on its way to another node", connection)
            self._cluster.life.legacy.refused(connection.id)

    async def _idle(self, connection: Connection) -> None:
        """Wait until the app has taken what the client has said, and calls have been begun."""
        async with asyncio.timeout(self._node.settings.answer_timeout / 2):
            # Neither says when it is empty, and both are so nearly always.
            while connection.inbox is not None or self._cluster.forwarding.unbegun:  # noqa: ASYNC110
                await asyncio.sleep(0.01 if connection.inbox is not None else 0)

    def _state(self, leaving: _Leaving) -> _State:
        connection = leaving.connection
        self._end_streams(connection)
        hub = self._node.registry.hub(connection.hub)
        if hub is not None:
            hub.outbox.flush()  # what has been accepted for it is to be among what it has missed
        assert connection.replay is not None
        # What this node has published it has done itself before.
        own = self._cluster.forwarding.number
        acted = {channel: leaving.acted.get(channel, {}) for channel in leaving.channels}
        return _State(
            connection.access,
            connection.wire.codec.name,
            connection.replay.state(),
            tuple(connection.groups),
            connection.token_expires,
            {channel: {**by, self._node.id: own} for channel, by in acted.items()},
        )

    def _end_streams(self, connection: Connection) -> None:
        """Tell the client that its streams end: who answers them knows this node."""
        if connection.streams is None:
            return
        for stream_id in connection.streams.open_ids():
            connection.send(Completion(invocation_id=stream_id, error=_STREAM_ENDED))
        self._node.upstream.streaming.lost(connection)

    def _release(self, connection: Connection, node_id: str) -> None:
        self._node.release(connection)
        connection.hand_over()
        connection.token_expires = 0.0  # others go on with it: its token is not used up
        self._cluster.left(connection)
        self._cluster.life.legacy.given(connection.id, node_id)

    # For the node that the client has come to.

    async def take(self, access: ClientAccess, connection_id: str, offered: bytes) -> None:
        """Move a connection here. Raises `Refusal` where that cannot be, 409 where not now."""
        offer = msgspec.msgpack.decode(offered, type=_Offer)
        hub_and_user = self._cluster.arrivals.channels_of(access.hub, access.user_id)
        channels = [*hub_and_user, connection_channel(connection_id)]
        channels += [group_channel(access.hub, group) for group in offer.groups]
        kept = self._coming[connection_id] = Kept(connection_id, channels)
        for channel in channels:
            self._subscriptions.hold(channel)
        try:
            await self._subscriptions.settled(channels)
            giver, state = await self._ask(connection_id, channels, offer)
            self._import(giver, connection_id, state, kept)
        except (BackplaneError, UnansweredError) as error:
            raise Refusal(503, f"{error} Try again later.") from None
        finally:
            del self._coming[connection_id]
            kept.done.set_result(None)
            for channel in channels:
                self._subscriptions.release(channel)

    async def _ask(
        self, connection_id: str, channels: list[str], offer: _Offer
    ) -> tuple[str, _State]:
        own = connection_channel(connection_id)

        def mark(number: int) -> Marker:
            marker = Marker(self._node.id, number, connection_id, offer.number)
            for channel in channels:
                if channel != own:
                    self._backplane.publish(channel, encode_parcel(marker))
            return marker

        takes = self._node.settings.answer_timeout
        reply = await self._questions.first(own, mark, takes=takes)
        if reply is None or reply.status != 200:
            raise Refusal(_TRY_AGAIN, _BUSY)
        return reply.sender, msgspec.msgpack.decode(reply.body, type=_State)

    def _import(self, giver: str, connection_id: str, state: _State, kept: Kept) -> None:
        """Make the connection, do what was kept for it, and only then let it be found."""
        limit = self._node.settings.replay_buffer_size
        connection = Connection.restored(
            connection_id,
            state.access,
            AwaitedTransport(),
            self._node,
            CODECS[state.codec],
            Replay.restored(limit, state.replay),
        )
        connection.token_expires = state.token_expires
        self._node.adopt(connection)
        self._cluster.arrived(connection)
        # First, so that its end here, whenever that is, is told once.
        self._cluster.life.legacy.opened(connection, giver)
        fresh = kept.beyond(state.acted)
        solo = Solo(self._node, connection, state.groups)
        for call in fresh:
            solo.do(call)
        solo.finish()
        if connection.is_established:
            groups, connection.groups = connection.groups, frozenset()
            hub = self._node.registry.add(connection)
            for group in groups:
                self._node.registry.add_to_group(hub, group, connection)
        for call in fresh:
            if kept.withholds(connection_channel(connection_id), call):
                self._cluster.forwarding.receive(call)


def _channels(cluster: "Cluster", connection: Connection) -> tuple[str, ...]:
    return (
        *cluster.arrivals.channels_of(connection.hub, connection.user_id),
        connection_channel(connection.id),
    )


def _groups(connection: Connection) -> tuple[str, ...]:
    return tuple(group_channel(connection.hub, group) for group in connection.groups)
