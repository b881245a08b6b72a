"""One time limit for many calls: whoever runs longer is cancelled, and gets a TimeoutError.

All calls have the same limit, so they end in the order in which they began, and one timer of the
loop is enough for them. A timer for each would cost more than the call of a small function.
"""

import asyncio
from types import TracebackType
from typing import Any


class Deadlines:
    """The calls that run, the oldest first. Used from one event loop."""

    def __init__(self, limit: float | None) -> None:
        """`limit` is in seconds; None: nobody is ended."""
        self.limit = limit
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Deadlines {self.limit} s, {len(self._running)} running>"

    def close(self) -> None:
        """Give the timer up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def begin(self, deadline: "Deadline") -> None:
        """Count a call from now on."""
        if self.limit is None:
            return
        loop = asyncio.get_running_loop()
        deadline.at = loop.time() + self.limit
        self._running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.at, self._expire)

    def end(self, deadline: "Deadline") -> None:
        """Count it no more."""
        self._running.pop(deadline, None)

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for deadline in tuple(self._running):
            if deadline.at > now:
                self._timer = loop.call_at(deadline.at, self._expire)
                return
            del self._running[deadline]
            deadline.expire()


class Deadline:
    """The limit of what is awaited inside of `with`, as `asyncio.timeout` has it."""

    __slots__ = ("_cancelling", "_deadlines", "_has_expired", "_task", "at")

    def __init__(self, deadlines: Deadlines) -> None:
        self.at = 0.0  # by the loop's clock
        self._deadlines = deadlines
        self._has_expired = False

    def __enter__(self) -> None:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None, "only a task can be ended"
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.begin(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._has_expired:
            self._deadlines.end(self)
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error  # it is the limit that has cancelled, and nobody else

    def expire(self) -> None:
        """End the call."""
        self._has_expired = True
        self._task.cancel()
