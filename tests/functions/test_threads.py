"""The threads of functions that are not async: how many wait, and what becomes of the lost."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.functions.apps import call
from tests.functions.test_webhook import SETTINGS, message, tell, trigger

from hubbub.functions import threads
from hubbub.functions.host import Host, HostOptions
from hubbub.functions.threads import PoolFullError, ThreadPool

Load = Callable[..., Host]

BLOCK = """
import stage_of_test

@app.route()
def block(req):
    stage_of_test.release.wait()
    return "ok"
"""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What functions that do not return wait for."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can reach."""
    monkeypatch.setattr(threads, "_MOST_WAITING", 2)
    monkeypatch.setattr(threads, "_MOST_LOST", 3)


def begin(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.ensure_future(work)


async def give_up(task: "asyncio.Task[Any]") -> None:
    """Cancel it, when it has begun."""
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def enter(pool: ThreadPool, release: threading.Event) -> "asyncio.Task[Any]":
    """Begin a function that does not return until `release`; it runs."""
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stay() -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait()

    task = begin(pool.run(stay))
    await entered.wait()
    return task


async def lose(pool: ThreadPool, release: threading.Event) -> None:
    """Give up a function that runs and does not return."""
    await give_up(await enter(pool, release))


async def until_returned(pool: ThreadPool) -> None:
    """Wait for the end of lost threads, of which nobody is told."""
    async with asyncio.timeout(30):
        while True:
            if not pool.lost:
                return
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("few")
async def test_a_call_that_would_wait_behind_too_many_is_refused(release: threading.Event) -> None:
    pool = ThreadPool(1)
    taken = [begin(pool.run(release.wait)) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(PoolFullError, match=r"All 1 threads .* 2 calls wait .*_THREAD_COUNT"):
        await pool.run(release.wait)
    await give_up(taken.pop())  # so there is room for another
    taken.append(begin(pool.run(release.wait)))
    release.set()

    await asyncio.gather(*taken)
    assert (await pool.run(lambda: "free again"))[0] == "free again"
    pool.close()


async def test_a_request_for_which_there_is_no_thread_is_answered_503_and_the_log_says_why(
    load: Load,
    stage: Any,
    release: threading.Event,
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_MOST_WAITING", 0)
    stage.release = release
    source = BLOCK + trigger(body="return 'told'")
    source += trigger("connected", "pass", category="connections", name="came")
    host = load(source, {"PYTHON_THREADPOOL_THREAD_COUNT": "1"} | SETTINGS)
    blocked = begin(call(host, "GET", "/api/block"))
    await asyncio.sleep(0)

    refused = await call(host, "GET", "/api/block")
    told = await tell(host, message(id_="1"))
    came = await tell(host, b'{"type":10}', X_ASRS_Category="connections", X_ASRS_Event="connected")
    release.set()

    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert b"Method execution failed." in told.body
    assert came.status == 503  # and not 403, which refuses the client
    assert (await blocked).status == 200
    assert "'Functions.block' (Failed" in log.text
    assert "Raise PYTHON_THREADPOOL_THREAD_COUNT" in log.text
    assert "Traceback" not in log.text


@pytest.mark.usefixtures("few")
async def test_lost_threads_are_replaced_up_to_a_limit_and_that_is_said_once(
    release: threading.Event, log: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPool(1)
    for _ in range(3):
        await lose(pool, release)
        assert (await pool.run(lambda: "replaced"))[0] == "replaced"

    (warning,) = log.messages
    assert warning.startswith("1 functions have not returned though nobody waits for them")
    assert "in stay" in warning  # where it is
    await lose(pool, release)
    assert pool.lost == 4
    waiting = begin(pool.run(lambda: "at last"))
    await asyncio.sleep(0)
    assert repr(pool) == "<ThreadPool 0/1 threads, 4 lost, 1 waiting>"
    await give_up(waiting)
    pool.close()


@pytest.mark.usefixtures("few")
async def test_a_pool_without_threads_is_given_up_unless_one_returns_in_time(
    release: threading.Event, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_MOST_LOST", 0)
    monkeypatch.setattr(threads, "_STUCK", 0.0)
    exhausted = asyncio.Event()
    pool = ThreadPool(1, exhausted.set)
    first = threading.Event()
    await lose(pool, first)
    pool.lost -= 1  # as if it had returned
    looked = asyncio.Event()
    asyncio.get_running_loop().call_later(0, looked.set)  # after the look of the pool
    await looked.wait()
    assert not exhausted.is_set()
    pool.lost += 1
    first.set()
    await until_returned(pool)

    await lose(pool, release)
    await asyncio.wait_for(exhausted.wait(), 30)
    assert log.messages[-1].startswith("1 functions have not returned and hold all threads")
    pool.close()


@pytest.mark.usefixtures("few")
async def test_a_lost_thread_that_returns_after_all_counts_no_more(
    release: threading.Event,
) -> None:
    pool = ThreadPool(1)
    await lose(pool, release)
    release.set()
    await until_returned(pool)
    pool.close()


async def test_who_waits_when_all_threads_are_lost_runs_when_one_returns(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_MOST_LOST", 0)
    pool = ThreadPool(1)
    await lose(pool, release)
    waiting = [begin(pool.run(lambda: "at last")) for _ in range(2)]
    await asyncio.sleep(0)

    release.set()  # and nobody calls any more, which would start a thread
    async with asyncio.timeout(30):
        assert [(await task)[0] for task in waiting] == ["at last", "at last"]
    pool.close()


async def test_a_thread_that_the_system_does_not_start_is_no_thread_of_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = ThreadPool(1)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(PoolFullError, match="The system starts no thread"):
            await pool.run(lambda: "none")

    async with asyncio.timeout(30):
        assert (await pool.run(lambda: "one"))[0] == "one"
    pool.close()


async def test_too_many_lost_threads_have_the_process_started_again(
    load: Load, stage: Any, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_MOST_LOST", 0)
    monkeypatch.setattr(threads, "_STUCK", 0.0)
    stage.release = release
    restarted = asyncio.Event()
    host = load(
        BLOCK,
        {
            "AzureFunctionsJobHost__functionTimeout": "00:00:01",
            "PYTHON_THREADPOOL_THREAD_COUNT": "1",
        },
        options=HostOptions(restart=restarted.set),
    )

    assert (await call(host, "GET", "/api/block")).status == 500
    await asyncio.wait_for(restarted.wait(), 30)


async def test_a_pool_in_which_no_thread_gets_free_says_where_they_are_once(
    release: threading.Event, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ThreadPool(1)
    first = await enter(pool, release)
    second = begin(pool.run(release.wait))
    await asyncio.sleep(0)
    assert log.messages == []  # for which it is too early

    monkeypatch.setattr(threads, "_STUCK", 0.0)
    rest = [begin(pool.run(release.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(first, second, *rest)
    pool.close()

    (warning,) = log.messages
    assert "and 2 calls wait for one. Raise PYTHON_THREADPOOL_THREAD_COUNT" in warning
