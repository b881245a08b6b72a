"""Notices an async function that blocks: it stops every other one, and timeouts cannot end it.

First it says where the function is; past the functions' time limit it ends the process, which is
started again. It runs in a thread and touches nothing of the app.
"""

import asyncio
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

logger = logging.getLogger("hubbub.functions")

STATUS = 75  # the exit status: "temporary failure", to be tried again
_PAUSE = 1.0  # seconds from one look to the next


class Watchdog:
    """Looks again and again whether the event loop of one thread still turns."""

    def __init__(
        self,
        *,
        patience: float = 5.0,
        limit: float | None,
        end: Callable[[int], None] = os._exit,
        pause: float = _PAUSE,
    ) -> None:
        """After `patience` seconds it warns, after `limit` it calls `end`; None: it never does."""
        self._patience = patience if limit is None else min(patience, limit / 2)
        self._limit = limit
        self._end = end
        self._pause = pause
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch the running loop."""
        loop, thread = asyncio.get_running_loop(), threading.get_ident()
        watch = threading.Thread(
            target=self._watch, args=(loop, thread), name="watchdog", daemon=True
        )
        watch.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._stopped.wait(self._pause):
            turned = threading.Event()
            try:
                loop.call_soon_threadsafe(turned.set)
            except RuntimeError:
                return  # the loop is closed
            if turned.wait(self._patience) or self._stopped.is_set():
                continue
            logger.warning(
                "An async function has blocked all others for %.0f seconds. Await what takes "
                "long, or write the function with `def`. It is here:\n%s",
                self._patience,
                stack_of(thread),
            )
            if self._limit is None:
                turned.wait()
            elif not turned.wait(max(0.0, self._limit - self._patience)):
                logger.error(
                    "It has blocked for longer than 'functionTimeout' allows. The process is "
                    "ended and started again."
                )
                self._end(STATUS)
                return


def stack_of(thread: int) -> str:
    """Where a thread is, innermost line last."""
    frame = sys._current_frames().get(thread)
    return "".join(traceback.format_stack(frame)[-4:]).rstrip() if frame is not None else ""
