"""Streams through everything: a client, the service, the function host, a hub's generator."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.running import Hubbub, Start

from hubbub.client import ConnectionLostError, HubClient, HubError
from hubbub.client.settings import Encoding

PATIENCE = 60.0  # seconds; only ends a test that hangs
APP = """
import asyncio
import os
from pathlib import Path

import azure.functions as func
from hubbub import ServerlessHub

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def note(text):
    with Path("notes").open("a") as notes:
        notes.write(text + chr(10))


class Numbers(ServerlessHub):
    async def count(self, most: int):
        for number in range(most):
            yield {"number": number}

    def count_plainly(self, most: int):
        for number in range(most):
            yield {"number": number}

    async def fail(self):
        yield 1
        raise ValueError("no more")

    async def silent(self):
        try:
            yield os.getpid()
            await asyncio.sleep(3600)
        finally:
            note("silent ended")

    async def endless(self):
        try:
            while True:
                yield "x"
        finally:
            note("endless ended")

    def endless_plainly(self):
        try:
            while True:
                yield "x"
        finally:
            note("endless_plainly ended")

    async def add(self, first: int, second: int) -> int:
        return first + second


numbers = Numbers().register(app)


@app.route(methods=["POST"])
def negotiate(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(numbers.negotiate().json(), mimetype="application/json")
"""
COUNT = pytest.mark.parametrize("method", ["count", "countPlainly"])


@pytest.fixture
def app(tmp_path: Path, start: Start) -> tuple[Hubbub, Path]:
    """A running app, and the file in which its generators note their end."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "function_app.py").write_text(APP)
    (folder / "host.json").write_text(json.dumps({"version": "2.0"}))
    return start(folder), folder / "notes"


@asynccontextmanager
async def connected(hubbub: Hubbub, encoding: Encoding = "json") -> AsyncIterator[HubClient]:
    async with asyncio.timeout(PATIENCE):
        async with HubClient(f"{hubbub.host_url}/api", encoding=encoding) as client:
            yield client


async def noted(notes: Path, line: str) -> None:
    """Wait until a generator has noted its end."""
    async with asyncio.timeout(PATIENCE):
        while not _has(notes, line):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)


def _has(notes: Path, line: str) -> bool:
    return notes.exists() and line in notes.read_text().splitlines()


async def items(client: HubClient, method: str, *arguments: Any) -> list[Any]:
    return [item async for item in client.stream(method, *arguments)]


@COUNT
@pytest.mark.parametrize("encoding", ["json", "messagepack"])
async def test_items_come_in_order_while_the_client_goes_on(
    app: tuple[Hubbub, Path], method: str, encoding: Encoding
) -> None:
    async with connected(app[0], encoding) as client:
        found, other, total = await asyncio.gather(
            items(client, method, 30), items(client, method, 3), client.invoke("add", 1, 2)
        )

    assert found == [{"number": number} for number in range(30)]
    assert (other, total) == (found[:3], 3)


async def test_errors_end_a_stream_with_their_text(app: tuple[Hubbub, Path]) -> None:
    found = []
    async with connected(app[0]) as client:
        failing = client.stream("fail")
        found.append(await anext(failing))
        with pytest.raises(HubError, match=r"^ValueError: no more$"):
            await anext(failing)
        with pytest.raises(HubError, match=r"^ArgumentError: count takes 1 argument"):
            await items(client, "count")
        with pytest.raises(HubError, match=r"invoke the non-streaming 'add' method"):
            await items(client, "add", 1, 2)
        with pytest.raises(HubError, match=r"invoke the streaming 'count' method"):
            await client.invoke("count", 1)
        with pytest.raises(HubError, match=r"^Invocation failed, status code 404$"):
            await items(client, "unknown")

    assert found == [1]


@pytest.mark.parametrize("method", ["silent", "endless", "endlessPlainly"])
async def test_a_generator_ends_when_its_client_cancels(
    app: tuple[Hubbub, Path], method: str
) -> None:
    hubbub, notes = app
    async with connected(hubbub) as client:
        async with aclosing(client.stream(method)) as stream:
            await anext(stream)

        await noted(notes, f"{method.replace('P', '_p')} ended")
        assert await client.invoke("add", 1, 2) == 3


async def _rest(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("method", ["silent", "endless", "endlessPlainly"])
async def test_a_generator_ends_when_its_client_leaves(
    app: tuple[Hubbub, Path], method: str
) -> None:
    hubbub, notes = app
    async with connected(hubbub) as client:
        stream = client.stream(method)
        await anext(stream)
        await client.close()
        with pytest.raises(ConnectionLostError):
            await _rest(stream)

    await noted(notes, f"{method.replace('P', '_p')} ended")


async def test_a_stream_ends_with_the_function_host(app: tuple[Hubbub, Path]) -> None:
    hubbub, _ = app
    async with connected(hubbub) as client:
        stream = client.stream("silent")
        os.kill(await anext(stream), signal.SIGKILL)

        with pytest.raises(HubError, match=r"^Invocation failed, status code 500$"):
            await anext(stream)
