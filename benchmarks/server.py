"""The servers that are measured, each started as its user would start it: ours and the bare one."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.process import SERVER_CORES, Process, python
from hubbub.protocol.endpoints import Endpoint, parse_connection_string
from hubbub.protocol.tokens import issue_client_token, issue_rest_token

__all__ = ["HUB", "Server", "bare_server", "service"]

HUB = "bench"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and what its callers must know."""

    process: Process
    endpoint: Endpoint

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; always an IPv4 address, as the load clients need it."""
        return "127.0.0.1", urlsplit(self.endpoint.url).port or 80

    def client_tokens(self, count: int) -> list[str]:
        """Tokens for so many clients, each a user of its own."""
        now = int(time.time())
        return [
            issue_client_token(self.endpoint, HUB, now=now, user_id=f"user-{number}")
            for number in range(count)
        ]

    def sends(self, count: int, body: bytes, *, below: str = "") -> list[bytes]:
        """So many REST calls that send `body` to the hub, or to what is at `below` in it.

        No two tokens are the same, so nothing that is remembered of one helps with the next.
        """
        path = f"api/hubs/{HUB}{below}/:send"
        url = f"{self.endpoint.server_base}{path}"
        now = int(time.time())
        return [
            _request(
                f"/{path}",
                issue_rest_token(self.endpoint, url, now=now, server_name=f"bench-{number}"),
                body,
            )
            for number in range(count)
        ]


def _request(path: str, token: str, body: bytes) -> bytes:
    """One HTTP request with the headers that an SDK sends."""
    head = (
        f"POST {path}?api-version=2022-06-01 HTTP/1.1",
        "Host: localhost",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: benchmark/1.0",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body


@contextlib.contextmanager
def service() -> Iterator[Server]:
    """The service as `hubbub service` runs it, on a free port."""
    command = python("-m", "hubbub", "service", "--port", "0", "--json")
    with Process(command, SERVER_CORES) as process:
        facts = json.loads(process.hear())["service"]
        yield Server(process, parse_connection_string(facts["connectionString"]))


@contextlib.contextmanager
def bare_server() -> Iterator[Server]:
    """uvicorn and Starlette with the least that answers the same requests; see `benchmarks.bare`.

    It checks no tokens; it is sent the same all the same.
    """
    with Process(python("-m", "benchmarks.bare"), SERVER_CORES) as process:
        port = int(process.hear())
        text = f"Endpoint=http://localhost;Port={port};AccessKey={'k' * 44};Version=1.0;"
        yield Server(process, parse_connection_string(text))
