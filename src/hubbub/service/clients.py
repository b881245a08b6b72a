"""The client endpoint over HTTP: negotiation, event streams, long polls, and what is posted.

Statuses and texts are those of the reference server (TransportProtocols.md and its dispatcher).
"""

import asyncio
import logging
from typing import Final
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
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.transports.longpolling import LongPolling
from hubbub.service.transports.stream import EventStream
from hubbub.service.transports.websocket import WebSocketTransport

__all__ = ["ClientEndpoint"]

_logger = logging.getLogger("hubbub.service")
_EVENTS: Final = "text/event-stream"
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
                return self._negotiate(request)
            if path == "/client":
                return await self._serve(request)
        except Refusal as refusal:
            # A request that comes after the end of its connection is nothing to tell an operator.
            _logger.log(
                logging.DEBUG if refusal.status == 404 else logging.INFO,
                "refused %s %s: %d %s %s",
                request.method,
                path,
                refusal.status,
                refusal,
                refusal.advice,
            )
            # The reason of a 401 is in its header, as in the original.
            text = "" if refusal.status == 401 else str(refusal)
            return PlainTextResponse(text, refusal.status, headers=dict(refusal.headers))
        return PlainTextResponse("There is nothing here.", 404)

    def _negotiate(self, request: Request) -> ASGIApp:
        if request.method != "POST":
            return PlainTextResponse("", 405, headers={"Allow": "POST"})
        access = self._admit(request)
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
        access = self._admit(request)
        if access.connection_token is None:
            raise Refusal(400, "Connection ID required")
        connection = self._node.find(access)
        match request.method:
            case "GET":
                return await self._receive(request, access, connection)
            case "POST":
                return await self._send(request, _existing(connection))
            case _:
                return _end(_existing(connection))

    async def _receive(
        self, request: Request, access: ClientAccess, connection: Connection | None
    ) -> ASGIApp:
        """Open or go on with a transport by GET."""
        events = _EVENTS in request.headers.get("accept", "")
        check_transport(access, SERVER_SENT_EVENTS if events else LONG_POLLING)
        if connection is None:
            self._node.check(access)
            if events:
                return EventStream(self._node, access)
            polling = LongPolling(self._node, access)
        elif events != isinstance(connection.transport, EventStream) or isinstance(
            connection.transport, WebSocketTransport
        ):
            raise Refusal(400, "Cannot change transports mid-connection")
        elif isinstance(connection.transport, LongPolling):
            polling = connection.transport
        else:
            raise Refusal(409, "")
        response = await polling.poll(request)
        response.headers.update(_NO_CACHE)
        return response

    async def _send(self, request: Request, connection: Connection) -> Response:
        """Take what a client posts; it may hold several messages, or a piece of one."""
        if isinstance(connection.transport, WebSocketTransport):
            raise Refusal(405, "POST requests are not allowed for WebSocket connections.")
        if connection.inbox is not None:
            await connection.inbox.room()
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
        if not connection.is_live:
            raise Refusal(404, "No Connection with that ID")  # it has ended meanwhile
        connection.receive(b"".join(pieces))
        return PlainTextResponse("")

    def _admit(self, request: Request) -> ClientAccess:
        return admit_client(
            self._node.settings,
            query=request.scope["query_string"].decode("latin-1"),
            authorization=request.headers.get("authorization"),
            accepts_query_token=_EVENTS in request.headers.get("accept", ""),
        )


def _existing(connection: Connection | None) -> Connection:
    if connection is None:
        raise Refusal(404, "No Connection with that ID")
    return connection


def _end(connection: Connection) -> Response:
    if not isinstance(connection.transport, LongPolling):
        raise Refusal(400, "Cannot terminate this connection using the DELETE endpoint.")
    connection.transport.close()
    connection.lost()
    return PlainTextResponse("", 202)


def _parameter(access: ClientAccess, name: str) -> str | None:
    """A parameter that clients add to the query; the last one counts, as in the original."""
    values = [
        value
        for key, _, value in (part.partition("=") for part in access.query.split("&"))
        if key.lower() == name.lower()
    ]
    return unquote_plus(values[-1]) if values else None


def _json(response: NegotiateResponse) -> ASGIApp:
    body = response.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer
