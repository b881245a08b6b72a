"""Functions with FastAPI's types: requests and responses that go in parts."""

import asyncio
import json
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from tests.functions.apps import FASTAPI, HEADER, call

from hubbub.functions.app import create_app
from hubbub.functions.host import Host

# Not imported here: the host asks whether its app has done that.
pytestmark = pytest.mark.skipif(
    find_spec("azurefunctions") is None,
    reason="azurefunctions-extensions-http-fastapi is not installed",
)

Load = Callable[..., Host]
# The two public samples of the package, in other words.
UPLOAD = """
import hashlib
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request
import stage_of_test as stage

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="upload", methods=[func.HttpMethod.POST])
async def upload(req: Request) -> JSONResponse:
    digest = hashlib.sha256()
    async for chunk in req.stream():
        digest.update(chunk)
        stage.chunks.put_nowait(chunk)
    return JSONResponse({"sha256": digest.hexdigest()})
"""
DOWNLOAD = """
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, StreamingResponse
import stage_of_test as stage

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

def readings():
    for number in range(2):
        yield f"data: {number}\\n\\n"
        stage.gate.acquire()

@app.route(route="stream", methods=[func.HttpMethod.GET])
async def stream(req: Request) -> StreamingResponse:
    return StreamingResponse(readings(), media_type="text/event-stream")
"""


