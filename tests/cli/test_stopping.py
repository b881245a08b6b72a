"""What Ctrl-C does: clients are let go and the app hears of it, then all ends, in this order."""

import asyncio
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from tests.cli.programs import running, write_app
from tests.e2e.running import STOP_SECONDS

from hubbub.client import HubClient
from hubbub.protocol.endpoints import client_url, parse_connection_string
from hubbub.protocol.tokens import issue_client_token

FREE = ("--port", "0", "--service-port", "0")
TELLS_OF_ENDS = """
import json
import os

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.generic_trigger(
    arg_name="event", type="signalRTrigger", hubName="chat", category="connections",
    event="disconnected",
)
@app.generic_output_binding(arg_name="messages", type="signalR", hubName="chat")
def left(event: str, messages: func.Out[str]) -> None:
    user = json.loads(event)["UserId"]
    messages.set(json.dumps({"target": "left", "arguments": [user]}))
"""


def client_of(connection_string: str, user: str) -> HubClient:
    endpoint = parse_connection_string(connection_string)
    return HubClient(
        client_url(endpoint, "chat"),
        access_token=lambda: issue_client_token(
            endpoint, "chat", now=int(time.time()), user_id=user
        ),
        reconnect=None,
    )


async def test_the_app_hears_who_left_and_may_still_send_when_all_is_stopped(
    tmp_path: Path,
) -> None:
    app, log = write_app(tmp_path / "app", TELLS_OF_ENDS), tmp_path / "log"
    async with AsyncExitStack() as stack:
        process, facts = stack.enter_context(
            running("start", str(app), *FREE, cwd=tmp_path, log=log)
        )
        await stack.enter_async_context(client_of(facts["service"]["connectionString"], "ann"))

        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0

    text = log.read_text()
    assert "Stopping; press Ctrl-C again to end at once.\n" in text
    assert "Executed 'Functions.left' (Succeeded" in text, text
    assert "Traceback" not in text
    assert "ERROR" not in text


SENDS_LATE = """
import json
import os
import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="late")
@app.generic_output_binding(arg_name="messages", type="signalR", hubName="chat")
def late(req: func.HttpRequest, messages: func.Out[str]) -> str:
    print("it has begun", flush=True)
    while not os.path.exists("release"):
        time.sleep(0.01)
    messages.set(json.dumps({"target": "late", "arguments": []}))
    return "sent"


@app.route(route="new")
def new(req: func.HttpRequest) -> str:
    return "new"


@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
@app.generic_output_binding(arg_name="messages", type="signalR", hubName="chat")
def tick(timer: func.TimerRequest, messages: func.Out[str]) -> None:
    messages.set(json.dumps({"target": "tick", "arguments": []}))
"""


async def test_what_an_app_has_begun_may_use_the_service_until_it_has_finished(
    tmp_path: Path,
) -> None:
    app, log = write_app(tmp_path / "app", SENDS_LATE), tmp_path / "log"
    heard = asyncio.Event()
    with running("start", str(app), *FREE, cwd=tmp_path, log=log) as (process, facts):
        urls = {each["name"]: each["url"] for each in facts["host"]["functions"]}
        ann = client_of(facts["service"]["connectionString"], "ann")
        ann.on("late")(heard.set)
        ann.on("tick")(lambda: None)
        async with ann:
            begun = asyncio.create_task(asyncio.to_thread(status_of, urls["late"]))
            await until(lambda: "it has begun" in log.read_text())
            process.send_signal(signal.SIGINT)
            await until(lambda: status_of(urls["new"]) == 503)
            (app / "release").touch()
            assert await begun == 200
            await asyncio.wait_for(heard.wait(), STOP_SECONDS)
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0

    assert "ERROR" not in log.read_text()


ANSWERS_LATE = """
import asyncio
import json
import os

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.generic_trigger(
    arg_name="call", type="signalRTrigger", hubName="chat", category="messages", event="late"
)
@app.generic_output_binding(arg_name="messages", type="signalR", hubName="chat")
async def late(call: str, messages: func.Out[str]) -> None:
    print("it has begun", flush=True)
    while not os.path.exists("release"):
        await asyncio.sleep(0.01)
    messages.set(json.dumps({"target": "sent", "arguments": []}))


@app.route(route="new")
def new(req: func.HttpRequest) -> str:
    return "new"
"""


async def test_a_client_hears_what_it_called_for_before_the_end_began(tmp_path: Path) -> None:
    app, log = write_app(tmp_path / "app", ANSWERS_LATE), tmp_path / "log"
    heard = asyncio.Event()
    with running("start", str(app), *FREE, cwd=tmp_path, log=log) as (process, facts):
        urls = {each["name"]: each["url"] for each in facts["host"]["functions"]}
        ann = client_of(facts["service"]["connectionString"], "ann")
        ann.on("sent")(heard.set)
        async with ann:
            answer = asyncio.create_task(ann.invoke("late"))
            await until(lambda: "it has begun" in log.read_text())
            process.send_signal(signal.SIGINT)
            await until(lambda: status_of(urls["new"]) == 503)
            (app / "release").touch()
            await asyncio.wait_for(answer, STOP_SECONDS)
            await asyncio.wait_for(heard.wait(), STOP_SECONDS)
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=STOP_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again until it is so."""
    async with asyncio.timeout(STOP_SECONDS):
        while True:
            if await asyncio.to_thread(condition):
                return
            await asyncio.sleep(0.02)


SLOW = """
import os
import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="slow")
async def slow(req: func.HttpRequest) -> str:
    import asyncio

    print("it has begun", flush=True)
    await asyncio.sleep(3600)
"""


def test_a_request_that_is_given_up_at_the_end_leaves_no_traceback(tmp_path: Path) -> None:
    app, log = write_app(tmp_path / "app", SLOW), tmp_path / "log"
    with running("start", str(app), *FREE, cwd=tmp_path, log=log) as (process, facts):
        asking = threading.Thread(target=ask, args=(facts["host"]["functions"][0]["url"],))
        asking.start()
        while "it has begun" not in log.read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
        asking.join(STOP_SECONDS)

    text = log.read_text()
    assert "Executed 'Functions.slow' (Cancelled" in text
    assert "Traceback" not in text
    assert "Ctrl-C" not in text  # nobody has pressed it


def ask(url: str) -> None:
    with suppress(OSError), urllib.request.urlopen(url, timeout=60):
        pass


def test_a_service_alone_says_that_it_stops(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running("service", "--port", "0", cwd=tmp_path, log=log) as (process, _):
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)

    assert log.read_text() == "Stopping; press Ctrl-C again to end at once.\n"
