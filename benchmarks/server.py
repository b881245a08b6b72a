"""The servers that are measured, each started as its user would start it: ours and the bare one."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from benchmarks.process import ALL_CORES, ROOT, SERVER_CORES, Process, python
from hubbub.protocol.endpoints import Endpoint, parse_connection_string
from hubbub.protocol.tokens import issue_client_token, issue_rest_token

__all__ = ["HUB", "Server", "bare_server", "function_app", "http_request", "service"]

HUB: Final = "bench"
_APP: Final = ROOT / "benchmarks" / "app"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and what its callers must know."""

    process: Process
    endpoint: Endpoint

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; always an IPv4 address, as the load clients need it."""
        return "127.0.0.1", urlsplit(self.endpoint.url).port or 80

    def client_tokens(self, count: int, *, first: int = 0) -> list[str]:
        """Tokens for so many clients, each a user of its own."""
        now = int(time.time())
        return [
            issue_client_token(self.endpoint, HUB, now=now, user_id=f"user-{number}")
            for number in range(first, first + count)
        ]

    def sends(self, count: int, body: bytes, *, below: Sequence[str] = ("",)) -> list[bytes]:
        """So many REST calls that send `body` to the hub, or to what is at `below` in it by turns.

        No two tokens are the same, so nothing that is remembered of one helps with the next.
        """
        paths = [f"{below[number % len(below)]}/:send" for number in range(count)]
        return self.calls("POST", paths, body)

    def joins(self, groups: Sequence[str]) -> list[bytes]:
        """REST calls that put the user of each client into the group at its place in `groups`."""
        paths = [f"/users/user-{number}/groups/{group}" for number, group in enumerate(groups)]
        # Those of its connections that are there now, and nothing is kept for others.
        return self.calls("PUT", paths, query="&ttl=0")

    def calls(
        self, method: str, paths: Sequence[str], body: bytes = b"", *, query: str = ""
    ) -> list[bytes]:
        """REST calls of the hub, each with a token of its own."""
        now = int(time.time())
        base = f"api/hubs/{HUB}"
        return [
            http_request(
                f"{method} /{base}{path}?api-version=2022-06-01{query}",
                body,
                issue_rest_token(
                    self.endpoint,
                    f"{self.endpoint.server_base}{base}{path}",
                    now=now,
                    server_name=f"bench-{number}",
                ),
            )
            for number, path in enumerate(paths)
        ]


def http_request(line: str, body: bytes, token: str = "") -> bytes:
    """One HTTP request with the headers that an SDK sends; `line` has method and path."""
    head = (
        f"{line} HTTP/1.1",
        "Host: localhost",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: benchmark/1.0",
        *([f"Authorization: Bearer {token}"] if token else []),
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body


@contextlib.contextmanager
def service(*options: str, cores: frozenset[int] = SERVER_CORES) -> Iterator[Server]:
    """The service as `hubbub service` runs it, on a free port."""
    command = python("-m", "hubbub", "service", "--port", "0", "--json", *options)
    with Process(command, cores) as process:
        facts = json.loads(process.hear())["service"]
        yield Server(process, parse_connection_string(facts["connectionString"]))


@contextlib.contextmanager
def function_app() -> Iterator[Server]:
    """A function app as `hubbub start` runs it: the service and the host, on all cores."""
    ports = "--port", "0", "--service-port", "0"
    command = python("-m", "hubbub", "start", str(_APP), *ports, "--no-reload", "--json")
    with Process(command, ALL_CORES) as process:
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
