"""One call of the REST API as a value: whose hub, which names, what query, which body; its answer.

Everything here checks and refuses. What a call does is in `operations`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from hubbub.service.access import HUB_NAME_RULE, Refusal, is_hub_name
from hubbub.service.node import Node
from hubbub.service.registry import Hub
from hubbub.service.session import Connection

__all__ = [
    "WHOLE_BODY",
    "Answer",
    "Call",
    "Handler",
    "Query",
    "RestError",
    "header",
    "parse_hub",
    "parse_name",
    "parse_name_text",
    "parse_query",
]

_CODES: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    415: "UnsupportedMediaType",
    431: "RequestHeaderFieldsTooLarge",
    500: "InternalServerError",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
# Where a scope has the body of a request that is answered at once, see `direct`.
WHOLE_BODY: Final = "hubbub.body"
_JSON_TYPE: Final = ((b"content-type", b"application/json"),)
_MAX_NAME: Final = 1024  # characters of a group or user (REST API reference)
_MAX_STREAM_ID: Final = 100  # characters (swagger 2024-12-01)
_RULES: Final = {
    "group": (
        "Invalid group name. Valid group name should be in between 1 and 1024 characters long.",
        _MAX_NAME,
    ),
    "user": (
        "Invalid user id. Valid user id should be in between 1 and 1024 characters long.",
        _MAX_NAME,
    ),
    "connectionId": (
        "Invalid connection id. Valid connection id should be more than 1 characters long",
        _MAX_NAME,
    ),
    "streamId": (
        "Invalid stream id. Valid stream id should be in between 1 and 100 characters long.",
        _MAX_STREAM_ID,
    ),
}
_LIST_RULE: Final = ("Expected one name or several with commas between.", 12 * 1024)
_NO_BODY: Final = frozenset({204})
_FLAGS: Final = {"true": True, "false": False}


class Answer(Struct, frozen=True):
    """What a call is answered with. `status` is `None` where it is the operation's own."""

    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status: int | None = None

    @classmethod
    def json(cls, value: object, *headers: tuple[bytes, bytes]) -> "Answer":
        """`value` as JSON."""
        return cls(msgspec.json.encode(value), (*_JSON_TYPE, *headers))

    async def send(self, scope: Scope, send: Send) -> None:
        """Answer the request of `scope`."""
        status = self.status or 200
        body, headers = self.body, list(self.headers)
        if status not in _NO_BODY:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})


