"""The streams of one client as values: which are open, and which have ended a short time ago.

It sends nothing and has no tasks. A connection has this only once its client has asked for one.
"""

import asyncio
from collections import deque
from typing import Final

__all__ = ["Stream", "Streams"]

_REMEMBERED: Final = 128  # ended streams of a connection, so that who still sends is told


class Stream:
    """One stream, open until the app, its client, the connection or a timeout ends it."""

    __slots__ = ("_deadline", "_ended", "id")

    def __init__(self, stream_id: str) -> None:
        self.id = stream_id
        self._ended = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None

    def __repr__(self) -> str:
        return f"Stream({self.id!r}, open={self.is_open})"

    @property
    def is_open(self) -> bool:
        """Whether the client still waits for items."""
        return not self._ended.is_set()

    def within(self, seconds: float) -> asyncio.Timeout:
        """The time limit for what is done for this stream; `extend` moves it."""
        self._deadline = asyncio.timeout(seconds)
        return self._deadline

    def extend(self, seconds: float) -> None:
        """Begin the time anew: an item came, or what is left to do has so long from here."""
        # Whoever is too late by a hair is too late.
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    def close(self) -> None:
        """No more items."""
        self._ended.set()

    async def end(self) -> None:
        """Return once the stream has ended."""
        await self._ended.wait()


class Streams:
    """The streams of one connection, by id."""

    __slots__ = ("_ended", "_open")

    def __init__(self) -> None:
        self._open: dict[str, Stream] = {}
        self._ended: deque[str] = deque(maxlen=_REMEMBERED)

    def __repr__(self) -> str:
        return f"Streams({list(self._open)})"

    def __len__(self) -> int:
        return len(self._open)

    def open_ids(self) -> tuple[str, ...]:
        """The ids of the streams that are open."""
        return tuple(self._open)

    def open(self, stream_id: str) -> Stream:
        """Take up a stream that the client asks for."""
        stream = self._open[stream_id] = Stream(stream_id)
        if stream_id in self._ended:
            self._ended.remove(stream_id)
        return stream

    def find(self, stream_id: str) -> Stream | None:
        """The open stream of that id."""
        return self._open.get(stream_id)

    def has_ended(self, stream_id: str) -> bool:
        """Whether the client asked for this stream, and it is over."""
        return stream_id in self._ended

    def end(self, stream_id: str) -> Stream | None:
        """End a stream; return it, or `None` where no such stream is open."""
        stream = self._open.pop(stream_id, None)
        if stream is not None:
            self._ended.append(stream_id)
            stream.close()
        return stream

    def end_all(self) -> list[Stream]:
        """End all streams, and return those that were open."""
        return [stream for stream_id in tuple(self._open) if (stream := self.end(stream_id))]
