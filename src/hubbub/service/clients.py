"""The client endpoint over HTTP: negotiation, event streams, long polls, and what is posted.

Statuses and texts are those of the reference server (TransportProtocols.md and its dispatcher).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar
from urllib.parse import unquote_plus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hubbub.protocol.negotiate import (
    LONG_POLLING,
    SERVER_SENT_EVENTS,
    TRANSPORTS,
    WEB_SOCKETS,
    NegotiateError,
    NegotiateResponse,
    parse_negotiate_version,
)
from hubbub.service.access import ClientAccess, Refusal, admit_client, check_transport
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.calls import Answer, header
from hubbub.service.cluster.parcel import Kind
from hubbub.service.cluster.questions import UnansweredError
from hubbub.service.cluster.unreached import What
from hubbub.service.cluster.visits import Visits
from hubbub.service.exchange import GONE, check_post, end, pollable, take
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.transports.longpolling import LongPolling, Polled
from hubbub.service.transports.stream import EventStream, receive_disconnect

__all__ = ["ClientEndpoint"]

_logger = logging.getLogger("hubbub.service")
_EVENTS: Final = "text/event-stream"
_T = TypeVar("_T")
_JSON: Final = ((b"content-type", b"application/json"),)
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_NO_CACHE: Final = {
    "Cache-Control": "no-cache, no-store",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Pragma": "no-cache",
}


class ClientEndpoint:
    """Answers HTTP requests to /client and below."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def __call__(self, request: Request) -> ASGIApp:
        """The response to `request`, whose path begins with /client."""
        path = request.scope["path"].rstrip("/").lower()
        try:
            if path == "/client/negotiate":
                return _Sent(self.negotiate(request.scope))
            if path == "/client":
                return await self._serve(request)
        except (BackplaneError, UnansweredError) as error:
            if self._node.cluster is not None:
                text = f"{request.method} {path}: {error}"
                self._node.cluster.unreached(What.REFUSED, text)
            self._node.refused["client", 503] += 1
            return PlainTextResponse(f"{error} Try again later.", 503)
        except Refusal as refusal:
            return _Sent(self._refuse(request.scope, refusal))
        return PlainTextResponse("There is nothing here.", 404)

    def negotiate(self, scope: Scope) -> Answer:
        """The answer to a request to /client/negotiate. Its body does not matter."""
        if scope["method"] != "POST":
            return Answer(b"", ((b"allow", b"POST"), _TEXT), 405)
        try:
            return self._negotiate(self._admit(scope))
        except Refusal as refusal:
            return self._refuse(scope, refusal)

    def _refuse(self, scope: Scope, refusal: Refusal) -> Answer:
        self._node.refused["client", refusal.status] += 1
        return _refuse(scope, refusal)

    def _negotiate(self, access: ClientAccess) -> Answer:
        self._node.check_negotiable()
        try:
            version = parse_negotiate_version(_parameter(access, "negotiateVersion"))
        except NegotiateError as error:
            return _json(NegotiateResponse(error=str(error)))
        offered = tuple(
            offer for bit, offer in enumerate(TRANSPORTS) if access.transports & 1 << bit
        )
        asked = (_parameter(access, "useStatefulReconnect") or "").lower() == "true"
        stateful = asked and WEB_SOCKETS in offered
        ticket = self._node.tickets.issue(access, version=version, stateful=stateful)
        return _json(
            NegotiateResponse(
                negotiate_version=version,
                connection_id=ticket.connection_id,
                connection_token=ticket.token if version > 0 else None,
                use_stateful_reconnect=stateful,
                available_transports=offered,
            )
        )

    async def _serve(self, request: Request) -> ASGIApp:
        if request.method not in {"GET", "POST", "DELETE"}:
            return PlainTextResponse("", 405, headers={"Allow": "GET, POST, DELETE"})
        access = self._admit(request.scope)
        if access.connection_token is None:
            raise Refusal(400, "Connection ID required")
        connection = self._node.find(access)
        if connection is None and self._node.cluster is not None:
            return await self._serve_elsewhere(request, access, self._node.cluster.visits)
        match request.method:
            case "GET":
                return await self._receive(request, access, connection)
            case "POST":
                return await self._send(request, _existing(connection))
            case _:
                end(_existing(connection))
                return PlainTextResponse("", 202)

    async def _receive(
        self, request: Request, access: ClientAccess, connection: Connection | None
    ) -> ASGIApp:
        """Open or go on with a transport by GET."""
        events = _wants_events(request)
        check_transport(access, SERVER_SENT_EVENTS if events else LONG_POLLING)
        if connection is not None:
            return await _poll(request, pollable(connection, wants_events=events))
        self._node.check(access)
        if events:
            return EventStream(self._node, access)
        return await _poll(request, LongPolling(self._node, access))

    async def _send(self, request: Request, connection: Connection) -> Response:
        check_post(connection)
        if connection.inbox is not None:
            await connection.inbox.room()
        take(connection, await self._body(request))
        return PlainTextResponse("")

    async def _body(self, request: Request) -> bytes:
        limit = self._node.settings.max_message_size
        pieces = []
        size = 0
        try:
            async with asyncio.timeout(self._node.settings.body_timeout):
                async for piece in request.stream():
                    size += len(piece)
                    if size > limit:
                        raise Refusal(413, f"A message is at most {limit} bytes long.")
                    pieces.append(piece)
        except ClientDisconnect:
            raise Refusal(400, "The body ended early.") from None
        except TimeoutError:
            raise Refusal(408, "The body took too long.", headers={"Connection": "close"}) from None
        return b"".join(pieces)

    async def _serve_elsewhere(
        self, request: Request, access: ClientAccess, visits: Visits
    ) -> ASGIApp:
        """Answer a request whose connection is on another node, or on none."""
        if request.method != "GET":
            kind, body = Kind.END, b""
            if request.method == "POST":
                kind, body = Kind.POST, await self._body(request)
            answer = await visits.ask(access, kind, body)
            if answer is None:
                raise Refusal(404, GONE)
            return _Passed(answer)
        events = _wants_events(request)
        check_transport(access, SERVER_SENT_EVENTS if events else LONG_POLLING)
        if not events:  # nearly always somebody has it
            answer = await _while_there(request, partial(visits.poll, access))
            if answer is not None:
                return _Passed(answer)
        self._node.check_open()
        async with visits.claim(access):
            answer = await visits.ask(access, Kind.EVENTS if events else Kind.OPEN)
            if answer is not None:
                return _Passed(answer)
            # From here on it is found on this node.
            return await self._receive(request, access, self._node.find(access))

    def _admit(self, scope: Scope) -> ClientAccess:
        authorization = header(scope, b"authorization")
        return admit_client(
            self._node.settings,
            query=scope["query_string"].decode("latin-1"),
            authorization=authorization.decode("latin-1") if authorization is not None else None,
            accepts_query_token=_EVENTS.encode() in (header(scope, b"accept") or b""),
        )


