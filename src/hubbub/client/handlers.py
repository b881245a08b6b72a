"""The app's functions: which is called for what, and the one task that calls them in order.

It knows no connection: what a handler returns is given back to who put the call in.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Dispatcher", "Handler", "Handlers", "Job", "call"]

_logger = logging.getLogger("hubbub.client")

# A plain function or a coroutine function. Plain ones run in the event loop, so they must be quick.
Handler = Callable[..., Any]
Job = Callable[[], Awaitable[None]]


class Handlers:
    """Who is called for which target, and for what happens to the connection.

    Targets compare ignoring case, as in the JavaScript and .NET clients.
    """

    def __init__(self) -> None:
        self._targets: dict[str, list[Handler]] = {}
        self.unhandled: list[Handler] = []
        self.reconnecting: list[Handler] = []
        self.reconnected: list[Handler] = []
        self.closed: list[Handler] = []

    def add(self, target: str, handler: Handler) -> None:
        """Call `handler` for invocations of `target`, after those that are there."""
        self._targets.setdefault(target.lower(), []).append(handler)

    def remove(self, target: str, handler: Handler | None) -> None:
        """Call `handler`, or any, no longer. One that is not there is no error."""
        handlers = self._targets.get(target.lower(), [])
        kept = [one for one in handlers if handler is not None and one != handler]
        if kept:
            self._targets[target.lower()] = kept
        else:
            self._targets.pop(target.lower(), None)

    def find(self, target: str) -> tuple[Handler, ...]:
        """Who is called for `target`."""
        return tuple(self._targets.get(target.lower(), ()))


class Dispatcher:
    """Runs the app's functions one after another, in the order of what they are called for."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._news = asyncio.Event()
        self._last: Job | None = None
        self._is_ending = False  # the last job is under way, or done
        self._stopped: Callable[[], object] | None = None
        self._task = asyncio.create_task(self._run(), name="hubbub client handlers")

    def __repr__(self) -> str:
        return f"Dispatcher(waiting={len(self._jobs)})"

    @property
    def is_current(self) -> bool:
        """Whether the caller is one of the functions that this runs."""
        return asyncio.current_task() is self._task

    def put(self, job: Job) -> None:
        """Run `job` when what came before it is done."""
        self._jobs.append(job)
        self._news.set()

    def end(self, last: Job) -> None:
        """Run what has been put in, then `last`, and nothing after it."""
        self._last = last
        self._news.set()

    def stop_soon(self, stopped: Callable[[], object]) -> None:
        """Call `stopped` when the job that runs is done, and run only what `end` is given."""
        self._stopped = stopped

    async def stop(self) -> None:
        """Drop what waits, cancel what runs, and run what `end` was given. From outside only."""
        self._jobs.clear()
        if not self._is_ending:
            self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._is_ending and self._last is not None:
            self._is_ending = True
            await self._last()

    async def wait_ended(self) -> None:
        """Wait until the last job is done. A job that calls this does not wait for itself."""
        if not self.is_current:
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            while self._jobs:
                await self._jobs.popleft()()
                if self._stopped is not None:
                    self._jobs.clear()
                    self._stopped()
                    self._stopped = None
            if self._last is not None:
                self._is_ending = True
                await self._last()
                return
            self._news.clear()
            await self._news.wait()


async def call(handlers: tuple[Handler, ...], what: str, *arguments: Any) -> list[Any | Exception]:
    """Call all of `handlers` in order; return what each returned or raised, without None."""
    outcomes: list[Any | Exception] = []
    for handler in handlers:
        try:
            outcome = handler(*arguments)
            if inspect.isawaitable(outcome):
                outcome = await outcome
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not this was cancelled but what the handler waited for: a failure like any other.
            _logger.exception("A handler for %s failed.", what)
            outcome = RuntimeError(f"What the handler for {what} waited for was cancelled.")
        except Exception as error:
            # The app's own code: its failure costs this call, not the connection or the next call.
            _logger.exception("A handler for %s failed.", what)
            outcome = error
        if outcome is not None:
            outcomes.append(outcome)
    return outcomes
