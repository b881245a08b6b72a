"""What this client has asked of the hub and what has come back so far. It sends nothing."""

import asyncio
from collections import deque
from typing import Any

from msgspec import Raw, UnsetType

from hubbub.client.backlog import Backlog
from hubbub.client.failures import HubError
from hubbub.errors import HubbubError, ProtocolError
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Completion, StreamItem

__all__ = ["Invocations", "PendingResult", "PendingStream"]


class PendingResult:
    """An invocation that waits for its completion."""

    __slots__ = ("_codec", "_outcome", "id")

    def __init__(self, invocation_id: str, codec: Codec) -> None:
        self.id = invocation_id
        self._codec = codec
        # Errors are results here: an exception that nobody comes for would be complained about.
        self._outcome: asyncio.Future[Completion | HubbubError] = (
            asyncio.get_running_loop().create_future()
        )

    async def result(self) -> Any:
        """Wait for the result. Raises `HubError` where the hub says so, or what `end` was given."""
        outcome = await self._outcome
        if isinstance(outcome, HubbubError):
            raise outcome
        if outcome.error is not None:
            raise HubError(outcome.error)
        if isinstance(outcome.result, UnsetType):
            return None
        return self._codec.decode_value(outcome.result)

    def item(self, item: Raw) -> None:
        """An item is no answer to an invocation (HubProtocol.md, "Streaming")."""
        self.end(ProtocolError("The hub answered with a stream. Use stream() for this target."))

    def end(self, outcome: Completion | HubbubError) -> None:
        """The invocation has ended."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)


class PendingStream:
    """An invocation that is answered item by item. Items count in the backlog until taken."""

    __slots__ = ("_backlog", "_codec", "_items", "_news", "_outcome", "id")

    def __init__(self, invocation_id: str, codec: Codec, backlog: Backlog) -> None:
        self.id = invocation_id
        self._codec = codec
        self._backlog = backlog
        self._items: deque[Raw] = deque()
        self._news = asyncio.Event()
        self._outcome: Completion | HubbubError | None = None

    async def next(self) -> Raw | None:
        """Wait for the next item, `None` at the end. Raises as `PendingResult.result` does.

        Items that came before an error are given first (HubProtocol.md, "Errors").
        """
        if not self._items and self._outcome is None:
            self._news.clear()
            with self._backlog.waiting():
                await self._news.wait()
        if self._items:
            item = self._items.popleft()
            self._backlog.remove(len(item))
            return item
        if isinstance(self._outcome, HubbubError):
            raise self._outcome
        if self._outcome is not None and self._outcome.error is not None:
            raise HubError(self._outcome.error)
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the hub has sent all, or the connection is gone."""
        return self._outcome is not None

    def item(self, item: Raw) -> None:
        """An item has arrived."""
        self._items.append(item)
        self._backlog.add(len(item))
        self._news.set()

    def end(self, outcome: Completion | HubbubError) -> None:
        """The stream has ended; how it first did counts, whatever becomes of the connection."""
        if self._outcome is None:
            self._outcome = outcome
        self._news.set()

    def drop(self) -> None:
        """Nobody wants what is left."""
        while self._items:
            self._backlog.remove(len(self._items.popleft()))


class Invocations:
    """The invocations that wait, by their ids."""

    __slots__ = ("_backlog", "_codec", "_last_id", "_pending")

    def __init__(self, codec: Codec, backlog: Backlog) -> None:
        self._codec = codec
        self._backlog = backlog
        self._last_id = 0
        self._pending: dict[str, PendingResult | PendingStream] = {}

    def __repr__(self) -> str:
        return f"Invocations({sorted(self._pending)})"

    def next_id(self) -> str:
        """An id that no invocation or stream of this client has had."""
        self._last_id += 1
        return str(self._last_id)

    def expect_result(self) -> PendingResult:
        """A new invocation that will be completed."""
        pending = PendingResult(self.next_id(), self._codec)
        self._pending[pending.id] = pending
        return pending

    def expect_stream(self) -> PendingStream:
        """A new invocation that will be answered item by item."""
        pending = PendingStream(self.next_id(), self._codec, self._backlog)
        self._pending[pending.id] = pending
        return pending

    def forget(self, invocation_id: str) -> None:
        """Nobody waits for this one any more; what still arrives for it is dropped."""
        pending = self._pending.pop(invocation_id, None)
        if isinstance(pending, PendingStream):
            pending.drop()

    def receive(self, message: StreamItem | Completion) -> None:
        """Hand a message to who waits for it. One that nobody waits for is dropped."""
        pending = self._pending.get(message.invocation_id)
        if pending is None:
            return
        if isinstance(message, StreamItem):
            pending.item(message.item)
        else:
            pending.end(message)

    def fail(self, error: HubbubError) -> None:
        """The connection is gone, and with it every answer that has not come."""
        for pending in self._pending.values():
            pending.end(error)
