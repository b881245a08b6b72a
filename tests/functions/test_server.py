"""Serving an app on a socket: ready, requests, and the end."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.functions.apps import HEADER

from hubbub.errors import ConfigError
from hubbub.functions.server import Ready, ServeOptions, bind, serve_host

APP = """
import os

@app.route()
async def hello(req):
    return os.getcwd() + "|" + os.environ["WEBSITE_HOSTNAME"] + "|" + os.environ["GREETING"]

@app.route()
async def slow(req):
    import stage_of_test
    stage_of_test.entered.set()
    await stage_of_test.release.wait()
    return "finished"
"""

NEGOTIATE = """
@app.route()
@app.generic_input_binding(arg_name="info", type="signalRConnectionInfo", hubName="chat")
async def negotiate(req, info):
    return info
"""


async def get(url: str, headers: dict[str, str] | None = None) -> tuple[str, Mapping[str, str]]:
    """The body and the headers of an answer."""
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
        return await response.text(), response.headers


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An app's folder; the process gets its own folder and environment back afterwards."""
    folder, environ = Path.cwd(), dict(os.environ)
    for name in ("FUNCTIONS_WORKER_RUNTIME", "GREETING", "WEBSITE_HOSTNAME"):
        os.environ.pop(name, None)
    (tmp_path / "function_app.py").write_text(HEADER + APP)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (tmp_path / "local.settings.json").write_text(
        '{"Values": {"GREETING": "hi", "FUNCTIONS_WORKER_RUNTIME": "python"}}'
    )
    yield tmp_path
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)


@asynccontextmanager
async def serving(
    options: ServeOptions, sock: socket.socket | None = None
) -> AsyncIterator[tuple[Ready, asyncio.Event]]:
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(serve_host(options, sock, ready.set_result, stop))
    waiting: set[asyncio.Future[Any]] = {task, ready}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield ready.result(), stop
    finally:
        stop.set()
        await task


async def test_an_app_is_served_in_its_own_folder_and_environment(root: Path) -> None:
    async with serving(ServeOptions(root, port=0)) as (ready, _):
        text, _ = await get(f"{ready.url}/api/hello")

    assert text == f"{root}|localhost:{ready.port}|hi"
    assert ready.address == "127.0.0.1"
    assert ready.warnings == ()
    assert ready.url == f"http://localhost:{ready.port}"
    assert [info.url for info in ready.functions] == [
        f"{ready.url}/api/{name}" for name in ("hello", "slow")
    ]


async def test_an_inherited_socket_is_used(root: Path) -> None:
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]

    async with serving(ServeOptions(root), sock) as (ready, _):
        assert ready.port == port


async def test_a_running_invocation_finishes_when_the_host_is_stopped(
    root: Path, stage: Any
) -> None:
    stage.entered, stage.release = asyncio.Event(), asyncio.Event()
    async with serving(ServeOptions(root, port=0)) as (ready, stop):
        slow = asyncio.create_task(get(f"{ready.url}/api/slow"))
        await stage.entered.wait()
        stop.set()
        while await is_listening(ready.port):
            pass
        stage.release.set()
        text, _ = await slow

    assert text == "finished"


async def is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_command_line_origins_win_over_the_file(root: Path) -> None:
    (root / "local.settings.json").write_text(
        '{"Values": {"GREETING": "hi"}, "Host": {"CORS": "http://file"}}'
    )
    options = ServeOptions(root, port=0, cors="http://line", cors_credentials=True)
    async with serving(options) as (ready, _):
        _, granted = await get(f"{ready.url}/api/hello", {"Origin": "http://line"})

    assert granted["Access-Control-Allow-Origin"] == "http://line"
    assert granted["Access-Control-Allow-Credentials"] == "true"


async def test_a_connection_string_of_the_command_line_wins_over_every_other(root: Path) -> None:
    name = "AzureSignalRConnectionString"
    os.environ |= {f"ConnectionStrings__{name}": "environment", name.upper(): "environment"}
    text = "Endpoint=http://localhost;Port=1;AccessKey=key-of-the-tests;Version=1.0;"
    (root / "local.settings.json").write_text(
        json.dumps({"Values": {"GREETING": "hi", name: "file"}, "ConnectionStrings": {name: "x"}})
    )
    (root / "function_app.py").write_text(HEADER + APP + NEGOTIATE)
    async with serving(ServeOptions(root, port=0, connection_string=text)) as (ready, _):
        answer, _ = await get(f"{ready.url}/api/negotiate")

    assert json.loads(answer)["url"] == "http://localhost:1/client/?hub=chat"
    assert ready.warnings == ()


async def test_a_port_in_use_is_one_clear_sentence(root: Path) -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} on 127.0.0.1 is unavailable"):
            await serve_host(ServeOptions(root, port=port))


async def test_a_broken_app_ends_the_start(root: Path) -> None:
    (root / "function_app.py").write_text("import\n")

    with pytest.raises(ConfigError, match=r"function_app\.py:1"):
        await serve_host(ServeOptions(root, port=0))
    with pytest.raises(ConfigError, match="is not a folder"):
        await serve_host(ServeOptions(root / "none", port=0))
