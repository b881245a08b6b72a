"""One time limit for many calls: who is ended, who is not, and what the cancelled sees."""

import asyncio

import pytest

from hubbub.functions.deadline import Deadline, Deadlines

SHORT = 0.02  # seconds that a test waits for


async def wait(deadlines: Deadlines) -> str:
    try:
        with Deadline(deadlines):
            await asyncio.Event().wait()
    except TimeoutError:
        return "too long"
    return "never"


async def test_all_that_run_too_long_are_ended_by_one_timer() -> None:
    deadlines = Deadlines(SHORT)
    first = [asyncio.create_task(wait(deadlines)) for _ in range(3)]
    await first[0]
    second = asyncio.create_task(wait(deadlines))  # the timer is set anew for later calls

    assert [await task for task in first] == ["too long"] * 3
    assert await asyncio.wait_for(second, 30) == "too long"
    assert "0 running" in repr(deadlines)


async def test_a_call_that_ends_in_time_is_counted_no_more() -> None:
    deadlines = Deadlines(SHORT)
    with Deadline(deadlines):
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None

    assert await wait(deadlines) == "too long"  # by then the first limit is over too
    assert task.cancelling() == 0


async def test_who_is_cancelled_by_somebody_else_sees_that() -> None:
    deadlines = Deadlines(3600)
    task = asyncio.create_task(wait(deadlines))
    await asyncio.sleep(0)
    assert "1 running" in repr(deadlines)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert "0 running" in repr(deadlines)
    deadlines.close()


async def test_a_cancellation_that_comes_with_the_limit_is_not_lost() -> None:
    deadlines = Deadlines(SHORT)

    async def work() -> None:
        try:
            with Deadline(deadlines):
                await asyncio.Event().wait()
        finally:
            pass

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    running = next(iter(deadlines._running))
    running.expire()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    deadlines.close()


async def test_an_error_at_the_limit_is_the_calls_own() -> None:
    with pytest.raises(ValueError, match="mine"), Deadline(Deadlines(SHORT)):
        raise ValueError("mine")


async def test_without_a_limit_nobody_is_ended() -> None:
    deadlines = Deadlines(None)

    with Deadline(deadlines):
        assert "0 running" in repr(deadlines)
