"""What one client has sent and its app has not taken yet: in order, with a limit that is told.

It sends nothing. A connection has one only while there is something in it.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from hubbub.protocol.messages import Invocation, StreamInvocation

__all__ = ["Ended", "Inbox", "Opened", "Pending"]


class Opened(Struct, frozen=True):
    """The handshake was done."""


class Ended(Struct, frozen=True):
    """The connection has ended."""

    reason: str | None


Pending = Opened | Ended | Invocation | StreamInvocation
_OVERHEAD = 200  # bytes that a small message takes here beside its arguments


class Inbox:
    """A queue for one connection, and who waits for room in it."""

    __slots__ = ("_bytes", "_events", "_is_released", "_limit", "_max_bytes", "_waiting")

    def __init__(self, limit: int, max_bytes: int) -> None:
        """Full from `limit` events or `max_bytes` on; what comes all the same is taken."""
        self._events: deque[Pending] = deque()
        self._bytes = 0
        self._limit = limit
        self._max_bytes = max_bytes
        self._is_released = False
        self._waiting: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"Inbox({len(self._events)}, bytes={self._bytes}, full={self.is_full})"

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_full(self) -> bool:
        """Whether the client should not be listened to for now."""
        if self._is_released:
            return False
        return len(self._events) >= self._limit or self._bytes >= self._max_bytes

    @property
    def first(self) -> Pending | None:
        """What is to be delivered next or is being delivered, `None` when nothing is left."""
        return self._events[0] if self._events else None

    def put(self, event: Pending) -> None:
        """Add to the end."""
        self._events.append(event)
        self._bytes += _size(event)

    def drop_first(self) -> None:
        """The first event is done with."""
        self._bytes -= _size(self._events.popleft())
        # Half empty, so that a client is not paused and listened to in turns.
        if len(self._events) <= self._limit // 2 and self._bytes <= self._max_bytes // 2:
            self._tell()

    def clear(self) -> None:
        """Forget everything."""
        self._events.clear()
        self._bytes = 0
        self.release()

    def release(self) -> None:
        """The connection has ended: nothing more comes, and nobody is kept from reading."""
        self._is_released = True
        self._tell()

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call back once there is room again."""
        self._waiting.append(callback)

    async def room(self) -> None:
        """Return once there is room."""
        while self.is_full:
            room = asyncio.Event()
            self.when_room(room.set)
            await room.wait()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()


def _size(event: Pending) -> int:
    if isinstance(event, (Invocation, StreamInvocation)):
        return memoryview(event.arguments).nbytes + len(event.target) + _OVERHEAD
    return _OVERHEAD
