"""An answer that is known later, written in its turn: requests that follow on the connection wait.

It drives what makes the answer without a task. It does not know HTTP.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hubbub.service.calls import Answer

__all__ = ["Later", "begin"]


class Later:
    """An answer that waits for futures, one after another. `then` is called once with it."""

    # What uvicorn asks the request before its own: that one is queued while this is false.
    response_complete = False

    def __init__(self, work: Coroutine[Any, Any, Answer], awaited: "asyncio.Future[Any]") -> None:
        self._work = work
        self.then: Callable[[Later, Answer | Exception], object] | None = None
        self.is_last = False  # the connection ends with it
        self.is_spoilt = False  # what follows on the connection is no HTTP
        awaited.add_done_callback(self._go_on)

    def __repr__(self) -> str:
        return f"Later({self._work!r})"

    def _go_on(self, _: "asyncio.Future[Any]") -> None:
        result: Answer | Exception
        try:
            # It looks at the future itself, and raises what that holds.
            self._work.send(None).add_done_callback(self._go_on)
        except StopIteration as end:
            result = end.value
        except Exception as error:  # whoever waits for the answer is told
            result = error
        else:
            return
        if self.then is not None:
            self.then(self, result)


def begin(work: Coroutine[Any, Any, Answer]) -> Answer | Later:
    """The answer, if nothing has to be waited for. What it waits for are futures of this loop."""
    try:
        awaited = work.send(None)
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    if not asyncio.isfuture(awaited):
        work.close()
        raise RuntimeError(f"{work!r} waits for {awaited!r}, which is no future")
    return Later(work, awaited)
