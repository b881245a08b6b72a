"""A bounded pool of daemon threads for functions that are not async.

The standard library's pool waits for its threads when the process ends and never replaces one, so
a function that blocks for ever would keep the process alive and shrink the pool. It refuses calls
when too many wait already.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from hubbub.functions.function import InvocationError
from hubbub.functions.watchdog import stack_of

logger = logging.getLogger("hubbub.functions")

Result = tuple[Any, BaseException | None]
SETTING = "PYTHON_THREADPOOL_THREAD_COUNT"
_NAME = "hubbub-function"  # of the threads
_MOST_WAITING = 1000  # calls; each keeps what it was called with
_MOST_LOST = 100  # threads that are replaced though they have not returned
_STUCK = 30.0  # seconds without a thread that gets free, after which that is said, or acted upon


class PoolFullError(InvocationError):
    """So many calls wait for a thread that one more would wait too long."""


class _Job:
    """One call and where its result goes."""

    __slots__ = ("call", "future", "loop", "state")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Result] = self.loop.create_future()
        self.state = "waiting"  # then "running", then "done" or "abandoned"


class ThreadPool:
    """At most `size` calls at once; more of them wait, in order. Used from one event loop.

    A thread that is given up is replaced, up to a limit of those that have not returned.
    """

    def __init__(self, size: int, exhausted: Callable[[], object] = lambda: None) -> None:
        """`exhausted` is called when functions that do not return have all threads."""
        self.size = size
        self.lost = 0  # threads that were given up and have not returned
        self._exhausted = exhausted
        self._calls = 0  # of `run` that have not ended
        self._taken_at = 0.0  # when a thread was started or began a job, in monotonic time
        self._said: set[object] = set()  # what was said already
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0  # threads that wait and that no job was put for

    def __repr__(self) -> str:
        return (
            f"<ThreadPool {self._threads}/{self.size} threads, {self.lost} lost, "
            f"{self._waiting} waiting>"
        )

    async def run(self, call: Callable[[], Any]) -> Result:
        """Run `call` in a thread; give what it returned or what it raised.

        If this is cancelled, the thread is given up and replaced. Raises `PoolFullError`.
        """
        job = _Job(call)
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif not self._start_thread():
                self._look_at_queue()
            self._jobs.put(job)
        self._calls += 1
        try:
            return await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        finally:
            self._calls -= 1

    def close(self) -> None:
        """Let the threads end when they have finished what they run."""
        for _ in range(self._threads):
            self._jobs.put(None)

    @property
    def _waiting(self) -> int:
        return max(0, self._calls - self._threads)

    def _start_thread(self) -> bool:
        """Start one more thread if there may be one more."""
        if self._threads >= self.size or self._threads + self.lost >= self.size + _MOST_LOST:
            return False
        try:
            threading.Thread(target=self._work, name=_NAME, daemon=True).start()
        except RuntimeError:  # the system has no more of them, or allows no more
            return False
        self._threads += 1
        self._taken_at = time.monotonic()
        return True

    def _look_at_queue(self) -> None:
        """Say that no thread gets free, and refuse a job where too many wait, or for nothing."""
        if not self._threads and not self.lost:
            raise PoolFullError("The system starts no thread: it allows no more of them.")
        stuck = time.monotonic() - self._taken_at
        if stuck > _STUCK and self._taken_at not in self._said:
            self._said.add(self._taken_at)
            logger.warning(
                "All %d threads have been in use for %.0f seconds and %d calls wait for one. Raise "
                "%s, write what waits long with `async def`, or give it a timeout. It is here:\n%s",
                self._threads, stuck, self._waiting + 1, SETTING, _stacks(),
            )  # fmt: skip
        if self._calls - self._threads >= _MOST_WAITING:
            raise PoolFullError(
                f"All {self._threads} threads are in use and {self._waiting} calls wait for one. "
                f"Raise {SETTING}, or write what waits long with `async def`."
            )

    def _abandon(self, job: _Job) -> None:
        """Stop waiting for a job. Its thread, if it has one, no longer counts."""
        with self._lock:
            if job.state == "running":
                self._threads -= 1
                self.lost += 1
                self._look_at_lost()
                if not self._jobs.empty():
                    self._start_thread()
            elif job.state == "waiting":
                job.call = _nothing  # what it would have been called with
            if job.state != "done":
                job.state = "abandoned"

    def _look_at_lost(self) -> None:
        """Say, once each, that as many threads as there are were lost, and that it is too many."""
        if self.lost == self.size and "lost" not in self._said:
            self._said.add("lost")
            logger.warning(
                "%d functions have not returned though nobody waits for them any more, mostly as "
                "'functionTimeout' was over: as many as %s allows at once. Their threads are "
                "replaced, but keep their memory. Give what they wait for a timeout. They are here:"
                "\n%s",
                self.lost, SETTING, _stacks(),
            )  # fmt: skip
        if self._is_exhausted and "exhausted" not in self._said:
            self._said.add("exhausted")
            asyncio.get_running_loop().call_later(_STUCK, self._look_again)

    @property
    def _is_exhausted(self) -> bool:
        return self._threads == 0 and self.lost >= self.size + _MOST_LOST

    def _look_again(self) -> None:
        """Give the pool up, unless a function has returned meanwhile."""
        if not self._is_exhausted:
            self._said.discard("exhausted")
            return
        logger.error(
            "%d functions have not returned and hold all threads that there may be. No other can "
            "run, so the process has to be started again.",
            self.lost,
        )
        self._exhausted()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            result = _outcome(job.call)
            with self._lock:
                if job.state == "abandoned":
                    self.lost -= 1
                    if not self._jobs.empty():  # there was no thread for it, and is room for one
                        self._start_thread()
                    return
                job.state = "done"
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                job.loop.call_soon_threadsafe(_set, job.future, result)

    def _next(self) -> _Job | None:
        """The next job that somebody waits for, or None at the end."""
        while True:
            with self._lock:
                self._idle += self._jobs.empty()
            job = self._jobs.get()
            with self._lock:
                if job is None:
                    self._threads -= 1
                    return None
                if job.state == "waiting":
                    job.state = "running"
                    self._taken_at = time.monotonic()
                    return job


def _outcome(call: Callable[[], Any]) -> Result:
    try:
        return call(), None
    except BaseException as error:  # the thread must outlive SystemExit too; the caller decides
        return None, error


def _nothing() -> None:
    """Stands for a call that nobody wants any more."""


def _stacks() -> str:
    """Where some of the threads are, each place once."""
    frames = sys._current_frames()
    busy = [
        thread.ident
        for thread in threading.enumerate()
        if thread.name == _NAME and thread.ident in frames
        if frames[thread.ident].f_code is not ThreadPool._next.__code__
    ]
    places = dict.fromkeys(stack_of(ident) for ident in busy)
    return "\n".join(list(places)[:3])


def _set(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
