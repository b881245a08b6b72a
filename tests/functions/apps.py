"""Function apps for tests: written into a folder, loaded in this process, called without a socket.

Beside them a small service that records the REST calls it gets.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from aiohttp import web

from hubbub.functions.app import HostApp, create_app
from hubbub.functions.host import Host

HEADER = """\
import json
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
FASTAPI = """\
from azurefunctions.extensions.http.fastapi import (
    FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Request,
    Response, StreamingResponse)
"""
_apps: WeakKeyDictionary[Host, HostApp] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The one header of that name, or None."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, f"{name} appears {len(found)} times"
        return found[0] if found else None


async def call(
    host: Host,
    method: str,
    url: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    chunks: Sequence[bytes] | None = None,
    gone: asyncio.Event | None = None,
    peer: str = "127.0.0.1",
    authority: str = "localhost:7071",
) -> Answer:
    """Send one request to the ASGI application of `host`; `chunks` go as parts of the body.

    Whoever has sent it waits for the answer until `gone`.
    """
    parts = urlsplit(url)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in [("host", authority), *headers]
        ],
        "server": ("127.0.0.1", 7071),
        "client": (peer, 50000),
    }
    pending = list(chunks or [body])
    gone = gone or asyncio.Event()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not pending:
            await gone.wait()
            return {"type": "http.disconnect"}
        part = pending.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(pending)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app_of(host)(scope, receive, send)
    start, *rest = sent
    return Answer(
        start["status"],
        [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]],
        b"".join(message["body"] for message in rest),
    )


def app_of(host: Host) -> HostApp:
    """The ASGI application that `call` asks."""
    return _apps.setdefault(host, create_app(host))


@dataclass(slots=True)
class Service:
    """A service that accepts every REST call and remembers it."""

    url: str = ""
    key: str = "a-key-of-the-tests-that-is-long-enough"
    status: int = 202
    calls: list[tuple[str, str, Any]] = field(default_factory=list)  # method, path, JSON body
    tokens: list[str] = field(default_factory=list)

    @property
    def connection_string(self) -> str:
        return f"Endpoint={self.url};AccessKey={self.key};Version=1.0;"

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.calls.append((request.method, request.raw_path.partition("?")[0], body))
        self.tokens.append(request.headers["Authorization"].removeprefix("Bearer "))
        if request.path == "/api/v1/auth/accessKey":  # what is lent to an identity
            return web.json_response({"KeyId": "lent-1", "AccessKey": self.key})
        return web.Response(status=self.status, text="the answer of the service")
