"""The app of the matrix: it negotiates for every client, and serves the page that runs in Chromium.

The page is driven through it: commands come to the page as server-sent events, and the page posts
what it has to report.
"""

import http.server
import json
import queue
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.e2e.interop.driver import ROOT, Document, Driver
from tests.e2e.interop.service import RunningService

__all__ = ["App"]

_HERE: Final = Path(__file__).parent
_MODULES: Final = ROOT / "node_modules" / "@microsoft"
_FILES: Final = {
    "/page.html": (_HERE / "page.html", "text/html; charset=utf-8"),
    "/client.js": (_HERE / "client.js", "text/javascript; charset=utf-8"),
    "/signalr.js": (_MODULES / "signalr/dist/browser/signalr.js", "text/javascript"),
    "/msgpack.js": (
        _MODULES / "signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.js",
        "text/javascript",
    ),
}


class App:
    """A web server on loopback while the context is open."""

    def __init__(self) -> None:
        self._services: dict[int, RunningService] = {}
        self._commands: queue.Queue[Document | None] = queue.Queue()
        self.page = Driver(self._commands.put)
        app = self

        class Handler(_Handler):
            _app = app

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="app")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._commands.put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address of the app."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def hub_url(self, service: RunningService, hub: str, user: str, port: int | None = None) -> str:
        """Where `user` negotiates for `hub`. Clients are sent to `port`, the service's by default.

        Another port is that of a proxy.
        """
        port = port if port is not None else service.port
        self._services[port] = service
        return f"{self.url}/apps/{port}/{hub}/{user}"

    def negotiation(self, path: str) -> Document:
        """The answer of the app to a client that negotiates."""
        _, _, port, hub, user, _ = path.partition("?")[0].split("/")
        token = self._services[int(port)].client_token(hub, user)
        return {"url": f"http://127.0.0.1:{port}/client/?hub={hub}", "accessToken": token}

    def commands(self) -> "queue.Queue[Document | None]":
        """What the page is to do; `None` is the end."""
        return self._commands


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request to the app."""

    _app: App

    def do_GET(self) -> None:
        """The page, its scripts, and its commands."""
        if self.path == "/commands":
            self._send_commands()
        elif self.path in _FILES:
            path, kind = _FILES[self.path]
            self._answer(path.read_bytes(), kind)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """A negotiation, or what the page reports."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/events":
            for event in json.loads(body):
                self._app.page.receive(event)
            self._answer(b"", "text/plain")
        else:
            answer = self._app.negotiation(self.path)
            self._answer(json.dumps(answer).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Write no log."""

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_commands(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        while (command := self._app.commands().get()) is not None:
            self.wfile.write(f"data: {json.dumps(command)}\n\n".encode())
