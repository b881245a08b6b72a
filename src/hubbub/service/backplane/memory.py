"""A backplane within one process: what joins several nodes in a test or in one program.

It has every guarantee of `Backplane` and every failure that a test may want; it leaves the process
never.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from hubbub.service.backplane.backplane import BackplaneError, Receive

__all__ = ["MemoryBackplane", "MemoryBus"]

_logger = logging.getLogger("hubbub.service.backplane")
_Result = TypeVar("_Result")


class MemoryBus:
    """What the backplanes of one process meet on. Everything on it keeps its order."""

    def __init__(self) -> None:
        self.delay = 0.0
        """Seconds from a call to its effect, and from there to each arrival."""
        self._listening: dict[str, dict[MemoryBackplane, None]] = {}
        self._steps: deque[Callable[[], None]] = deque()

    def __repr__(self) -> str:
        return f"MemoryBus(channels={len(self._listening)}, delay={self.delay})"

    def backplane(self) -> "MemoryBackplane":
        """The end of one more node."""
        return MemoryBackplane(self)

    def later(self, step: Callable[[], None]) -> None:
        """Take `step` after all that are under way."""
        self._steps.append(step)
        asyncio.get_running_loop().call_later(self.delay, self._step)

    def listening(self, channel: str) -> list["MemoryBackplane"]:
        """Who listens to `channel`."""
        return list(self._listening.get(channel, ()))

    def add(self, channel: str, backplane: "MemoryBackplane") -> None:
        """From here on `backplane` receives what is published to `channel`."""
        self._listening.setdefault(channel, {})[backplane] = None

    def remove(self, channel: str, backplane: "MemoryBackplane") -> None:
        """From here on `backplane` receives nothing from `channel`."""
        listening = self._listening.get(channel, {})
        listening.pop(backplane, None)
        if not listening:
            self._listening.pop(channel, None)

    def expel(self, node_id: str) -> None:
        """From here on the node receives nothing, until it does something itself."""
        for backplane in {each for those in self._listening.values() for each in those}:
            if backplane.node_id == node_id:
                self.forget(backplane)
                backplane.is_expelled = True

    def forget(self, backplane: "MemoryBackplane") -> None:
        """From here on `backplane` receives nothing."""
        for channel in [each for each, those in self._listening.items() if backplane in those]:
            self.remove(channel, backplane)

    def _step(self) -> None:
        # Timers that are due at once come in any order; the steps are taken in theirs.
        self._steps.popleft()()


class MemoryBackplane:
    """The end of one node on a `MemoryBus`. Satisfies `Backplane`."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self.node_id = ""
        self.is_expelled = False
        self._is_open = False
        self._is_connected = False
        self._life = 0  # how often it has been cut off; a step of an earlier life has no effect
        self._channels: set[str] = set()
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._receive: Receive = _nobody
        self._changed: Callable[[bool], object] = bool

    def __repr__(self) -> str:
        state = "connected" if self._is_connected else "cut off"
        return f"MemoryBackplane({state}, channels={len(self._channels)})"

    @property
    def is_connected(self) -> bool:
        """Whether the other nodes can be reached."""
        return self._is_connected

    async def open(self, receive: Receive, changed: Callable[[bool], None]) -> None:
        """Begin, connected."""
        self._receive, self._changed = receive, changed
        self._is_open = True
        self._join()

    async def close(self) -> None:
        """End, when what has been asked for has had its effect."""
        if not self._is_open:
            return
        self._is_open = False
        with suppress(BackplaneError):
            await self._ask(lambda: None)  # everything else has been asked for before
        if self._is_connected:
            self._cut()

    def disconnect(self) -> None:
        """Lose the other nodes, and with them what is under way."""
        if self._is_connected:
            self._cut()
            self._changed(False)

    def reconnect(self) -> None:
        """Reach the other nodes again."""
        if self._is_open and not self._is_connected:
            self._join()
            self._changed(True)

    def publish(self, channel: str, data: bytes) -> asyncio.Future[int]:
        """Send to every node that listens; the result is how many do."""

        def publish() -> int:
            listening = self._bus.listening(channel)
            for each in listening:
                each.arrive(channel, data)
            return len(listening)

        return self._ask(publish)

    def listen(self, channel: str) -> asyncio.Future[None]:
        """Receive what is published to `channel`."""
        self._channels.add(channel)
        return self._ask(lambda: self._bus.add(channel, self))

    def ignore(self, channel: str) -> None:
        """Receive no more from `channel`."""
        self._channels.discard(channel)
        _ = self._ask(lambda: self._bus.remove(channel, self))

    def call_itself(self, node_id: str) -> None:
        """Be known by this name from here on."""
        self.node_id = node_id

    async def expel(self, node_id: str) -> None:
        """Have a node that is dead listen to nothing any more."""
        await self._ask(lambda: self._bus.expel(node_id))

    async def listeners(self, channels: Sequence[str]) -> list[int]:
        """How many nodes listen to each of `channels`."""
        return await self._ask(lambda: [len(self._bus.listening(each)) for each in channels])

    def arrive(self, channel: str, data: bytes) -> None:
        """Bring what somebody has published, if it is still listened to when it is here."""
        life = self._life

        def arrive() -> None:
            if life == self._life and channel in self._channels:
                try:
                    self._receive(channel, data)
                except Exception:  # this message is lost, the others go on
                    _logger.exception("a message on %r could not be taken", channel)

        self._bus.later(arrive)

    def _ask(self, work: Callable[[], _Result]) -> asyncio.Future[_Result]:
        """Have `work` done on the bus, and its result brought back."""
        if self.is_expelled:
            self.is_expelled = False
            self.disconnect()
            self.reconnect()
        done: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        life = self._life
        if not self._is_connected:
            _fail(done)
            return done
        self._waiting[done] = None

        def step() -> None:
            if life == self._life:
                result = work()
                self._bus.later(lambda: self._answer(done, result))

        self._bus.later(step)
        return done

    def _answer(self, done: asyncio.Future[_Result], result: _Result) -> None:
        self._waiting.pop(done, None)
        if not done.done():
            done.set_result(result)

    def _join(self) -> None:
        self._is_connected = True
        for channel in self._channels:
            self._bus.add(channel, self)

    def _cut(self) -> None:
        self._is_connected = False
        self._life += 1
        self._bus.forget(self)
        waiting, self._waiting = self._waiting, {}
        for done in waiting:
            _fail(done)


def _fail(done: asyncio.Future[Any]) -> None:
    if not done.done():
        done.set_exception(BackplaneError("The other nodes cannot be reached."))
        done.exception()  # looked at: whoever leaves the future alone is not told of it


def _nobody(channel: str, data: bytes) -> None:
    """Receives before `open`."""
