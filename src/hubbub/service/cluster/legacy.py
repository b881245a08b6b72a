"""What one node leaves to the others in case that it dies, and what it does for the dead.

A will says that the app is to be told of a connection's end. It is with one node at any time: with
that of the connection, with the heir of a dead one, and it is gone when the app has been told.
"""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from hubbub.protocol.webhooks import Event
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.leases import Leases
from hubbub.service.session import Connection
from hubbub.service.wills import Wills

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["Legacy"]

_logger = logging.getLogger("hubbub.service")
_REASON: Final = "The node that had the connection is gone."
_LOOK: Final = 30.0  # seconds between two looks at whether what was given away has been taken
# Seconds for a node to take what was given to it. It takes it at once, or has never got it.
_TAKEN: Final = 60.0
_AT_ONCE: Final = 1000  # wills that are left again together, so that other calls have their turn


class _Word(Enum):
    """What the others know of a connection's will, as far as this node can know."""

    UNSAID = auto()
    UNSURE = auto()  # it was said to them, and no answer came
    LEFT = auto()


class _Given(NamedTuple):
    node_id: str
    since: float


class Legacy:
    """The wills of one node, its own and those that it has inherited."""

    def __init__(self, node: "Node", leases: Leases, wills: Wills) -> None:
        self._node = node
        self._leases = leases
        self._wills = wills
        self._own: dict[str, _Word] = {}  # connections that this node speaks for
        self._doing: set[str] = set()  # inherited ones that are being done
        self._told: set[str] = set()  # done, and perhaps still written
        self._given: dict[str, _Given] = {}  # connections that another node goes on with
        self._origins: dict[str, str] = {}  # connections by the node that may have their wills yet
        self._heirs: set[str] = set()  # dead nodes whose wills are being done
        self._is_in_doubt = False  # whether there may be more than is known here
        self._is_parted = False  # whether it is of no use to leave anything
        self._looked = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Legacy(own={len(self._own)}, doing={len(self._doing)}, heir_of={self._heirs})"

    async def close(self, patience: float) -> None:
        """End what is under way, when `patience` seconds have not been enough for it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def opened(self, connection: Connection, origin: str | None = None) -> None:
        """Leave word of a connection, where the app wants to know of its end.

        `origin` is the node that had it till now.
        """
        will = self._will(connection)
        if will is not None:
            if origin is not None:
                self._origins[connection.id] = origin
            self._own.setdefault(connection.id, _Word.UNSAID)
            self._start(self._write(connection.id, will))
        elif origin is not None:
            self._start(self._wills.erase(origin, connection.id))

    def given(self, connection_id: str, node_id: str) -> None:
        """Another node goes on with a connection, and takes its will over."""
        self._origins.pop(connection_id, None)
        if self._own.pop(connection_id, None) is not None:
            self._given[connection_id] = _Given(node_id, asyncio.get_running_loop().time())

    def refused(self, connection_id: str) -> None:
        """Nobody goes on with a connection that was given away."""
        if self._given.pop(connection_id, None) is not None:
            self._is_in_doubt = True

    def settled(self, connection_id: str) -> None:
        """The app knows what it is to know of a connection."""
        word = self._own.get(connection_id)
        if word is _Word.UNSAID and connection_id not in self._origins:
            del self._own[connection_id]
        elif word is not None:
            self._start(self._erase(connection_id))

    def parted(self) -> None:
        """The others cannot be reached: `rewrite` leaves to them what comes meanwhile."""
        self._is_parted = True

    def rewrite(self) -> None:
        """The others can be reached again: what could not be left to them is left now.

        The rest is left again, as what keeps it may have lost it.
        """
        self._is_parted = self._is_in_doubt = False
        self._start(self._look())
        self._start(self._leave(self._node.connections))

    def has_left(self, connection_id: str) -> bool:
        """Whether others do what is to be done if they take this node for dead."""
        return self._own.get(connection_id) is _Word.LEFT

    def disown(self, connection_id: str) -> bool:
        """Whether others do what is to be done; if not, this node does."""
        if self.has_left(connection_id):
            return True
        self._told.add(connection_id)
        return False

    def renamed(self, old: str) -> None:
        """This node is another one by now: the others do what the old one has left."""
        told, self._told = self._told, set()
        for known in (self._own, self._given, self._origins):
            known.clear()
        # What came to be left when the others had done what there was: nobody else looks after it.
        self._heirs.add(old)
        self._start(self._execute(old, told))

    def inherit(self, dead: Collection[str]) -> None:
        """Do what dead nodes have left, as far as nobody else does it."""
        for node_id in dead:
            if node_id not in self._heirs:
                self._heirs.add(node_id)
                self._start(self._execute(node_id))
        for connection_id in [each for each, to in self._given.items() if to.node_id in dead]:
            self.refused(connection_id)

    def sweep(self, now: float) -> None:
        """Look for wills that nobody has in mind, where there may be any."""
        if self._given and now - self._looked >= _LOOK:
            self._is_in_doubt = True
        if self._is_in_doubt:
            self._is_in_doubt = False
            self._looked = now
            self._start(self._look())
            missing = {each for each, word in self._own.items() if word is not _Word.LEFT}
            if missing:
                self._start(self._leave(c for c in self._node.connections if c.id in missing))

    async def _execute(self, dead_id: str, told: Collection[str] = ()) -> None:
        """Do what a dead node has left; not for who is in `told`."""
        try:
            heir_id = self._node.id
            while wills := await self._wills.claim(dead_id, heir_id):
                done = wills.keys() & set(told)
                self._told |= done
                for connection_id in done:
                    await self._wills.erase(heir_id, connection_id)
                    self._told.discard(connection_id)
                await self._do_all(heir_id, {key: wills[key] for key in wills.keys() - done})
            await self._leases.settle(dead_id)
        finally:
            self._heirs.discard(dead_id)

    async def _look(self) -> None:
        """Do what has been moved here by a claim whose answer was lost, and forget what is done."""
        node_id = self._node.id
        for connection_id in tuple(self._told):
            await self._wills.erase(node_id, connection_id)
            self._told.discard(connection_id)
        # What is being told when the question goes out is in the answer still.
        known = {*self._own, *self._doing, *self._told}
        given = dict(self._given)
        wills = await self._wills.of(node_id)
        known |= {*self._own, *self._doing, *self._told}
        await self._forget_given(given, wills.keys())
        known |= self._given.keys()
        if self._node.id == node_id:  # else it is the others' who took this node for dead
            await self._do_all(node_id, {key: wills[key] for key in wills.keys() - known})

    async def _forget_given(self, given: Mapping[str, _Given], written: Collection[str]) -> None:
        """Forget which of `given` have been taken, and which nobody will take."""
        if not given:
            return
        live = {facts.id for facts in await self._leases.live()}
        limit = asyncio.get_running_loop().time() - _TAKEN
        for connection_id, to in given.items():
            if connection_id not in written or to.node_id not in live or to.since < limit:
                self._given.pop(connection_id, None)

    async def _do_all(self, heir_id: str, wills: dict[str, bytes]) -> None:
        self._doing |= wills.keys()
        await asyncio.gather(*(self._do(heir_id, each, will) for each, will in wills.items()))

    async def _do(self, heir_id: str, connection_id: str, will: bytes) -> None:
        try:
            event = msgspec.json.decode(will, type=Event)
        except msgspec.MsgspecError as error:
            _logger.warning("the will of %s is not understood: %s", connection_id, error)
        else:
            try:
                await self._node.upstream.tell(event, _REASON)
            except Exception:  # the other wills must be done whatever one of them does
                _logger.exception("the app could not be told of the end of %s", connection_id)
        self._told.add(connection_id)
        self._doing.discard(connection_id)
        with suppress(BackplaneError):
            await self._wills.erase(heir_id, connection_id)
            self._told.discard(connection_id)

    def _will(self, connection: Connection) -> bytes | None:
        """What is to be told of its end, `None` where nothing is or it cannot be left."""
        event = self._node.upstream.end_of(connection)
        if event is None:
            return None
        try:
            return msgspec.json.encode(event)
        except (msgspec.MsgspecError, TypeError, UnicodeEncodeError):
            _logger.warning("%r cannot be left to another node", connection)
            return None

    async def _leave(self, connections: Iterable[Connection]) -> None:
        """Leave word of connections. One that cannot be left keeps no other from being so."""
        those = iter(tuple(connections))
        error: BaseException | None = None
        while some := tuple(islice(those, _AT_ONCE)):
            wills = [(each.id, self._will(each)) for each in some if each.is_established]
            for connection_id, will in wills:
                if will is not None:
                    self._own.setdefault(connection_id, _Word.UNSAID)
            writing = [self._write(key, will) for key, will in wills if will is not None]
            for result in await asyncio.gather(*writing, return_exceptions=True):
                error = result or error
        if error is not None:
            raise error

    async def _write(self, connection_id: str, will: bytes) -> None:
        before = self._own.get(connection_id)
        if before is None or self._is_parted:
            return  # it has ended meanwhile, or is left later
        origin = self._origins.get(connection_id)
        self._own[connection_id] = _Word.LEFT
        try:
            if origin is None:
                await self._wills.write(self._node.id, connection_id, will)
            else:
                await self._wills.take(origin, self._node.id, connection_id, will)
                self._origins.pop(connection_id, None)
        except BackplaneError:
            if connection_id in self._own and before is not _Word.LEFT:
                self._own[connection_id] = _Word.UNSURE
            raise

    async def _erase(self, connection_id: str) -> None:
        origin = self._origins.pop(connection_id, None)
        # In this order: until it is erased, it is not taken for one that is to be done.
        self._told.add(connection_id)
        self._own.pop(connection_id, None)
        if origin is not None:
            await self._wills.erase(origin, connection_id)
        await self._wills.erase(self._node.id, connection_id)
        self._told.discard(connection_id)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except BackplaneError:
                self._is_in_doubt = True  # it may have had its effect, or not
            except Exception:  # what is left to do must be done whatever goes wrong once
                self._is_in_doubt = True
                _logger.exception("looking after the wills of connections failed")

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
