"""A bounded pool of daemon threads for functions that are not async.

The standard library's pool waits for its threads when the process ends and never replaces one, so
a function that blocks for ever would keep the process alive and shrink the pool.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

Result = tuple[Any, BaseException | None]


class _Job:
    """One call and where its result goes."""

    __slots__ = ("call", "future", "loop", "state")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Result] = self.loop.create_future()
        self.state = "waiting"  # then "running", then "done" or "abandoned"


class ThreadPool:
    """At most `size` calls at once; more of them wait, in order. Used from one event loop."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0  # threads that wait and that no job was put for

    def __repr__(self) -> str:
        return f"<ThreadPool {self._threads}/{self.size} threads, {self._jobs.qsize()} waiting>"

    async def run(self, call: Callable[[], Any]) -> Result:
        """Run `call` in a thread; give what it returned or what it raised.

        If this is cancelled, the thread is given up and replaced.
        """
        job = _Job(call)
        with self._lock:
            self._jobs.put(job)
            if self._idle:
                self._idle -= 1
            elif self._threads < self.size:
                self._start_thread()
        try:
            return await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise

    def close(self) -> None:
        """Let the threads end when they have finished what they run."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start_thread(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name="hubbub-function", daemon=True).start()

    def _abandon(self, job: _Job) -> None:
        """Stop waiting for a job. Its thread, if it has one, no longer counts."""
        with self._lock:
            if job.state == "running":
                self._threads -= 1
                if not self._jobs.empty():
                    self._start_thread()
            if job.state != "done":
                job.state = "abandoned"

    def _work(self) -> None:
        while (job := self._next()) is not None:
            result = _outcome(job.call)
            with self._lock:
                if job.state == "abandoned":
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
                    return job


def _outcome(call: Callable[[], Any]) -> Result:
    try:
        return call(), None
    except BaseException as error:  # the thread must outlive SystemExit too; the caller decides
        return None, error


def _set(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
