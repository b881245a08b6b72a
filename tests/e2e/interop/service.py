"""A service in a process of its own, as a user starts it, and what an app asks of it by REST."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from tests.e2e.running import clean_environment, end, first_line

from hubbub.protocol.endpoints import Endpoint, parse_connection_string
from hubbub.protocol.tokens import issue_client_token, issue_rest_token

__all__ = ["Answer", "RunningService"]

COMMAND: Final = ("-m", "hubbub", "service", "--json")
_PATIENCE: Final = 60  # seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What a REST call was answered with."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningService:
    """A service process. `arguments` are Python's; `--port` is added to them."""

    log: Path
    arguments: Sequence[str] = COMMAND
    port: int = 0
    endpoint: Endpoint = field(init=False)
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start on `port`, or a free one, and wait until it serves."""
        with self.log.open("a") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *self.arguments, "--port", str(self.port)],
                cwd=self.log.parent,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        line = first_line(self._process)
        assert line, f"the service ended without a ready line. Its log:\n{self.log.read_text()}"
        facts = json.loads(line)["service"]
        self.endpoint = parse_connection_string(facts["connectionString"])
        self.port = urlsplit(facts["url"]).port or 0

    def end(self) -> int | None:
        """Stop it as a service manager does; return its status when it has let its clients go."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        end(process)
        return process.returncode

    def client_token(self, hub: str, user: str) -> str:
        """What a client connects with."""
        return issue_client_token(self.endpoint, hub, now=int(time.time()), user_id=user)

    def call(
        self, method: str, hub: str, path: str, body: Any = None, **query: str | list[str]
    ) -> Answer:
        """Make the REST call `path` of a hub."""
        resource = f"/api/hubs/{hub}{path}"
        authorization = f"Bearer {self._rest_token(resource)}"
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        content = json.dumps(body, ensure_ascii=False).encode() if body is not None else None
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            target = f"{resource}?{urlencode(query, doseq=True)}" if query else resource
            connection.request(method, target, content, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def send(self, hub: str, target: str, *arguments: Any, to: str = "") -> None:
        """Send to everyone of `hub`, or `to` what a path like `/groups/g` names."""
        answer = self.call("POST", hub, f"{to}/:send", {"target": target, "arguments": arguments})
        assert answer.status == 202, answer

    def send_at_once(self, hub: str, sends: Iterable[tuple[str, str, list[Any]]]) -> None:
        """Send what is listed, an address, a target and arguments each, without waiting between.

        All go over one connection, so they are accepted in their order.
        """
        requests = [self._request(hub, f"{to}/:send", target, args) for to, target, args in sends]
        with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE) as connection:
            connection.sendall(b"".join(requests))
            answers = b""
            while answers.count(b"HTTP/1.1 202 ") < len(requests):
                piece = connection.recv(65_536)
                assert piece, f"the service ended the connection after {answers[-300:]!r}"
                answers += piece

    def _request(self, hub: str, path: str, target: str, arguments: list[Any]) -> bytes:
        resource = f"/api/hubs/{hub}{path}"
        body = json.dumps({"target": target, "arguments": arguments}, ensure_ascii=False).encode()
        head = (
            f"POST {resource} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._rest_token(resource)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _rest_token(self, resource: str) -> str:
        url = f"http://127.0.0.1:{self.port}{resource}"
        return issue_rest_token(self.endpoint, url, now=int(time.time()))

    def connection_id(self, hub: str, user: str) -> str:
        """The id of the only connection of `user`."""
        answer = self.call("GET", hub, "/connections", filter=f"userId eq '{user}'")
        assert answer.status == 200, answer
        (entry,) = answer.json["value"]
        return str(entry["connectionId"])

    def join(self, hub: str, user: str, group: str) -> None:
        """Put the connection of `user` into `group`."""
        connection = quote(self.connection_id(hub, user), safe="")
        answer = self.call("PUT", hub, f"/groups/{group}/connections/{connection}")
        assert answer.status == 200, answer
