"""A node's side of a cluster: it opens the way to the others and hands out what comes from them.

What is done about each kind of parcel is in the modules beside this one.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from hubbub.errors import ProtocolError
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.backplane.engine import Engine
from hubbub.service.backplane.sharedsettings import KEYS_CHANGED, Watching
from hubbub.service.calls import Answer, Call
from hubbub.service.cluster.arrivals import Arrivals
from hubbub.service.cluster.channel import EVERY_NODE, group_channel, node_channel
from hubbub.service.cluster.forwarding import Forwarding
from hubbub.service.cluster.handover import Handover
from hubbub.service.cluster.life import Life
from hubbub.service.cluster.parcel import (
    Drain,
    Forwarded,
    Leave,
    Marker,
    Parcel,
    Reply,
    Visit,
    decode_parcel,
    encode_parcel,
)
from hubbub.service.cluster.questions import Questions
from hubbub.service.cluster.recovery import Recovery
from hubbub.service.cluster.subscriptions import Subscriptions
from hubbub.service.cluster.unreached import Unreached, What
from hubbub.service.cluster.visits import Visits
from hubbub.service.leases import LEASE, RENEWAL
from hubbub.service.operations.operation import Join, Reach
from hubbub.service.routes import Route
from hubbub.service.session import Connection

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["Cluster"]

_logger = logging.getLogger("hubbub.service")
# Seconds for those who are on their way to a node that has just said that it wants no more clients.
_LAST_COMERS: Final = 0.3


class Cluster:
    """What joins one node with the others. `open` it before the node answers anything."""

    def __init__(
        self, node: "Node", engine: Engine, *, lease: float = LEASE, renewal: float = RENEWAL
    ) -> None:
        """From here on `node`, whose store is the engine's, knows that it is one of several.

        `lease` is the engine's, in seconds, and `renewal` is after how many it is renewed.
        """
        self._node = node
        backplane = self.backplane = engine.backplane
        self.subscriptions = Subscriptions(backplane)
        self.recovery = Recovery(backplane, engine.leases, lease)
        self.questions = Questions(backplane, node.settings.answer_timeout, self.recovery)
        self.arrivals = Arrivals(node, self.subscriptions, self.unreached)
        self.handover = Handover(
            node, self, backplane, self.questions, self.subscriptions, self._answer
        )
        self.forwarding = Forwarding(
            node,
            backplane,
            self.questions,
            self.recovery,
            self.subscriptions.settled,
            self._answer,
            published=self.handover.note,
            arrived=self.handover.done,
        )
        self.visits = Visits(
            node,
            backplane,
            self.questions,
            self.subscriptions,
            self._answer,
            self.handover,
            self.unreached,
        )
        self.life = Life(
            node,
            engine.leases,
            engine.wills,
            died=self._died,
            moved=self._moved,
            lease=lease,
            renewal=renewal,
        )
        self.questions.lapsed = self.life.lapsed
        self._watching = Watching(engine.settings, lambda keys: node.use_keys(keys.access_keys))
        self._tasks: set[asyncio.Task[None]] = set()
        # How clients that come to this node's port are left to others on it, where there are any.
        self.leave_port: Callable[[], None] | None = None
        self._is_drained = False
        self.received = 0
        self._unreached = Unreached()
        node.cluster = self
        node.registry.group_began = self._group_began
        node.registry.group_ended = self._group_ended

    def __repr__(self) -> str:
        return f"Cluster({self.backplane!r}, {self.subscriptions!r}, {self.questions!r})"

    async def open(self) -> None:
        """Reach the others. Raises `ConfigError` where they cannot be reached."""
        await self.backplane.open(self._receive, self._changed)
        self.backplane.call_itself(self._node.id)
        for channel in (EVERY_NODE, node_channel(self._node.id)):
            self.subscriptions.hold(channel)
        await self.subscriptions.settled()
        self.recovery.begin()
        await self._watching.open(self._node.settings.access_keys)
        await self.life.open()

    async def close(self) -> None:
        """Leave the others. The node's connections are closed before that."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.recovery.close()
        await self._watching.close()
        await self.life.close()
        await self.forwarding.close()
        await self.visits.close()
        await self.handover.close()
        await self.arrivals.close()
        await self.backplane.close()
        self._unreached.close()

    async def perform(self, route: Route, call: Call) -> Answer | None:
        """Do a call of the REST API wherever it concerns somebody."""
        changes_user = route.join is Join.ALL and route.reach is Reach.USER
        try:
            return await self.forwarding.perform(route, call)
        finally:
            if changes_user:
                self.arrivals.touch(call.hub, call.names["user"])

    def health(self) -> Answer:
        """Whether this node can do its part, as a balancer asks; it goes on alone if it has to."""
        if self.life.is_draining:
            return _health(503, "draining")
        return _health(200, "ok" if self.is_whole else "degraded")

    @property
    def is_whole(self) -> bool:
        """Whether all other nodes can be reached, as far as is known, and nobody lacks a group."""
        is_joined = self.backplane.is_connected and self.recovery.is_whole
        return is_joined and self.arrivals.is_caught_up

    def unreached(self, what: What, text: str) -> None:
        """Something has happened because others, or what all share, could not be reached."""
        self._unreached.note(what, text, asyncio.get_running_loop().time())

    def arrived(self, connection: Connection) -> None:
        """A connection has begun on this node."""
        self.arrivals.arrived(connection)

    def admits(self, connection: Connection) -> bool:
        """Whether its handshake can be answered at once."""
        return self.arrivals.admits(connection)

    def left(self, connection: Connection) -> None:
        """A connection of this node is gone."""
        self.arrivals.left(connection)
        self.handover.forget(connection)

    def sweep(self) -> None:
        """Do what is due. Called about once a second."""
        now = asyncio.get_running_loop().time()
        self.subscriptions.sweep(now)
        self.recovery.sweep()
        if self.backplane.is_connected:
            self.arrivals.catch_up()
        self.life.sweep(now)
        self.handover.sweep(now)
        self._unreached.sweep(now, is_whole=self.is_whole)

    def _receive(self, channel: str, data: bytes) -> None:
        self.received += 1
        if data == KEYS_CHANGED:
            self._watching.look()
            return
        try:
            parcel = decode_parcel(data)
        except ProtocolError as error:
            _logger.warning("something on the backplane is not understood: %s", error)
            return
        try:
            self._take(channel, parcel)
        except Exception:  # what others send next must be received
            _logger.exception("what another node sent on %s could not be done", channel)

    def _take(self, channel: str, parcel: Parcel) -> None:
        if parcel.sender == self._node.id:
            if parcel.request is not None:
                self.questions.met(parcel.request)
            if isinstance(parcel, Visit):
                self.visits.met(parcel)
            return
        match parcel:
            case Forwarded():
                if "user" in parcel.names:
                    self.arrivals.touch(parcel.hub, parcel.names["user"])
                if self.handover.note(channel, parcel):
                    self.forwarding.receive(parcel)
            case Reply():
                self.questions.take(parcel)
            case Visit():
                self.visits.receive(parcel)
            case Leave():
                self.visits.leave(parcel)
            case Marker():
                self.handover.mark(channel, parcel)
            case Drain():
                self._start(self._drain(is_everybody=channel == EVERY_NODE))

    def _answer(self, sender: str, reply: Reply) -> asyncio.Future[int]:
        return self.backplane.publish(node_channel(sender), encode_parcel(reply))

    def _changed(self, is_connected: bool) -> None:
        if is_connected:
            _logger.info("the other nodes can be reached")
            self.recovery.joined()
            self.life.rejoined()
            self.arrivals.catch_up()
        else:
            self.life.parted()
            self.recovery.lost()
            _logger.warning("the other nodes cannot be reached")

    async def retire(self, leave_port: Callable[[], None] | None) -> None:
        """Say that this node wants no more clients, when its port is left to others if it can be.

        Until then it takes what comes, so that nobody is refused who could have gone to another.
        """
        await self.life.look_for_heirs()
        if leave_port is not None and self.life.has_heirs:
            leave_port()
            await asyncio.sleep(_LAST_COMERS)
        await self.life.begin_draining()

    async def _drain(self, *, is_everybody: bool) -> None:
        if self._is_drained:
            return
        self._is_drained = True
        _logger.info("an operator has this node drained")
        await self.retire(self.leave_port if not is_everybody else None)
        for pause in self._node.drain():
            await asyncio.sleep(pause)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _died(self, node_id: str, *, is_news: bool) -> None:
        self.questions.lost(node_id)
        if is_news:
            # It may only be stopped: then it would be counted among those who listen.
            self._start(self._expel(node_id))

    async def _expel(self, node_id: str) -> None:
        try:
            await self.backplane.expel(node_id)
        except BackplaneError as error:
            _logger.info("a dead node is not cut off, and may be waited for: %s", error)

    def _moved(self, old_id: str, new_id: str) -> None:
        self.backplane.call_itself(new_id)
        self.subscriptions.hold(node_channel(new_id))
        self.subscriptions.release(node_channel(old_id))

    def _group_began(self, hub: str, group: str) -> None:
        self.subscriptions.hold(group_channel(hub, group))

    def _group_ended(self, hub: str, group: str) -> None:
        self.subscriptions.release(group_channel(hub, group))


def _health(status: int, word: str) -> Answer:
    answer = Answer.json({"status": word}, (b"x-hubbub-health", word.encode()))
    return Answer(answer.body, answer.headers, status)
