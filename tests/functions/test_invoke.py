"""Invocations: how functions run, what they may do to the host, and what the log says."""

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.functions.apps import call

from hubbub.functions.context import InvocationFilter
from hubbub.functions.host import Host
from hubbub.functions.threads import ThreadPool

Load = Callable[..., Host]


async def test_each_invocation_is_one_line_with_function_outcome_and_time(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    host = load('\n@app.route()\nasync def hello(req):\n    return "ok"\n')

    await call(host, "GET", "/api/hello")

    (record,) = [record for record in log.records if record.name == "hubbub.functions"]
    assert record.levelname == "INFO"
    assert re.fullmatch(
        r"Executed 'Functions.hello' \(Succeeded, Id=[0-9a-f-]{36}, Duration=\d+ms\)",
        record.getMessage(),
    )


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ('raise ValueError("boom")', "ValueError: boom"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise TimeoutError('mine')", "TimeoutError: mine"),
    ],
)
async def test_a_function_that_raises_is_an_empty_500_and_a_traceback(
    load: Load, log: pytest.LogCaptureFixture, kind: str, statement: str, words: str
) -> None:
    host = load(
        f"\nimport asyncio\n@app.route()\n{kind} bad(req):\n    {statement}\n"
        '\n@app.route()\ndef hello(req):\n    return "ok"\n'
    )
    answer = await call(host, "GET", "/api/bad")

    assert (answer.status, answer.body) == (500, b"")
    assert "Executed 'Functions.bad' (Failed, " in log.text
    assert words in log.text
    trace = log.text.partition("Traceback")[2]
    assert 'function_app.py", line 9, in bad' in trace
    assert "hubbub/functions" not in trace
    assert (await call(host, "GET", "/api/hello")).status == 200


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_an_iterator_that_is_empty_is_a_failure_like_others(
    load: Load, log: pytest.LogCaptureFixture, kind: str
) -> None:
    host = load(f"\n@app.route()\n{kind} bad(req):\n    next(iter([]))\n")

    assert (await call(host, "GET", "/api/bad")).status == 500
    assert "StopIteration" in log.text
    assert 'function_app.py", line 8, in bad' in log.text


async def test_a_value_that_nothing_takes_fails_the_invocation(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    host = load(
        """
@app.generic_trigger(arg_name="req", type="httpTrigger", route="hello")
def hello(req):
    return "x" if req.params else None
"""
    )
    assert (await call(host, "GET", "/api/hello")).status == 204
    assert (await call(host, "GET", "/api/hello?x=1")).status == 500
    assert "function 'hello' without a $return binding returned a non-None value" in log.text


async def test_a_function_gets_a_context_of_its_own(load: Load) -> None:
    host = load(
        """
@app.route()
def hello(req: func.HttpRequest, context: func.Context) -> str:
    trace, retry = context.trace_context, context.retry_context
    return json.dumps([
        isinstance(context, func.Context), context.function_name, context.invocation_id,
        trace.trace_parent, trace.Traceparent, trace.trace_state, trace.attributes,
        retry.retry_count, retry.exception,
    ])
"""
    )
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    first = await call(host, "GET", "/api/hello", headers=[("traceparent", given)])
    second = await call(host, "GET", "/api/hello")

    is_context, name, one, parent, alias, *rest = first.json()
    assert (is_context, name, parent, alias) == (True, "hello", given, given)
    assert rest == ["", {}, 0, None]
    other = second.json()
    assert other[2] != one
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", other[3])


async def test_logs_belong_to_their_invocation_in_every_thread(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    log.handler.addFilter(InvocationFilter())
    host = load(
        """
import logging, threading

def in_thread(context):
    logging.info("unknown")
    context.thread_local_storage.invocation_id = context.invocation_id
    logging.info("known")

@app.route()
def hello(req, context):
    logging.info("sync")
    thread = threading.Thread(target=in_thread, args=(context,))
    thread.start()
    thread.join()
    return ""

@app.route()
async def other(req):
    logging.info("async")
    return ""
"""
    )
    await call(host, "GET", "/api/hello")
    await call(host, "GET", "/api/other")
    logging.getLogger().info("outside")

    functions = {record.getMessage(): record.__dict__["function"] for record in log.records}
    assert functions["sync"] == functions["known"] == "hello"
    assert functions["async"] == "other"
    assert functions["unknown"] == functions["outside"] == ""
    ids = {r.__dict__["invocation_id"] for r in log.records if r.__dict__["function"] == "hello"}
    assert len(ids) == 1


async def test_functions_that_block_run_side_by_side_up_to_the_limit(
    load: Load, stage: Any
) -> None:
    stage.together = threading.Barrier(2, timeout=20)
    host = load(
        "\nimport stage_of_test\n@app.route()\ndef wait(req):\n"
        '    stage_of_test.together.wait()\n    return "ok"\n',
        {"PYTHON_THREADPOOL_THREAD_COUNT": "2"},
    )
    answers = await asyncio.gather(*[call(host, "GET", "/api/wait") for _ in range(4)])

    assert [answer.status for answer in answers] == [200] * 4


async def test_a_function_over_the_time_limit_is_a_500_and_its_thread_is_replaced(
    load: Load, log: pytest.LogCaptureFixture, stage: Any
) -> None:
    stage.release = threading.Event()
    host = load(
        """
import stage_of_test, asyncio

@app.route()
def block(req):
    stage_of_test.release.wait()
    return ""

@app.route()
async def sleep(req):
    await asyncio.get_running_loop().create_future()

@app.route()
def quick(req):
    return "ok"
""",
        {
            "PYTHON_THREADPOOL_THREAD_COUNT": "1",
            "AzureFunctionsJobHost__functionTimeout": "00:00:01",
        },
    )
    sleeping = asyncio.create_task(call(host, "GET", "/api/sleep"))
    blocked = asyncio.create_task(call(host, "GET", "/api/block"))
    statuses = [(await sleeping).status, (await blocked).status]
    quick = await call(host, "GET", "/api/quick")
    stage.release.set()

    assert statuses == [500, 500]
    assert quick.text == "ok"
    assert "Timeout value of 00:00:01 exceeded by function 'Functions.block'" in log.text
    assert "Timeout value of 00:00:01 exceeded by function 'Functions.sleep'" in log.text


async def test_more_requests_than_allowed_are_turned_away(load: Load, stage: Any) -> None:
    stage.entered = asyncio.Event()
    stage.release = asyncio.Event()
    host = load(
        """
import stage_of_test

@app.route()
async def wait(req):
    stage_of_test.entered.set()
    await stage_of_test.release.wait()
    return "ok"
""",
        {"AzureFunctionsJobHost__extensions__http__maxOutstandingRequests": "1"},
    )
    # One application serves both, as it does behind a server.
    waiting = asyncio.create_task(call(host, "GET", "/api/wait"))
    await stage.entered.wait()
    refused = await call(host, "GET", "/api/wait")
    stage.release.set()

    assert (refused.status, refused.header("x-function-scaleout")) == (429, "1")
    assert (await waiting).status == 200
    assert (await call(host, "GET", "/api/wait")).status == 200


async def test_a_pool_gives_up_a_job_that_is_cancelled_before_it_starts() -> None:
    pool = ThreadPool(1)
    release = threading.Event()
    ran: list[str] = []
    first = asyncio.create_task(pool.run(release.wait))
    second = asyncio.create_task(pool.run(lambda: ran.append("second")))
    await asyncio.sleep(0)

    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    release.set()
    await first
    await pool.run(lambda: ran.append("third"))
    pool.close()

    assert ran == ["third"]
    assert repr(pool).startswith("<ThreadPool")