class RestError(Refusal):
    """A refused call, as the API reference's ErrorDetail. `target` names the field at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        target: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers=headers)
        self.code = code or _CODES[status]
        self.target = target

    @classmethod
    def of(cls, refusal: Refusal) -> "RestError":
        """A refusal of any kind, which then says what was expected too."""
        if isinstance(refusal, cls):
            return refusal
        return cls(refusal.status, refusal.explanation, headers=refusal.headers)

    def answer(self) -> Answer:
        """The body and the header `x-ms-error-code`, by which SDKs tell one 404 from another."""
        detail: dict[str, object] = {
            "code": self.code,
            "message": str(self),
            "target": self.target,
            "details": [],
            "inner": None,
        }
        headers = [(b"x-ms-error-code", self.code.encode())]
        headers += [(name.lower().encode(), text.encode()) for name, text in self.headers.items()]
        return Answer(msgspec.json.encode(detail), (*_JSON_TYPE, *headers), self.status)


class Query:
    """The parameters of a query. Names are compared ignoring case; unknown ones are ignored."""

    __slots__ = ("_values",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def __repr__(self) -> str:
        return f"Query({self._values})"

    def values(self, name: str) -> frozenset[str]:
        """All values of a parameter that may be repeated."""
        return frozenset(self._values.get(name.lower(), ()))

    def text(self, name: str) -> str | None:
        """The value of a parameter, `None` where it is absent. Twice is an error."""
        values = self._values.get(name.lower())
        if values is None:
            return None
        if len(values) > 1:
            raise RestError(400, f"The query has {name} more than once.", target=name)
        return values[0]

    def integer(self, name: str, *, least: int, most: int) -> int | None:
        """The value of a parameter as a whole number within limits."""
        text = self.text(name)
        if text is None:
            return None
        # Digits are counted before they are read: a long row of them would take long.
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)):
            number = int(text)
            if least <= number <= most:
                return number
        raise RestError(400, f"{name} is a whole number from {least} to {most}.", target=name)

    def flag(self, name: str) -> bool:
        """The value of a parameter as true or false; absent is false."""
        text = self.text(name)
        if text is None:
            return False
        try:
            return _FLAGS[text.lower()]
        except KeyError:
            raise RestError(400, f"{name} is true or false.", target=name) from None


class Call(Struct, frozen=True):
    """One authorized call: the names in its path, decoded, and what came with it."""

    node: Node
    hub: str  # as the service knows it: in lower case, with the application's name
    names: Mapping[str, str]
    query: Query
    scope: Scope
    receive: Receive
    ready: bytes | None = None  # the body, where it has been read
    is_forwarded: bool = False  # another node was called, and stores what is to be stored

    @property
    def local_hub(self) -> Hub | None:
        """The hub, `None` where nobody is connected to it."""
        return self.node.registry.hub(self.hub)

    def connection(self) -> Connection | None:
        """The connection that the path names, `None` where it is not there."""
        hub = self.local_hub
        return hub.connections.find(self.names["connectionId"]) if hub is not None else None

    def content_type(self) -> str:
        """The media type of the body without its parameters, in lower case; may be empty."""
        value = header(self.scope, b"content-type") or b""
        return value.partition(b";")[0].strip().lower().decode("latin-1")

    async def body(self) -> bytes:
        """The body, refused as soon as it is known to be longer than the settings allow."""
        if self.ready is not None:
            return self.ready
        limit = self.node.settings.max_body_size
        whole: bytes | None = self.scope.get(WHOLE_BODY)
        if whole is not None:
            if len(whole) > limit:
                raise _too_large(limit)
            return whole
        declared = header(self.scope, b"content-length")
        if declared is not None and declared.isdigit() and int(declared[:20]) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self.node.settings.body_timeout):
                return await self._read(limit)
        except TimeoutError:
            raise RestError(
                408, "The body took too long.", target="body", headers={"Connection": "close"}
            ) from None

    async def _read(self, limit: int) -> bytes:
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message["body"]
            if len(body) > limit:
                raise _too_large(limit)
            return body
        pieces = []
        size = 0
        while True:
            if message["type"] != "http.request":
                raise RestError(400, "The body ended early.", target="body")
            pieces.append(message["body"])
            size += len(message["body"])
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body"):
                return b"".join(pieces)
            message = await self.receive()


# `None` is the operation's status with nothing more.
Handler = Callable[[Call], Awaitable[Answer | None]]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that name, which is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


@lru_cache(256)  # nearly every call has one of a few queries
def parse_query(raw: bytes) -> Query:
    """Read a query. Raises `RestError` where it is not UTF-8."""
    try:
        return Query(parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError:
        raise RestError(400, "The query is not UTF-8, percent-encoded.", target="query") from None


def parse_hub(segment: str, query: Query) -> str:
    """The name by which the service knows a hub: application and hub, in lower case."""
    hub = _decode(segment, "hub")
    if not is_hub_name(hub):
        raise RestError(400, HUB_NAME_RULE, target="hub")
    application = query.text("application")
    if not application:
        return hub.lower()
    if not is_hub_name(application):
        rule = HUB_NAME_RULE.replace("Invalid hub name.", "Invalid value of 'application'.")
        raise RestError(400, rule.replace("hub name", "application name"), target="application")
    return f"{application}_{hub}".lower()


def parse_name(kind: str, segment: str) -> str:
    """The name of a group, user, connection or stream in a path, decoded once and checked."""
    return parse_name_text(kind, _decode(segment, kind))


def parse_name_text(kind: str, name: str) -> str:
    """A name from elsewhere than a path, checked in the same way."""
    rule, longest = _RULES.get(kind, _LIST_RULE)
    if not name or len(name) > longest or (kind in {"group", "streamId"} and name.isspace()):
        raise RestError(400, rule, target=kind)
    return name


def _decode(segment: str, field: str) -> str:
    if "%" not in segment and segment.isascii():
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise RestError(400, f"The {field} in the path is not UTF-8.", target=field) from None


def _too_large(limit: int) -> RestError:
    return RestError(413, f"A body is at most {limit} bytes long.", target="body")
