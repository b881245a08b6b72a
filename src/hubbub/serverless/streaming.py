"""Answers a client's `stream` item by item, over the service's REST calls for streams.

Each item waits until the service has taken the one before. It stops as soon as the service says
that nobody listens any more, and closes the generator then.
"""

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from typing import Any, Final

from hubbub.errors import CallerError, HubbubError, ServiceError
from hubbub.serverless.arguments import plain
from hubbub.serverless.context import InvocationContext

__all__ = [
    "StreamingError",
    "check_way",
    "failing",
    "failing_async",
    "send_items",
    "send_items_async",
    "streams",
]

_logger = logging.getLogger("hubbub.serverless")
_GONE: Final = ".NotExisted"  # how the codes of the service end where a client or stream has ended
_UNSENT: Final = "An item of the stream could not be sent."

# The connection of a client as the service's client has it, for a loop or for a thread.
Listener = Callable[[], Any]


class StreamingError(CallerError):
    """A client has called a stream by `invoke`, or something else by `stream`; or a send failed.

    The caller gets to read the message.
    """


def streams(function: Callable[..., Any]) -> bool:
    """Whether a method answers item by item."""
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


def check_way(context: InvocationContext, *, is_stream: bool) -> None:
    """Refuse a call that is not made in the way that the method is for.

    Raises `StreamingError` with the sentences of ASP.NET Core.
    """
    wanted, used = ("streaming", "non-streaming") if is_stream else ("non-streaming", "streaming")
    if is_stream != (context.stream_id is not None):
        raise StreamingError(
            f"The client attempted to invoke the {wanted} '{context.event}' method with a {used} "
            "invocation."
        )


async def send_items_async(
    items: AsyncGenerator[Any, None], listener: Listener, stream_id: str | None
) -> None:
    """Send what `items` yields until it ends, or until nobody listens."""
    async with aclosing(items):
        async for item in items:
            with _sending() as sending:
                await listener().send_stream_item(stream_id, plain(item))
            if sending.is_over:
                return


def send_items(
    items: Generator[Any, None, None], listener: Listener, stream_id: str | None
) -> None:
    """The same in a thread."""
    with closing(items):
        for item in items:
            with _sending() as sending:
                listener().send_stream_item(stream_id, plain(item))
            if sending.is_over:
                return


@asynccontextmanager
async def failing_async(listener: Listener, stream_id: str | None) -> AsyncIterator[None]:
    """End the stream, if it is one, with what is raised inside, and raise it again.

    The host's answer would do that too, but not every host's is fit for clients: that of Azure has
    the stack in it.
    """
    try:
        yield
    except Exception as error:
        if stream_id is not None:
            with _telling(error):
                await listener().complete_stream(stream_id, _words(error))
        raise


@contextmanager
def failing(listener: Listener, stream_id: str | None) -> Iterator[None]:
    """The same in a thread."""
    try:
        yield
    except Exception as error:
        if stream_id is not None:
            with _telling(error):
                listener().complete_stream(stream_id, _words(error))
        raise


class _Sending:
    is_over = False


@contextmanager
def _sending() -> Iterator[_Sending]:
    """Tell a stream that nobody waits for from one that could not be sent."""
    sending = _Sending()
    try:
        yield sending
    except ServiceError as error:
        if error.status != 404 or not (error.code or "").endswith(_GONE):
            raise StreamingError(_UNSENT) from error
        sending.is_over = True


@contextmanager
def _telling(error: Exception) -> Iterator[None]:
    try:
        yield
    except HubbubError as failure:  # what went wrong first is what the app's log has to show
        _logger.debug("a stream's end by %s was not told: %s", type(error).__name__, failure)


def _words(error: Exception) -> str:
    """What a client may know: what was raised, without its stack."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
