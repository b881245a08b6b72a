"""Ends work for a request when whoever has sent the request waits no more.

It is for work that is of no use to anybody else then: the stream of a client that has left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

__all__ = ["closed", "while_waited_for"]

_Result = TypeVar("_Result")
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def while_waited_for(receive: _Receive, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """What `work` returns; `None` where the request was closed first, and `work` is cancelled.

    The request's body has to be read.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(closed(receive))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        left.cancel()
        task.cancel()
        await asyncio.gather(task, left, return_exceptions=True)
    return None


async def closed(receive: _Receive) -> None:
    """Return when the request is closed. Its body has to be read."""
    while (await receive())["type"] != "http.disconnect":
        pass
