"""The ASGI application in front of a host: limits, CORS, the host's own addresses, routes.

It decides which status a request gets. What a function answers it does not touch.
"""

import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from hubbub import __version__
from hubbub.functions.context import Context
from hubbub.functions.host import Host
from hubbub.functions.request import (
    HEADER_LIMIT,
    URL_LIMIT,
    Disconnected,
    HttpCall,
    HttpData,
    TooLarge,
    format_url,
    join_headers,
    parse_query,
    read_body,
)
from hubbub.functions.response import FAILED, NO_CONTENT, NOT_FOUND, Response
from hubbub.functions.routes import Route, decode_path

logger = logging.getLogger("hubbub.functions")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HOMEPAGE = Response(
    200,
    ((b"content-type", b"text/html; charset=utf-8"),),
    b"<!doctype html><title>Hubbub</title><body style='font-family:system-ui;margin:4rem'>"
    b"<h1>Your Azure Function App is up and running.</h1>"
    b"<p>It is served by Hubbub. Its functions have addresses of their own.</p>",
)


def create_app(host: Host) -> "HostApp":
    """The ASGI application that serves `host` and closes it at its own end."""
    return HostApp(host)


class HostApp:
    """Answers HTTP requests with the functions of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._started = time.monotonic()
        self._limit = host.settings.max_outstanding_requests
        self._outstanding = 0
        self._custom = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in host.settings.custom_headers
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:  # a function host has no WebSockets
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._host.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = join_headers(scope["headers"])
        try:
            response = await self._answer(scope, receive, headers)
        except Disconnected:
            return
        except Exception:  # a fault of this host costs one request
            logger.exception("A request could not be answered")
            response = FAILED
        response = self._host.cors.apply(response, headers.get("origin"))
        wire = response.wire_headers()
        if self._custom:
            present = {name for name, _ in wire}
            wire += [pair for pair in self._custom if pair[0] not in present]
        await send({"type": "http.response.start", "status": response.status, "headers": wire})
        await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, scope: Scope, receive: Receive, headers: Mapping[str, str]) -> Response:
        method = scope["method"].upper()
        raw_path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
        if len(raw_path) + len(scope.get("query_string", b"")) > URL_LIMIT:
            return Response(414)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_LIMIT:
            return Response(431)
        preflight = self._host.cors.preflight(method, headers)
        if preflight is not None:
            return preflight
        path = decode_path(raw_path)
        if path.startswith("admin/"):
            return self._administer(method, path.rstrip("/"))
        found = self._host.routes.find(path, method)
        if found is None:
            return self._home() if path == "" else NOT_FOUND
        if self._limit is not None and self._outstanding >= self._limit:
            return Response(429, ((b"x-function-scaleout", b"1"),))
        self._outstanding += 1
        try:
            return await self._invoke(scope, receive, headers, raw_path, *found)
        finally:
            self._outstanding -= 1

    async def _invoke(
        self,
        scope: Scope,
        receive: Receive,
        headers: Mapping[str, str],
        raw_path: bytes,
        route: Route,
        values: Mapping[str, str],
    ) -> Response:
        try:
            body = await read_body(receive, headers, self._host.body_limit)
        except TooLarge:
            return Response(413)
        call = HttpCall(
            method=scope["method"].upper(),
            url=format_url(scope, headers, raw_path),
            headers=headers,
            query=parse_query(scope.get("query_string", b"")),
            route=values,
            body=body,
        )
        plan = self._host.plans[route.name]
        context = Context(plan.function, headers.get("traceparent"), headers.get("tracestate"))
        outcome = await self._host.invoker.run(plan, call.request(), HttpData(call), context)
        if outcome.error is not None:
            return FAILED
        for encoded in outcome.outputs.values():
            if isinstance(encoded, Response):
                return encoded
        return NO_CONTENT  # an Out that was never set, or no http output at all

    def _home(self) -> Response:
        return _HOMEPAGE if self._host.homepage else NO_CONTENT

    def _administer(self, method: str, path: str) -> Response:
        """The host's own addresses."""
        if path == "admin/host/ping" and method in {"GET", "HEAD", "POST"}:
            return Response()
        if path == "admin/host/status" and method in {"GET", "HEAD"}:
            return _json(self._status())
        return NOT_FOUND

    def _status(self) -> dict[str, Any]:
        return {
            "id": self._host.root.name,
            "state": "Running",
            "version": __version__,
            "versionDetails": f"hubbub {__version__}",
            "instanceId": str(os.getpid()),
            "processUptime": round((time.monotonic() - self._started) * 1000),
            "errors": [str(refusal) for refusal in self._host.refused],
        }


def _json(value: Any) -> Response:
    kind = (b"content-type", b"application/json; charset=utf-8")
    return Response(200, (kind,), json.dumps(value).encode())
