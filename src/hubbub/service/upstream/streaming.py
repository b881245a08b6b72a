"""Runs the streams that clients ask an app for: from the call until it has an end.

The app answers the webhook of a stream when it has sent its last item, by REST, so it may take
long. A stream therefore has a task, and what its client says next waits only for its beginning.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hubbub.protocol.messages import Completion, Message, StreamInvocation
from hubbub.service.settings import ServiceSettings
from hubbub.service.slices import Slices
from hubbub.service.upstream.delivery import Written
from hubbub.service.upstream.streams import Stream, Streams

if TYPE_CHECKING:
    from hubbub.service.session import Connection

__all__ = ["Ask", "Streaming"]

_logger = logging.getLogger("hubbub.service")
_MAX_ID: Final = 100  # characters, as in the path of the REST call that sends an item
# Seconds until the request of a stream that nobody waits for is cut. An app that sends learns of
# the end by the answer and stops in order; and calls that are given up at once stay few.
_NOTICE: Final = 1.0
# Seconds that what a client says after the call of a stream waits for the app to be sent that call.
_BEGINNING: Final = 1.0

# Puts a call to the app, tells when it is on its way, and returns what to send its client; nothing,
# where the stream goes on.
Ask = Callable[["Connection", StreamInvocation, Written], Awaitable[list[Message]]]


class Streaming:
    """The streams of all connections of a node. `close` it."""

    def __init__(self, settings: ServiceSettings, ask: Ask) -> None:
        self._settings = settings
        self._ask = ask
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[str, int] = {}  # by connection id

    def __repr__(self) -> str:
        return f"Streaming({len(self._tasks)})"

    def __len__(self) -> int:
        return len(self._tasks)

    def admit(self, connection: "Connection", stream_id: str) -> str | None:
        """Take up a stream that the client asks for; else return why not."""
        if not 1 <= len(stream_id) <= _MAX_ID or stream_id.isspace():
            return f"Invocation failed, the id of a stream has 1 to {_MAX_ID} characters."
        streams = connection.streams
        if streams is None:
            streams = connection.streams = Streams()
        if streams.find(stream_id) is not None:
            # The error ends, for the client, all that has this id.
            self._let_go(streams.end(stream_id))
            return f"Invocation failed, the invocation id {stream_id!r} is in use."
        most = self._settings.max_client_streams
        if max(len(streams), self._running.get(connection.id, 0)) >= most:
            return f"Invocation failed, a client has at most {most} streams at a time."
        streams.open(stream_id)
        return None

    async def begin(self, connection: "Connection", message: StreamInvocation) -> None:
        """Begin a stream that was admitted, unless it has ended meanwhile.

        Returns when its call is on its way to the app: what the client says next comes after it.
        An app that cannot be reached holds that up no longer than a moment.
        """
        stream_id = message.invocation_id
        stream = connection.streams.find(stream_id) if connection.streams is not None else None
        if stream is None:
            return
        if len(self._tasks) >= self._settings.max_streams:
            error = "Invocation failed, the service has as many streams as it can have."
            await _end(connection, stream, [Completion(invocation_id=stream_id, error=error)])
            return
        begun = asyncio.Event()
        task = asyncio.get_running_loop().create_task(
            self._run(connection, stream, message, begun.set)
        )
        self._tasks.add(task)
        self._running[connection.id] = self._running.get(connection.id, 0) + 1
        task.add_done_callback(lambda done: self._done(connection.id, done))
        task.add_done_callback(lambda _: begun.set())
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEGINNING):
                await begun.wait()

    def cancel(self, connection: "Connection", stream_id: str) -> None:
        """The client waits for no more items of a stream. An id that is unknown is no error."""
        stream = connection.streams.end(stream_id) if connection.streams is not None else None
        if stream is not None:
            self._let_go(stream)
            # As the original's server does: the client hears of the end that it has asked for.
            connection.send(Completion(invocation_id=stream_id))

    def lost(self, connection: "Connection") -> None:
        """The connection has ended, and all its streams with it."""
        if connection.streams is not None:
            for stream in connection.streams.end_all():
                self._let_go(stream)

    async def close(self) -> None:
        """Cut what is left."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _let_go(self, stream: Stream | None) -> None:
        if stream is not None:
            stream.extend(_NOTICE)

    def _done(self, connection_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running[connection_id] -= 1
        if not self._running[connection_id]:
            del self._running[connection_id]

    async def _run(
        self,
        connection: "Connection",
        stream: Stream,
        message: StreamInvocation,
        begun: Written,
    ) -> None:
        if not stream.is_open:
            return
        limit = self._settings.stream_timeout
        messages: list[Message] = []
        try:
            async with stream.within(limit):
                messages = await self._ask(connection, message, begun)
                if not messages:
                    await stream.end()
        except TimeoutError:
            error = f"Invocation failed, the app has sent nothing for {limit:g} seconds."
            messages = [Completion(invocation_id=stream.id, error=error)]
        except Exception:
            # The client must learn of the end of its stream whatever nobody thought of.
            _logger.exception("upstream: a stream failed")
            error = "Invocation failed, status code 500"
            messages = [Completion(invocation_id=stream.id, error=error)]
        if stream.is_open:
            await _end(connection, stream, messages)


async def _end(connection: "Connection", stream: Stream, messages: list[Message]) -> None:
    assert connection.streams is not None
    connection.streams.end(stream.id)
    slices = Slices()
    for message in messages:
        connection.send(message)
        if slices.is_over:
            await slices.pause()
