"""Streams from this client to the hub: each is an argument that arrives item by item."""

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import Any

from hubbub.errors import HubbubError
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Completion, Message, StreamItem

__all__ = ["Uploads", "split_streams"]

_logger = logging.getLogger("hubbub.client")
Send = Callable[[Message], Awaitable[None]]


def split_streams(
    arguments: Iterable[Any], new_id: Callable[[], str]
) -> tuple[list[Any], dict[str, AsyncIterable[Any]]]:
    """Part the plain arguments from the streams; each stream gets an id.

    The hub's method takes its stream parameters from the ids, in their order (HubProtocol.md,
    "Upload streaming").
    """
    plain = []
    streams = {}
    for argument in arguments:
        if isinstance(argument, AsyncIterable):
            streams[new_id()] = argument
        else:
            plain.append(argument)
    return plain, streams


class Uploads:
    """The tasks that send streams. They end with the connection at the latest."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, streams: Mapping[str, AsyncIterable[Any]], send: Send
    ) -> tuple[asyncio.Task[None], ...]:
        """Send each of `streams` by `send`, all at once. Returns what `stop` takes."""
        tasks = tuple(
            asyncio.create_task(self._upload(stream_id, stream, send), name="hubbub upload")
            for stream_id, stream in streams.items()
        )
        self._tasks.update(tasks)
        for task in tasks:
            task.add_done_callback(self._tasks.discard)
        return tasks

    async def stop(self, tasks: Iterable[asyncio.Task[None]] | None = None) -> None:
        """Cancel `tasks`, or all, and wait until they have let go of what they read."""
        pending = tuple(self._tasks if tasks is None else tasks)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)

    async def _upload(self, stream_id: str, stream: AsyncIterable[Any], send: Send) -> None:
        error = None
        iterator: Any = None
        try:
            iterator = aiter(stream)
            async for item in iterator:
                raw = self._codec.encode_value(item)
                await send(StreamItem(invocation_id=stream_id, item=raw))
        except HubbubError as failure:
            _logger.debug("! a stream to the hub ended: %s", failure)
            return
        except Exception as failure:
            # The app's own iterator, or a value without an encoding: the hub is told, and the
            # connection goes on.
            _logger.exception("A stream to the hub failed.")
            error = str(failure) or type(failure).__name__
        finally:
            if hasattr(iterator, "aclose"):
                await iterator.aclose()
        try:
            await send(Completion(invocation_id=stream_id, error=error))
        except HubbubError as failure:
            _logger.debug("! a stream to the hub ended: %s", failure)
