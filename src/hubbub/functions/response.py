"""What a function's HTTP result becomes on the wire.

A value in, a value out: sending it is the host's.
"""

import json
import re
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import Any

import azure.functions as func
from msgspec import Struct

from hubbub.functions.bindings import unsupported
from hubbub.functions.expressions import BindingData
from hubbub.functions.function import InvocationError

Headers = tuple[tuple[bytes, bytes], ...]
_TEXT = b"text/plain; charset=utf-8"
_JSON = b"application/json; charset=utf-8"
_BODILESS = {204, 304}
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Response(Struct, frozen=True):
    """A whole HTTP response. Header names are lower case; the length is not among them."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""

    def wire_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers with the body's length where a response of this status has one."""
        if self.status in _BODILESS:
            return list(self.headers)
        return [*self.headers, (b"content-length", b"%d" % len(self.body))]


NO_CONTENT = Response(204)
NOT_FOUND = Response(404)
FAILED = Response(500)


class HttpOutput:
    """The `http` output binding. Satisfies `OutputBinding`; its encoded value is a `Response`."""

    takes_none = True
    is_sent = False

    def encode(self, value: Any) -> Response:
        """The response for what a function returned or set."""
        if isinstance(value, func.HttpResponse):
            return _from_object(value)
        if isinstance(value, str):
            return _from_text(value)
        raise unsupported("http", value)

    async def send(self, encoded: Any, data: BindingData) -> None:
        """Nothing: the host answers with it when the invocation has succeeded."""


def _from_object(value: func.HttpResponse) -> Response:
    headers: dict[bytes, bytes] = {}
    cookies: list[tuple[bytes, bytes]] = []
    for name, text in value.headers.items():
        key, content = _header(name, text)
        if key == b"set-cookie":
            cookies.append((key, content))
        else:
            headers[key] = content  # of a repeated header the last one counts
    if b"content-type" not in headers:
        kind = value.mimetype
        if kind.startswith("text/"):
            kind = f"{kind}; charset={value.charset}"
        headers[b"content-type"] = _header("content-type", kind)[1]
    return _response(value.status_code, [*headers.items(), *cookies], value.get_body() or b"")


def _from_text(text: str) -> Response:
    """Text as it is, but an object with a `body` in it is a response object."""
    plain = text.strip()
    if plain.startswith("{") and plain.endswith("}"):
        try:
            parsed = json.loads(plain)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict):
            members = {key.lower(): member for key, member in parsed.items()}
            if "body" in members:
                return _from_members(members)
    return Response(200, ((b"content-type", _TEXT),), text.encode())


def _from_members(members: dict[str, Any]) -> Response:
    """The response object: `body`, `headers`, `status` or `statusCode`, `cookies`."""
    body = members["body"]
    kind = _TEXT
    if isinstance(body, dict | list):
        body, kind = json.dumps(body), _JSON
    elif not isinstance(body, str):
        body = "" if body is None else json.dumps(body)
    headers = {b"content-type": kind}
    given = members.get("headers")
    for name, text in given.items() if isinstance(given, dict) else ():
        key, content = _header(name, str(text))
        headers[key] = content
    status = members.get("status", members.get("statuscode"))
    cookies = members.get("cookies")
    lines = [_cookie(entry) for entry in cookies] if isinstance(cookies, list) else []
    return _response(status, [*headers.items(), *lines], body.encode())


def _cookie(entry: Any) -> tuple[bytes, bytes]:
    """One object of `cookies` as a Set-Cookie header."""
    given = entry if isinstance(entry, dict) else {}
    members = {key.lower(): value for key, value in given.items()}
    if not members.get("name"):
        raise InvocationError("each of a response's 'cookies' must be an object with a 'name'.")
    cookie: SimpleCookie = SimpleCookie()
    cookie[str(members["name"])] = str(members.get("value", ""))
    morsel = cookie[str(members["name"])]
    for member, attribute in (
        ("domain", "domain"),
        ("path", "path"),
        ("expires", "expires"),
        ("maxage", "max-age"),
        ("samesite", "samesite"),
        ("secure", "secure"),
        ("httponly", "httponly"),
    ):
        if members.get(member) is not None:
            morsel[attribute] = members[member]
    return _header("set-cookie", morsel.OutputString())


def _response(status: Any, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Response:
    """A response whose length the host itself sets, whatever the app has set."""
    own = {b"content-length", b"transfer-encoding"}
    code = _status(status)
    return Response(
        code,
        tuple(pair for pair in headers if pair[0] not in own),
        b"" if code in _BODILESS else body,
    )


def _status(value: Any) -> int:
    """The status; what is no number means 200, as in the original."""
    try:
        status = int(value)
    except (TypeError, ValueError):
        return 200
    if not 200 <= status <= 599:
        raise InvocationError(f"the response's status {status} is not from 200 to 599.")
    return status


def _header(name: Any, text: str) -> tuple[bytes, bytes]:
    """A header in bytes. A line break in it would let the app's input forge headers."""
    try:
        key, content = str(name).lower().encode("ascii"), str(text).encode("latin-1")
    except UnicodeEncodeError as error:
        raise InvocationError(
            f"the response header {name!r} has characters that no header can hold; encode them."
        ) from error
    if not _NAME.fullmatch(key) or _CONTROL.search(content):
        raise InvocationError(f"the response header {name!r} has characters that are not allowed.")
    return key, content
