"""An app behind the service's webhooks: it answers calls and keeps what it has heard."""

import http.server
import threading
from collections import Counter
from types import TracebackType
from typing import Any, Final, Self

from hubbub.protocol.webhooks import WebhookError, receive_webhook
from hubbub.service.settings import EMULATOR_KEY

__all__ = ["ListeningApp"]

_SECONDS: Final = 30.0


class ListeningApp:
    """A web server on loopback while the context is open.

    It answers a call of `whoami` with the connection, user and hub that call it, and a call of
    `echo` with its arguments.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: Counter[tuple[str, str]] = Counter()
        app = self

        class Handler(_Handler):
            _app = app

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="listening app")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where webhooks go."""
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def heard(self, event: str) -> Counter[str]:
        """How often the app has heard of `event`, by connection."""
        with self._changed:
            return Counter(
                {connection: n for (name, connection), n in self._events.items() if name == event}
            )

    def wait_for(self, event: str, connection_id: str, seconds: float = _SECONDS) -> None:
        """Return when the app has heard of an event of a connection."""
        with self._changed:
            key = (event, connection_id)
            assert self._changed.wait_for(lambda: self._events[key] > 0, seconds), key

    def take(self, event: str, connection_id: str) -> None:
        """Keep an event that has come."""
        with self._changed:
            self._events[event, connection_id] += 1
            self._changed.notify_all()


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one webhook."""

    _app: ListeningApp
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Take an event or answer a call."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            webhook = receive_webhook(dict(self.headers.items()), body, [EMULATOR_KEY])
        except WebhookError as error:
            self._answer(error.status, str(error).encode())
            return
        self._app.take(webhook.event, webhook.connection_id)
        answer = b""
        if webhook.event == "whoami":
            who = [webhook.connection_id, webhook.user_id, webhook.hub]
            answer = webhook.complete(who)
        elif webhook.event == "echo":
            answer = webhook.complete(webhook.arguments)
        self._answer(200, answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Write no log."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
