"""A node's life among others: its lease, and who tells the app of the ends of its connections.

The app hears once that a client has gone: from its node while that is known to be alive, else from
another node, which does what the dead one would have done.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import hubbub
from hubbub.protocol.messages import Close
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.cluster.legacy import Legacy
from hubbub.service.leases import LEASE, RENEWAL, Dead, Leases, NodeFacts, Renewing
from hubbub.service.session import Connection
from hubbub.service.tickets import NODE_ID_BYTES
from hubbub.service.wills import Wills

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["Life"]

_logger = logging.getLogger("hubbub.service")
# Seconds for which a dead node may still be counted among those who listen: it may only be stopped.
_LINGERS: Final = 600.0


class Died(Protocol):
    """Is told of a dead node, as often as it is found among the dead."""

    def __call__(self, node_id: str, *, is_news: bool) -> None:
        """`is_news` is true the first time, where it has not ended in order."""


class Life:
    """Keeps one node's lease. `open` it when the others can be reached."""

    def __init__(
        self,
        node: "Node",
        leases: Leases,
        wills: Wills,
        *,
        died: Died,
        moved: Callable[[str, str], None],
        lease: float = LEASE,
        renewal: float = RENEWAL,
    ) -> None:
        """`died` is told of each dead node, `moved` of this node's old id and its new one."""
        self._node = node
        self._died = died
        self._moved = moved
        self._leases = _Careful(leases, lease)
        self._renewing = Renewing(
            self._leases, self._facts, lost=self._lost, died=self._inherit, interval=renewal
        )
        self._started = time.time()
        self.is_draining = False
        self.has_heirs = False  # other nodes, as far as was known when draining began
        # Whether nobody can have taken this node for dead since it last reached the others.
        self._is_certain = True
        self._has_rejoined = False  # and has not left its wills since
        self._withheld: list[Connection] = []  # ended while it was not known who tells the app
        self._is_disowned = False
        # Until when they are remembered, and those among them that may only be stopped.
        self._gone: dict[str, float] = {}
        self._lapsed: set[str] = set()
        self._leases.renewed = self._renewed
        self.legacy = Legacy(node, leases, wills)
        node.upstream.settled = self.legacy.settled

    def __repr__(self) -> str:
        return f"Life({self._leases!r}, withheld={len(self._withheld)}, {self.legacy!r})"

    async def open(self) -> None:
        """Take the lease. Raises `BackplaneError`."""
        await self._renewing.open()

    async def close(self) -> None:
        """Give the lease up: what is left undone is another's from here on."""
        await self.legacy.close(self._node.settings.answer_timeout)
        await self._renewing.close()

    async def begin_draining(self) -> None:
        """Say that this node wants no more clients."""
        self.is_draining = True
        with suppress(BackplaneError):
            await self._leases.renew(self._facts())

    async def look_for_heirs(self) -> None:
        """Look whether others may have the clients that this node has."""
        with suppress(BackplaneError):
            live = await self._leases.live()
            self.has_heirs = any(each.id != self._node.id and not each.is_draining for each in live)

    def lapsed(self) -> int:
        """How many dead nodes may be listening still."""
        return len(self._lapsed)

    def closed(self, connection: Connection) -> None:
        """A connection has ended: tell the app, or leave it to whom it has been left."""
        if self._is_disowned:
            self._disown(connection)
        elif self._is_certain and self._leases.is_fresh:
            self._node.upstream.closed(connection)
        elif self.legacy.has_left(connection.id):
            self._withheld.append(connection)
        else:  # nobody else knows of it
            self._node.upstream.closed(connection)

    def parted(self) -> None:
        """The others cannot be reached, and may come to take this node for dead."""
        self._is_certain = False
        self.legacy.parted()

    def rejoined(self) -> None:
        """The others, and all that keeps what is left to them, can be reached again.

        A lease may have been renewed before that: it is kept in one place, wills in many.
        """
        self._has_rejoined = True

    def sweep(self, now: float) -> None:
        """Forget nodes that have been dead for long."""
        if self._is_certain and self._leases.is_fresh:
            self.legacy.sweep(now)
        for node_id in [each for each, end in self._gone.items() if end <= now]:
            del self._gone[node_id]
            self._lapsed.discard(node_id)

    def _facts(self) -> NodeFacts:
        return NodeFacts(
            self._node.id,
            self._started,
            hubbub.__version__,
            len(self._node.connections),
            self.is_draining,
        )

    def _renewed(self) -> None:
        """The others know that this node lives, so it speaks for its connections."""
        withheld, self._withheld = self._withheld, []
        for connection in withheld:
            self._node.upstream.closed(connection)
        if self._is_certain and not self._has_rejoined:
            return
        self._is_certain, self._has_rejoined = True, False
        # What they keep may be gone, and what could not be told to them is told now.
        self.legacy.rewrite()

    def _lost(self) -> None:
        """Others have declared this node dead and tell the app of the ends of its connections."""
        old = self._node.id
        self._node.id = secrets.token_hex(NODE_ID_BYTES)
        _logger.error(
            "other nodes took this one, %s, for dead; its clients connect anew, and it is %s now",
            old,
            self._node.id,
        )
        for connection in self._withheld:
            self._disown(connection)
        self._withheld = []
        self._is_disowned = True
        try:
            for connection in tuple(self._node.connections):
                connection.close(Close(allow_reconnect=True))
        finally:
            self._is_disowned = False
        self.legacy.renamed(old)
        self._moved(old, self._node.id)

    def _disown(self, connection: Connection) -> None:
        """A connection that was open when this node was taken for dead has ended."""
        if self.legacy.disown(connection.id):
            self._node.upstream.disown(connection)
        else:  # the others know nothing of it, or what they know has come too late for them
            self._node.upstream.closed(connection)

    def _inherit(self, found: list[Dead]) -> None:
        now = asyncio.get_running_loop().time()
        # That this node itself has died it finds out at its next renewal.
        dead = [each for each in found if each.id != self._node.id]
        for node_id, has_ended in dead:
            is_news = node_id not in self._gone
            self._gone[node_id] = now + _LINGERS
            if not has_ended:
                self._lapsed.add(node_id)
            if is_news and has_ended:
                _logger.info("node %s has ended", node_id)
            elif is_news:
                _logger.warning("node %s is dead", node_id)
            self._died(node_id, is_news=is_news and not has_ended)
        self.legacy.inherit([each.id for each in dead])


