"""Long polling (TransportProtocols.md, "Long Polling"): each GET waits for something to say.

What the client sends comes by POST and is given to the connection by the client endpoint.
"""

import asyncio
from typing import Final

from msgspec import Struct

from hubbub.protocol.codec import JSON, MESSAGEPACK, Codec
from hubbub.service.access import ClientAccess
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.wire import Wire

__all__ = ["LongPolling", "Polled"]

_BINARY: Final = "application/octet-stream"
_TEXT: Final = "text/plain"


def _as_it_is(data: bytes) -> bytes:
    return data


_WIRES: Final = {
    JSON.name: Wire("polling/json", JSON, _as_it_is),
    MESSAGEPACK.name: Wire("polling/messagepack", MESSAGEPACK, _as_it_is),
}


class Polled(Struct, frozen=True):
    """The answer to a poll, the `number`th of its connection."""

    number: int
    status: int
    media_type: str | None = None
    body: bytes = b""


class LongPolling:
    """One long-polling client: what waits for its next poll. Satisfies `session.Transport`."""

    carries_binary = True
    has_keep_alive = True  # a client that stops polling is noticed, and one that polls is there

    def __init__(self, node: Node, access: ClientAccess) -> None:
        self._settings = node.settings
        self._interval = access.poll_interval or node.settings.poll_interval
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._changed = asyncio.Event()
        self._is_closing = False
        self._is_first = True
        self._polls = 0  # counts them, so that a poll knows whether a later one has taken over
        self._idle_since: float | None = None  # None while a poll waits
        self.connection: Connection = node.connect(access, self)

    async def poll(self, gone: asyncio.Future[None]) -> Polled:
        """Answer one poll: at once where it is the first, else when there is something to say.

        `gone` is done when the client waits no more. When it has taken the answer, `answered` has
        to be called.
        """
        self._polls += 1
        number = self._polls
        self._idle_since = None
        self._changed.set()  # a poll that waits still is displaced by this one
        if self._is_first:
            self._is_first = False
            return Polled(number, 200, _BINARY)
        try:
            async with asyncio.timeout(self._settings.poll_timeout):
                while number == self._polls and not self._pending and not self._is_closing:
                    self._changed.clear()
                    await _first_of(gone, self._changed)
                    if gone.done():
                        return Polled(number, 204)  # to nobody
        except TimeoutError:
            return Polled(number, 200, _TEXT)
        if number != self._polls:
            return Polled(number, 204)
        if self._pending:
            return Polled(number, 200, _BINARY, self._take())
        self.connection.lost()
        return Polled(number, 204)

    def answered(self, polled: Polled) -> None:
        """The client has an answer, and may take its time for the next poll."""
        if polled.number == self._polls:
            self._idle_since = asyncio.get_running_loop().time()

    @property
    def pending(self) -> int:
        """Bytes that wait for their turn."""
        return self._pending_bytes

    def write(self, data: bytes) -> None:
        """Keep records for the next poll."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._changed.set()
        if self._pending_bytes > self._settings.max_pending_bytes:
            self.connection.close_slow()

    def close(self) -> None:
        """Answer 204 after what has been written."""
        self._is_closing = True
        self._changed.set()

    def abandon(self) -> None:
        """There is no stateful reconnect here, so nothing takes over."""
        self.close()

    def cut(self) -> None:
        """There is no stateful reconnect here."""
        self.close()

    def is_deserted(self, now: float) -> bool:
        """Whether the last poll ended longer ago than a client may take for the next."""
        return self._idle_since is not None and now - self._idle_since >= self._interval

    def wire(self, codec: Codec) -> Wire:
        """Records of either encoding, without any framing of the transport's own."""
        return _WIRES[codec.name]

    def _take(self) -> bytes:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return data


async def _first_of(gone: asyncio.Future[None], changed: asyncio.Event) -> None:
    waiting = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait((gone, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
