"""The HTTP trigger's side of a request: what the function and binding expressions see of it.

Which function answers is the routes' matter, and what it answered `response`'s.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
from msgspec import Struct

from hubbub.functions.expressions import MISSING

BODY_LIMIT = 104_857_600  # bytes, the original's default
HEADER_LIMIT = 32 * 1024  # bytes of all headers together
URL_LIMIT = 8 * 1024  # bytes of path and query
_BODILESS = frozenset({"GET", "HEAD"})  # unless a header says otherwise


class TooLarge(Exception):
    """The body is over the limit."""


class Disconnected(Exception):
    """The client went away before its body was complete."""


class HttpCall(Struct, frozen=True):
    """One request, read completely."""

    method: str
    url: Callable[[], str]  # made when it is asked for
    headers: Mapping[str, str]  # lower-case names; repeated ones joined by commas
    query: Mapping[str, str]  # repeated names joined by commas, empty values kept
    route: Mapping[str, str]
    body: bytes

    def request(self) -> Any:
        """The `func.HttpRequest`. Empty query values are left out, as in the original."""
        return _request_class()(self)

    def members(self) -> dict[str, Any]:
        """What the official class is made of."""
        return {
            "method": self.method,
            "url": self.url(),
            "headers": self.headers,
            "params": {name: value for name, value in self.query.items() if value},
            "route_params": self.route,
            "body_type": "bytes",
            "body": self.body,
        }


class HttpData:
    """The names an HTTP trigger offers to expressions (1.9). Satisfies `BindingData`."""

    def __init__(self, call: HttpCall) -> None:
        self._call = call
        self._members: Mapping[str, Any] | None = None

    def find(self, name: str) -> Any:
        """Route before query before the body's members; `query` and `headers` are objects.

        In the query, `code` is a key and no name.
        """
        if name == "query":
            return self._call.query
        if name == "headers":
            return self._call.headers
        for values in (self._call.route, {} if name == "code" else self._call.query):
            for key, value in values.items():
                if key.lower() == name:
                    return value
        return self._body_members().get(name, MISSING)

    def _body_members(self) -> Mapping[str, Any]:
        """The members of a JSON object in the body, arrays left out."""
        if self._members is None:
            try:
                parsed = json.loads(self._call.body) if self._call.body else None
            except (ValueError, RecursionError):
                parsed = None
            members = parsed.items() if isinstance(parsed, dict) else ()
            self._members = {
                key.lower(): value for key, value in members if not isinstance(value, list)
            }
        return self._members


_found_class: Any = None


def _request_class() -> Any:
    """The class of what functions get, made from the official one when it is first needed."""
    global _found_class
    if _found_class is None:
        _found_class = _lazy(_official_class())
    return _found_class


def _lazy(official: Any) -> Any:
    """`official`, whose members are made when the first of them is asked for.

    Making them costs more than the rest of a small function's call.
    """

    class HttpRequest(official):  # type: ignore[misc]
        _call: HttpCall | None = None  # what the members are to be made of

        def __init__(self, call: HttpCall) -> None:
            self._call = call

        def __getattr__(self, name: str) -> Any:
            """Make the members; only called for one that is not there."""
            call = self._call
            if call is not None:
                super().__init__(**call.members())
                self._call = None
            return object.__getattribute__(self, name)

    HttpRequest.__module__, HttpRequest.__qualname__ = official.__module__, official.__qualname__
    return HttpRequest


def _official_class() -> Any:
    """The class the official converter makes: its `get_json` has the documented error.

    Where the class lives differs between versions of the library, so the converter is asked.
    """
    registry: Any = func.get_binding_registry()  # type: ignore[no-untyped-call]
    empty = SimpleNamespace(type="string", value="")
    value = {"method": empty, "url": empty, "body": SimpleNamespace(type="bytes", value=b"")}
    datum = SimpleNamespace(type="http", value=value | {"headers": {}, "query": {}, "params": {}})
    return type(registry.get("httpTrigger").decode(datum, trigger_metadata=None))


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], int]:
    """The headers by lower-case name, and their bytes together.

    Values of a repeated one are joined by commas.
    """
    joined: dict[str, str] = {}
    size = 0
    for raw_name, raw_value in headers:
        size += len(raw_name) + len(raw_value)
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined, size


def parse_query(raw: bytes) -> dict[str, str]:
    """The query's values by name; those of a repeated one are joined by commas."""
    joined: dict[str, str] = {}
    if raw:
        for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
            joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def has_body(scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether a request may have a body; HTTP/1.1 says so before it comes (RFC 9112, 6.3)."""
    return (
        scope["method"] not in _BODILESS
        or "content-length" in headers
        or "transfer-encoding" in headers
        or not scope.get("http_version", "").startswith("1")
    )


async def read_body(receive: Any, headers: Mapping[str, str], limit: int) -> bytes:
    """The whole body, or TooLarge or Disconnected."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise TooLarge
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def limited(receive: Any, headers: Mapping[str, str], limit: int) -> Any:
    """ASGI's `receive` for one who reads the body in parts: it raises TooLarge past the limit."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge
    size = 0

    async def receive_within_limit() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise TooLarge
        return message

    return receive_within_limit


def format_base(scope: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Scheme, host and port as the client has them."""
    host = headers.get("host")
    if not host:
        server = scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else server[0]
    return f"{scope.get('scheme', 'http')}://{host}"


def format_url(scope: Mapping[str, Any], headers: Mapping[str, str], raw_path: bytes) -> str:
    """The address the client has asked for, path still percent-encoded."""
    query = scope.get("query_string", b"").decode("latin-1")
    path = raw_path.decode("latin-1")
    return f"{format_base(scope, headers)}{path}{'?' + query if query else ''}"