class _Careful:
    """Leases as one node sees them, who declares nobody dead after it was away. Satisfies `Leases`.

    When all come back from an outage of what keeps the leases, all of these have run out: each gets
    the time to renew its own.
    """

    def __init__(self, leases: Leases, lease: float) -> None:
        self._leases = leases
        self._lease = lease
        self._renewed = self._quiet_until = 0.0
        self._has_failed = False
        self.renewed: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"{self._leases!r}, fresh={self.is_fresh}"

    @property
    def is_fresh(self) -> bool:
        """Whether nobody can have taken this node for dead."""
        return asyncio.get_running_loop().time() - self._renewed < self._lease

    async def renew(self, facts: NodeFacts) -> bool:
        """Begin or renew a node's lease; false where it has been declared dead."""
        begun = asyncio.get_running_loop().time()
        try:
            is_alive = await self._leases.renew(facts)
        except BackplaneError:
            self._has_failed = True
            raise
        if self._has_failed:
            self._has_failed = False
            self._quiet_until = begun + self._lease
        if is_alive:
            self._renewed = begun
            self.renewed()
        return is_alive

    async def end(self, node_id: str) -> None:
        """Give up a lease."""
        await self._leases.end(node_id)

    async def live(self) -> list[NodeFacts]:
        """The nodes whose leases have not run out."""
        return await self._leases.live()

    async def dead(self) -> list[Dead]:
        """The dead nodes that nobody has settled."""
        if asyncio.get_running_loop().time() < self._quiet_until:
            return []
        return await self._leases.dead()

    async def settle(self, node_id: str) -> None:
        """Nothing is left to do for a dead node."""
        await self._leases.settle(node_id)
