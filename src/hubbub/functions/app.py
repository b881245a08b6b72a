"""The ASGI application in front of a host: limits, CORS, keys, the host's own addresses, routes.

It decides which status a request gets. What a function answers it does not touch.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from hubbub.functions.admin import PING, UNAUTHORIZED, Admin
from hubbub.functions.context import Context
from hubbub.functions.cors import CorsPolicy, Strangers, is_own
from hubbub.functions.expressions import Values
from hubbub.functions.homepage import homepage
from hubbub.functions.host import Host
from hubbub.functions.invoke import CANCELLED, DONE, Outcome
from hubbub.functions.joinedwrite import EXTENSION
from hubbub.functions.keys import SIGNALR
from hubbub.functions.principal import names_principal, without_principal
from hubbub.functions.reply import Reply
from hubbub.functions.request import (
    HEADER_LIMIT,
    URL_LIMIT,
    Disconnected,
    HttpCall,
    HttpData,
    TooLarge,
    format_base,
    format_url,
    has_body,
    limited,
    parse_query,
    read_body,
    read_headers,
)
from hubbub.functions.response import FAILED, NO_CONTENT, NOT_FOUND, Response
from hubbub.functions.routes import Route, decode_path
from hubbub.functions.threads import PoolFullError
from hubbub.functions.waiting import while_waited_for
from hubbub.functions.webhook import refusal
from hubbub.functions.webtypes import serve_typed
from hubbub.protocol.challenge import SYSTEM_KEY
from hubbub.protocol.webhooks import STREAM_ID

logger = logging.getLogger("hubbub.functions")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NO_NAMES = Values({})
_NO_VALUES: Mapping[str, str] = {}
_NO_EXTENSIONS: Mapping[str, Any] = {}
_LOOK = 0.02  # seconds from one look at what still runs to the next
_LOOKS = 250  # which makes five seconds, before a service is ended
_BUSY = Response(503, ((b"retry-after", b"1"),))
_WEBHOOKS = "runtime/webhooks/signalr"


def create_app(host: Host) -> "HostApp":
    """The ASGI application that serves `host`; its lifespan starts and closes the host."""
    return HostApp(host)


class HostApp:
    """Answers HTTP requests with the functions of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._admin = Admin(host)
        self._limit = host.settings.max_outstanding_requests
        self._outstanding = 0
        self._told: set[asyncio.Task[Any] | None] = set()  # who answers services, but no streams
        self._rests = False
        self._strangers = Strangers()
        concurrent = host.settings.max_concurrent_requests
        self._turns = asyncio.Semaphore(concurrent) if concurrent else None
        self._hsts = host.settings.hsts
        self._custom = tuple(
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in host.settings.custom_headers
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        headers, size = read_headers(scope["headers"])
        if not self._host.trusts_principal and names_principal(headers):
            scope = {**scope, "headers": without_principal(scope["headers"])}
            headers, _ = read_headers(scope["headers"])
        custom = self._custom
        if self._hsts is not None:
            header = self._hsts.header(scope.get("scheme", "http"), headers.get("host", ""))
            custom = custom if header is None else (*custom, header)
        joined = scope.get("extensions", _NO_EXTENSIONS).get(EXTENSION)
        reply = Reply(send, self._host.cors, headers.get("origin"), custom, joined)
        request = _Request(scope, receive, headers, reply)
        try:
            response = Response(431) if size > HEADER_LIMIT else await self._answer(request)
        except Disconnected:
            return
        except TooLarge:
            response = Response(413)
        except Exception:  # a fault of this host costs one request
            logger.exception("A request could not be answered")
            response = FAILED
        if response is not None and not reply.has_started:
            await reply.whole(response)
        if "origin" in headers:
            self._strangers.look(headers, reply.headers)

    async def rest(self) -> None:
        """Refuse functions to all but services, and wait a while until nothing else runs.

        What services told until now is waited for too, as clients wait for it. It comes before the
        end of a service which then has the app to tell who has left, and which what runs may need.
        """
        self._rests = True
        told = set(self._told)
        await self._host.drain()
        for _ in range(_LOOKS):
            if not self._outstanding and not self._host.is_busy and told.isdisjoint(self._told):
                return
            await asyncio.sleep(_LOOK)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The life of the host. It has no WebSockets."""
        if scope["type"] != "lifespan":
            await send({"type": "websocket.close", "code": 1000})
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._host.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._host.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, request: "_Request") -> Response | None:
        """The response, or None where it was sent already."""
        if request.is_too_long:
            return Response(414)
        if self._host.offline.answer is not None:
            return self._host.offline.answer
        if request.method == "OPTIONS":
            preflight = self._host.cors.preflight(request.method, request.headers)
            if preflight is not None:
                return preflight
        exact = self._host.routes.find_exact(request.raw_path, request.method)
        if exact is not None:
            return await self._call(request, exact, _NO_VALUES)
        path = decode_path(request.raw_path)
        if path[:6].lower() == "admin/":
            if not self._may_administer(request, path):
                return UNAUTHORIZED
            body = partial(read_body, request.receive, request.headers, self._host.body_limit)
            return await self._admin.answer(
                request.method, path, request.headers, request.query, body, request.base
            )
        if path[:8].lower() == "runtime/" and path.rstrip("/").lower() == _WEBHOOKS:
            return await self._notify(request)
        found = self._host.routes.find(path, request.method)
        if found is None:
            return self._home() if path == "" else NOT_FOUND
        return await self._call(request, *found)

    def _may_administer(self, request: "_Request", path: str) -> bool:
        """Whether a request may ask for more; keys, where there are any, are the admin API's own.

        Without keys the admin API is for this machine alone, and for no page of another site that
        a browser here shows: it gives keys out.
        """
        if self._host.access.is_checked or path.rstrip("/").lower() == PING:
            return True
        if request.is_local and not request.is_of_another_site(self._host.cors):
            return True
        logger.warning(
            "Refused %s of the admin API to another machine or to a page of another site: start "
            "with --enable-auth and use the master key.",
            request.method,
        )
        return False

    async def _call(
        self, request: "_Request", route: Route, values: Mapping[str, str]
    ) -> Response | None:
        """Invoke a function if the request may, and if there is room for it."""
        access = self._host.access
        if access.is_checked and not access.allows_function(
            route.name, route.level, request.headers, request.query
        ):
            return UNAUTHORIZED
        if self._rests:
            return _BUSY
        if self._limit is not None and self._outstanding >= self._limit:
            return Response(429, ((b"x-function-scaleout", b"1"),))
        self._outstanding += 1
        try:
            if self._turns is None:
                return await self._invoke(request, route, values)
            async with self._turns:
                return await self._invoke(request, route, values)
        finally:
            self._outstanding -= 1

    def _home(self) -> Response:
        if not self._host.homepage:
            return NO_CONTENT
        # Where keys are asked for, nobody is told what there is.
        return homepage(() if self._host.access.is_checked else self._host.routes.routes)

    async def _notify(self, request: "_Request") -> Response:
        """What a service tells: a webhook. The address is there for apps that listen only."""
        if not self._host.signalr:
            return NOT_FOUND
        if request.method != "POST":
            return Response(405, ((b"allow", b"POST"),))
        if not self._host.access.allows_webhook(SIGNALR, request.headers, request.query):
            logger.warning("A webhook was refused: it has not the system key %s.", SIGNALR)
            return refusal(SYSTEM_KEY)
        body = await read_body(request.receive, request.headers, self._host.body_limit)
        answer = self._host.signalr.answer(request.headers, body, self._host.invoker.run_again)
        if STREAM_ID.lower() not in request.headers:
            task = asyncio.current_task()
            self._told.add(task)
            try:
                return await answer
            finally:
                self._told.discard(task)
        # A stream is for its client alone: when that has left, it is work for nobody.
        response = await while_waited_for(request.receive, answer)
        if response is None:
            raise Disconnected
        return response

    async def _invoke(
        self, request: "_Request", route: Route, values: Mapping[str, str]
    ) -> Response | None:
        plan, headers = self._host.plans[route.name], request.headers
        context = Context(plan.function, headers.get("traceparent"), headers.get("tracestate"))
        if route.name in self._host.web:
            web = self._host.web[route.name]
            return await self._stream(
                request, context, partial(web.serve, request.scope, context=context)
            )
        types = plan.function.web_types
        body = b""
        if types is None and has_body(request.scope, headers):
            body = await read_body(request.receive, headers, self._host.body_limit)
        call = HttpCall(
            method=request.method,
            url=partial(format_url, request.scope, headers, request.raw_path),
            headers=headers,
            query=request.query,
            route=values,
            body=body,
        )
        data = HttpData(call) if plan.evaluates else _NO_NAMES
        if types is not None:
            invoke = partial(self._host.invoker.perform, plan, data=data, context=context)
            serve = partial(serve_typed, types, values, invoke, request.scope)
            return await self._stream(request, context, serve)
        outcome = await self._host.invoker.run(plan, call.request(), data, context)
        if outcome.error is not None:
            return _failure(outcome.error)
        for encoded in outcome.outputs.values():
            if isinstance(encoded, Response):
                return encoded
        return NO_CONTENT  # an Out that was never set, or no http output at all

    async def _stream(
        self, request: "_Request", context: Context, serve: Callable[..., Awaitable[Outcome | None]]
    ) -> Response | None:
        """Let `serve` answer by ASGI's `receive` and `send`; else what stands for its answer."""
        receive = limited(request.receive, request.headers, self._host.body_limit)
        outcome = await self._host.invoker.run_web(context, partial(serve, receive, request.reply))
        if outcome is CANCELLED:
            raise Disconnected
        if isinstance(outcome.error, TooLarge):
            return Response(413)
        if outcome is DONE:
            return None
        return NO_CONTENT if outcome.error is None else _failure(outcome.error)


class _Request:
    """What is asked, as far as it is known before the body is read."""

    def __init__(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str], reply: Reply
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.headers = headers
        self.reply = reply
        self.method: str = scope["method"].upper()
        self.raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
        self._query: dict[str, str] | None = None

    @property
    def is_too_long(self) -> bool:
        """Whether the address is over the limit."""
        return len(self.raw_path) + len(self.scope.get("query_string", b"")) > URL_LIMIT

    @property
    def query(self) -> dict[str, str]:
        """The query's values by name, empty ones included."""
        if self._query is None:
            self._query = parse_query(self.scope.get("query_string", b""))
        return self._query

    @property
    def is_local(self) -> bool:
        """Whether it comes from this machine and was meant for it.

        A page of another site reaches this machine under a name that leads here (DNS rebinding).
        """
        peer = self.scope.get("client")
        try:
            name = urlsplit(f"//{self.headers.get('host', 'localhost')}").hostname or ""
        except ValueError:  # a bracket that is never closed, for one
            return False
        return (peer is None or _is_loopback(peer[0])) and _is_loopback(name)

    def is_of_another_site(self, cors: CorsPolicy) -> bool:
        """Whether a browser sends it for a page of elsewhere, that the operator has not named."""
        origin = self.headers.get("origin")
        if origin is None:  # browsers leave it out of what only reads
            return self.headers.get("sec-fetch-site") == "cross-site"
        return not is_own(origin, self.headers) and not cors.names(origin)

    @property
    def base(self) -> str:
        """The address of this host as the client has written it."""
        return format_base(self.scope, self.headers)


def _failure(error: BaseException) -> Response:
    """What is answered for an invocation that has failed: why, the log alone says."""
    return _BUSY if isinstance(error, PoolFullError) else FAILED


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