class _Sent:
    """An answer as an ASGI app."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer.send(scope, send)


def _refuse(scope: Scope, refusal: Refusal) -> Answer:
    # A request that comes after the end of its connection is nothing to tell an operator.
    _logger.log(
        logging.DEBUG if refusal.status == 404 else logging.INFO,
        "refused %s %s: %d %s",
        scope["method"],
        scope["path"].rstrip("/").lower(),
        refusal.status,
        refusal.explanation,
    )
    # The reason of a 401 is in its header, as in the original.
    text = "" if refusal.status == 401 else str(refusal)
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in refusal.headers.items()
    ]
    return Answer(text.encode(), (*headers, _TEXT), refusal.status)


def _existing(connection: Connection | None) -> Connection:
    if connection is None:
        raise Refusal(404, "No Connection with that ID")
    return connection


def _wants_events(request: Request) -> bool:
    return _EVENTS in request.headers.get("accept", "")


async def _poll(request: Request, polling: LongPolling) -> Response:
    return _PollResponse(polling, await _while_there(request, polling.poll))


async def _while_there(
    request: Request, answer: Callable[[asyncio.Future[None]], Awaitable[_T]]
) -> _T:
    """What `answer` gives, which is told when the client waits no more."""
    gone = asyncio.ensure_future(receive_disconnect(request.receive))
    try:
        return await answer(gone)
    finally:
        gone.cancel()


class _PollResponse(Response):
    """The answer to one poll. It tells when the client has taken it, which may be slowly."""

    def __init__(self, polling: LongPolling, polled: Polled) -> None:
        super().__init__(
            polled.body or None, polled.status, headers=_NO_CACHE, media_type=polled.media_type
        )
        self._polling = polling
        self._polled = polled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._polling.answered(self._polled)


class _Passed(Response):
    """The answer of the node that has the connection."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body or None, answer.status or 200)
        self.raw_headers = [*answer.headers, *self.raw_headers]


def _parameter(access: ClientAccess, name: str) -> str | None:
    """A parameter that clients add to the query; the last one counts, as in the original."""
    values = [
        value
        for key, _, value in (part.partition("=") for part in access.query.split("&"))
        if key.lower() == name.lower()
    ]
    return unquote_plus(values[-1]) if values else None


def _json(response: NegotiateResponse) -> Answer:
    return Answer(response.encode(), _JSON)
