"""Serves a WSGI application behind a function, in the pool for what is not async (PEP 3333).

Each part of a response is sent when the application yields it.
"""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import copy_context
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from hubbub.functions.context import Context, describe_context
from hubbub.functions.threads import ThreadPool
from hubbub.functions.waiting import closed

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_PARTS_AHEAD = 30.0  # seconds that a client may take for one part before the application is ended


class WsgiApp:
    """One WSGI application. Satisfies `WebApp`."""

    def __init__(self, app: Any, pool: ThreadPool) -> None:
        self._app = app
        self._pool = pool

    async def serve(self, scope: Scope, receive: Receive, send: Send, context: Context) -> None:
        """Answer one request; its body is read before the application is called."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # half a body must not be taken for a whole one
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        environ = _environ(scope, bytes(body), context)
        answer = _Answer(self._app, environ, send, asyncio.get_running_loop())
        # An application without an end, such as a stream of events, would keep its thread.
        gone = asyncio.ensure_future(closed(receive))
        gone.add_done_callback(answer.end)
        try:
            _, error = await self._pool.run(partial(copy_context().run, answer.run))
        finally:
            answer.is_over = True
            gone.cancel()
        if error is not None and not isinstance(error, _OverError):
            raise error

    async def close(self) -> None:
        """A WSGI application is not told."""


class _OverError(ConnectionError):
    """Nobody waits for the rest of an answer."""


class _Answer:
    """One call of the application, in a thread."""

    def __init__(
        self, app: Any, environ: dict[str, Any], send: Send, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.is_over = False  # nobody waits any more
        self._app = app
        self._environ = environ
        self._send = send
        self._loop = loop
        self._start: dict[str, Any] | None = None
        self._has_started = False

    def end(self, _: object) -> None:
        """Let the application end when it yields the next part."""
        self.is_over = True

    def run(self) -> None:
        """Call the application and send what it yields."""
        parts: Iterable[bytes] = self._app(self._environ, self._start_response)
        try:
            for part in parts:
                if part:
                    self._write(part)
            self._begin()
            self._tell({"type": "http.response.body", "body": b""})
        finally:
            if hasattr(parts, "close"):
                parts.close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self._has_started:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._start is not None and exc_info is None:
            raise AssertionError("start_response was called twice without exc_info")
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        }
        return self._write

    def _begin(self) -> None:
        if self._start is None:
            raise AssertionError("the application has not called start_response")
        if not self._has_started:
            self._has_started = True
            self._tell(self._start)

    def _write(self, part: bytes) -> None:
        self._begin()
        self._tell({"type": "http.response.body", "body": part, "more_body": True})

    def _tell(self, message: dict[str, Any]) -> None:
        """Send from the thread, and wait until the client takes more."""
        if self.is_over:
            raise _OverError("the request is over")
        sent = asyncio.run_coroutine_threadsafe(self._pass_on(message), self._loop)
        sent.result(_PARTS_AHEAD)

    async def _pass_on(self, message: dict[str, Any]) -> None:
        await self._send(message)


def _environ(scope: Scope, body: bytes, context: Context) -> dict[str, Any]:
    server = scope.get("server") or ("localhost", 80)
    raw = scope.get("raw_path") or scope["path"].encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # PEP 3333: the bytes of the path, each as one character.
        "PATH_INFO": unquote_to_bytes(bytes(raw)).decode("latin-1"),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **describe_context(context),
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"] = str(client[0])
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        name = name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ
