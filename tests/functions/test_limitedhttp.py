"""Clients that send too much, too slowly or otherwise than uvicorn expects. Over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.functions.apps import HEADER
from tests.functions.test_server import root as _root
from tests.functions.test_server import serving

from hubbub.functions.limitedhttp import LimitedHttp
from hubbub.functions.server import ServeOptions

root = _root
ECHO = """
@app.route()
async def echo(req):
    return req.get_body().decode()
"""
REQUEST = b"POST /api/echo HTTP/1.1\r\nhost: localhost\r\n"
H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"


@asynccontextmanager
async def connected(
    root: Path,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw connection to a host whose function `echo` answers with the body."""
    (root / "function_app.py").write_text(HEADER + ECHO)
    async with serving(ServeOptions(root, port=0)) as (ready, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", ready.port)
        yield reader, writer
        writer.close()


async def status(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer."""
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.split(b"\r\n") if line[:14] == b"content-length"
        )
        return await reader.readexactly(length)


async def send_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"a" * 65_536)
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("upgrade", [H2C, b"connection: upgrade\r\nupgrade: websocket\r\n"])
async def test_the_body_of_a_request_that_offers_an_upgrade_arrives(
    root: Path, upgrade: bytes
) -> None:
    async with connected(root) as (reader, writer):
        request = REQUEST + upgrade + b"content-length: 5\r\n\r\nhello"
        writer.write(request + request.replace(b"hello", b"again"))

        assert [await answer(reader), await answer(reader)] == [b"hello", b"again"]


@pytest.mark.parametrize(
    "start",
    [
        b"x-name: ",
        b"content-length: 1000000\r\nx-name: ",
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-trailer: ",
    ],
)
async def test_a_head_or_a_trailer_without_an_end_is_not_kept(root: Path, start: bytes) -> None:
    async with connected(root) as (_, writer):
        writer.write(REQUEST + start)
        with pytest.raises(ConnectionError):
            await send_without_end(writer)


async def test_a_head_that_is_too_long_is_told_so(root: Path) -> None:
    async with connected(root) as (reader, writer):
        writer.write(REQUEST + b"x-name: " + b"a" * 70_000)

        assert await status(reader) == 431


@pytest.mark.parametrize("size", [60_000, 300_000])
async def test_a_body_may_be_longer_than_a_head(root: Path, size: int) -> None:
    async with connected(root) as (reader, writer):
        body = b"a" * size
        writer.write(REQUEST + b"content-length: %d\r\n\r" % size)
        await writer.drain()
        writer.write(b"\n" + body)

        assert await answer(reader) == body


@pytest.mark.parametrize(
    "start",
    [b"", b"\r\n", REQUEST, REQUEST + b"content-length: 500\r\n\r\nhello"],
    ids=["nothing", "a line", "half a head", "half a body"],
)
async def test_who_says_too_little_is_not_waited_for(
    root: Path, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedHttp, "patience", 0.05)
    async with connected(root) as (reader, writer):
        writer.write(start)

        async with asyncio.timeout(30):
            assert await reader.read() == b""


async def test_who_sends_on_is_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedHttp, "patience", 0.2)
    pieces = [b"a" * 100] * 100
    async with connected(root) as (reader, writer):
        writer.write(REQUEST + b"content-length: 10000\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)

        assert len(await answer(reader)) == 10_000
