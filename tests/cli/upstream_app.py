"""Runs `hubbub upstream` in this process, and apps for it in a thread. Holds no fixtures."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from hubbub.cli.main import cli
from hubbub.errors import ConfigError
from hubbub.protocol.webhooks import WebhookError, receive_webhook
from hubbub.service.settings import EMULATOR_KEY

WEBHOOKS = "/runtime/webhooks/signalr"


class Result(NamedTuple):
    """What a command printed, and its exit status; 2 is the operator's fault."""

    status: int
    text: str


def hubbub(*arguments: str, answer: str | None = None) -> Result:
    """Run a command in this process, as `main` does."""
    result = CliRunner().invoke(cli, arguments, input=answer)
    if isinstance(result.exception, ConfigError):
        return Result(2, str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Result(result.exit_code, result.output)


def settings(*templates: dict[str, Any]) -> None:
    Path("settings.json").write_text(json.dumps({"UpstreamSettings": {"Templates": templates}}))


class Answer(NamedTuple):
    """What an app answers; `reason` is the phrase after the status."""

    status: int
    body: bytes = b""
    reason: str | None = None
    location: str | None = None
    challenge: str | None = None


Behave = Callable[[dict[str, str], bytes], Answer]


@contextmanager
def app(behave: Behave, path: str = WEBHOOKS) -> Iterator[str]:
    """An app in a thread; its template is in settings.json meanwhile. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = behave(dict(self.headers), body)
            self.send_response(answer.status, answer.reason)
            if answer.location is not None:
                self.send_header("Location", answer.location)
            if answer.challenge is not None:
                self.send_header("WWW-Authenticate", answer.challenge)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            settings({"UrlTemplate": f"{url}{path}", "Timeout": 5})
            yield url
        finally:
            server.shutdown()
            thread.join()


def functions(headers: dict[str, str], body: bytes) -> Answer:
    """Answer as a function app does that has the function `hello` of hub `chat`."""
    if (headers["X-ASRS-Hub"], headers["X-ASRS-Event"]) != ("chat", "hello"):
        return Answer(404)
    try:
        webhook = receive_webhook(headers, body, (EMULATOR_KEY,))
    except WebhookError as error:
        return Answer(error.status, reason=str(error))
    return Answer(200, webhook.complete({"said": webhook.arguments, "by": webhook.user_id}))


def check(*options: str, event: str = "hello", hub: str = "chat") -> Result:
    return hubbub("upstream", "check", hub, "messages", event, *options)
