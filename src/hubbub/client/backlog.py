"""How much has arrived and waits for the app: past a limit, the connection is not read.

It counts; it does not hold the messages.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hubbub.client.failures import OverloadError

__all__ = ["Backlog"]

_OVERHEAD: Final = 512  # bytes that a small message costs beyond its arguments, about


class Backlog:
    """Bytes of messages that handlers and streams have not taken yet.

    Reading stops at `limit`, so that a slow handler slows down the server. Not while the app waits
    for an answer, though: the answer comes behind what is not read, and the handler that waits for
    it would wait for itself. Then `most` ends the connection, rather than memory.
    """

    __slots__ = ("_limit", "_most", "_room", "_size", "_waiting")

    def __init__(self, *, limit: int, most: int) -> None:
        self._limit = limit
        self._most = most
        self._size = 0
        self._waiting = 0
        self._room = asyncio.Event()
        self._room.set()

    def __repr__(self) -> str:
        return f"Backlog({self._size} of {self._limit}, waiting={self._waiting})"

    def add(self, size: int) -> None:
        """A message whose arguments have `size` bytes has arrived."""
        self._size += size + _OVERHEAD
        self._update()

    def remove(self, size: int) -> None:
        """A message of that size has been dealt with."""
        self._size -= size + _OVERHEAD
        self._update()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the app waits for something that is to arrive."""
        self._waiting += 1
        self._update()
        try:
            yield
        finally:
            self._waiting -= 1
            self._update()

    async def room(self) -> None:
        """Wait until reading may go on. Raises `OverloadError` where it may not at all."""
        if self._size > self._most:
            raise OverloadError(
                f"More than {self._most} bytes wait for handlers and streams of this client. "
                "Make them faster, or raise max_backlog."
            )
        await self._room.wait()

    def _update(self) -> None:
        if self._waiting or self._size < self._limit:
            self._room.set()
        else:
            self._room.clear()