class Client:
    """One request at the ASGI application, of which the test plays the server."""

    def __init__(
        self, host: Host, path: str, method: str = "GET", *, most: int = 0, **headers: str
    ) -> None:
        """A client that takes `most` messages and is `stuck` then; 0: it never is."""
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()  # what the client sends
        self.sent: asyncio.Queue[Any] = asyncio.Queue(most)  # what it gets
        self.stuck = asyncio.Event()
        scope = {
            "type": "http", "method": method, "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "server": ("127.0.0.1", 7071),
            "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        app = create_app(host)
        self.task = asyncio.ensure_future(app(scope, self.inbox.get, self._take))

    async def _take(self, message: Any) -> None:
        if self.sent.full():
            self.stuck.set()
        await self.sent.put(message)

    def send(self, body: bytes, more: bool = False) -> None:
        self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self.inbox.put_nowait({"type": "http.disconnect"})


async def test_an_upload_reaches_the_function_while_it_is_sent(load: Load, stage: Any) -> None:
    stage.chunks = asyncio.Queue()
    client = Client(load(UPLOAD, header=""), "/api/upload", "POST")

    async with asyncio.timeout(30):
        client.send(b"one", more=True)
        assert await stage.chunks.get() == b"one"
        client.send(b"two")
        assert await stage.chunks.get() == b"two"
        await client.task

    start, body = client.sent.get_nowait(), client.sent.get_nowait()
    assert (b"content-type", b"application/json") in start["headers"]
    assert json.loads(body["body"])["sha256"].startswith("25b6746d5172")


async def test_a_download_is_sent_while_it_is_made_with_the_hosts_headers(
    load: Load, stage: Any, log: pytest.LogCaptureFixture
) -> None:
    stage.gate = threading.Semaphore(0)
    host = load(
        DOWNLOAD,
        header="",
        files={
            "host.json": {"version": "2.0", "extensions": {"http": {"customHeaders": {"X": "1"}}}},
            "local.settings.json": {"Host": {"CORS": "http://page"}},
        },
    )
    client = Client(host, "/api/stream", origin="http://page")
    client.send(b"")

    async with asyncio.timeout(30):
        start, part = await client.sent.get(), await client.sent.get()
        assert dict(start["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert dict(start["headers"])[b"access-control-allow-origin"] == b"http://page"
        assert dict(start["headers"])[b"x"] == b"1"
        assert part["body"] == b"data: 0\n\n"
        assert "Executed" not in log.text
        stage.gate.release()
        assert (await client.sent.get())["body"] == b"data: 1\n\n"
        stage.gate.release()
        await client.task

    assert "Executed 'Functions.stream' (Succeeded" in log.text


ENDLESS = """
import stage_of_test as stage

async def parts():
    try:
        while True:
            yield b"part"
            await stage.gate.wait()
    finally:
        stage.notes.append("ended")
"""
ENDLESS_FUNCTION = """
@app.route()
async def endless(req: Request) -> StreamingResponse:
    return StreamingResponse(parts())
"""
ENDLESS_APP = """
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

page = FastAPI()

@page.get("/api/endless")
def endless():
    return StreamingResponse(parts())

class App(func.AsgiFunctionApp):
    def __del__(self):
        pass  # the library's own would start an event loop while this one runs

app = App(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)
"""


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        (HEADER + FASTAPI + ENDLESS + ENDLESS_FUNCTION, "Cancelled"),
        ("import azure.functions as func\n" + ENDLESS + ENDLESS_APP, "Succeeded"),
    ],
)
async def test_a_stream_ends_when_its_client_leaves(
    load: Load, stage: Any, log: pytest.LogCaptureFixture, source: str, outcome: str
) -> None:
    stage.gate, stage.notes = asyncio.Event(), []
    client = Client(load(source, header=""), "/api/endless")
    client.send(b"")

    async with asyncio.timeout(30):
        assert (await client.sent.get())["status"] == 200
        assert (await client.sent.get())["body"] == b"part"
        client.leave()
        await client.task

    assert stage.notes == ["ended"]
    assert f"({outcome}, Id=" in log.text


PLAIN = """
import stage_of_test as stage

def parts():
    try:
        while True:
            yield b"part"
            stage.gate.wait()
    finally:
        stage.notes.append("ended")
"""


@pytest.mark.parametrize("is_slow", [True, False])
async def test_a_plain_generator_ends_with_its_stream(
    load: Load, stage: Any, log: pytest.LogCaptureFixture, is_slow: bool
) -> None:
    stage.gate, stage.notes = threading.Event(), []
    client = Client(load(FASTAPI + PLAIN + ENDLESS_FUNCTION), "/api/endless", most=3)
    client.send(b"")

    async with asyncio.timeout(30):
        assert (await client.sent.get())["status"] == 200
        if is_slow:  # a client that leaves while a part cannot be sent
            stage.gate.set()
            await client.stuck.wait()
        client.leave()
        stage.gate.set()
        await client.task

    assert stage.notes == ["ended"]
    assert "Executed 'Functions.endless' (Cancelled" in log.text


async def test_a_client_that_leaves_its_upload_is_no_failure_of_the_app(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    host = load(FASTAPI + "@app.route()\nasync def take(req: Request):\n    await req.body()\n")
    client = Client(host, "/api/take", "POST")
    client.send(b"half", more=True)
    client.leave()

    await asyncio.wait_for(client.task, 30)

    assert client.sent.empty()
    assert "Executed 'Functions.take' (Cancelled" in log.text
    assert "Traceback" not in log.text


async def test_the_time_limit_holds_for_a_stream_too(
    load: Load, stage: Any, log: pytest.LogCaptureFixture
) -> None:
    stage.gate, stage.notes = asyncio.Event(), []
    host = load(
        FASTAPI + ENDLESS + ENDLESS_FUNCTION,
        files={"host.json": {"version": "2.0", "functionTimeout": "00:00:01"}},
    )
    answer = await asyncio.wait_for(call(host, "GET", "/api/endless"), 30)

    assert answer.body == b"part"
    assert stage.notes == ["ended"]
    assert "Timeout value of 00:00:01 exceeded by function 'Functions.endless'" in log.text


async def test_a_stream_over_the_limit_of_bodies_is_refused(load: Load) -> None:
    host = load(
        FASTAPI + "@app.route()\nasync def take(req: Request):\n    return await req.body()\n",
        settings={"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "5"},
    )
    answers = [
        await call(host, "POST", "/api/take", chunks=c) for c in ([b"123", b"45"], [b"123456"])
    ]

    assert [answer.status for answer in answers] == [200, 413]
