"""An async function that blocks: it is named, and past the time limit its process is ended."""

import asyncio
import threading

import pytest

from hubbub.functions.watchdog import STATUS, Watchdog


async def test_a_loop_that_is_blocked_is_named_and_then_ended(
    log: pytest.LogCaptureFixture,
) -> None:
    blocked = threading.Event()
    ended = threading.Event()
    statuses: list[int] = []

    class Looks(threading.Event):
        """The pause before a look, which ends only when there is something to see."""

        def wait(self, timeout: float | None = None) -> bool:
            blocked.wait(20)
            return super().wait(timeout)

    def end(status: int) -> None:
        statuses.append(status)
        ended.set()

    watchdog = Watchdog(patience=0.01, limit=0.02, end=end, pause=0.001)
    watchdog._stopped = Looks()
    watchdog.start()

    assert blocked.set() or ended.wait(20)  # type: ignore[func-returns-value] # blocks the loop

    watchdog.stop()
    assert statuses == [STATUS]
    assert "An async function has blocked all others" in log.text
    assert "assert blocked.set() or ended.wait(20)" in log.text
    assert "longer than 'functionTimeout' allows" in log.text


async def test_a_loop_that_turns_again_in_time_is_left_alone(
    log: pytest.LogCaptureFixture,
) -> None:
    ended = threading.Event()
    warned = threading.Event()

    class Note:
        def filter(self, record: object) -> bool:
            warned.set()
            return True

    log.handler.addFilter(Note())
    watchdog = Watchdog(patience=0.01, limit=None, end=lambda _: ended.set(), pause=0.001)
    watchdog.start()

    assert warned.wait(20)  # blocks the loop
    await asyncio.sleep(0)

    watchdog.stop()
    assert not ended.is_set()
