"""The service's HTTP side as one ASGI app: REST API, client endpoint, scripts, CORS."""

import logging
from collections.abc import Awaitable, Callable, Container
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hubbub.service.clients import ClientEndpoint
from hubbub.service.node import Node
from hubbub.service.rest import RestApi
from hubbub.service.upstream.wellknown import key_routes

__all__ = ["create_app"]

_SCRIPTS: Final = Path(__file__).parent / "static"
_MISSING_SCRIPT: Final = (
    "The browser client is not installed here: it comes from the npm registry when Hubbub is set "
    "up on a machine that has npm. Pages can load it from a public CDN."
)
_logger = logging.getLogger("hubbub.service")
_MOST_NOTED: Final = 100  # origins that are remembered, so that a peer cannot fill memory or log
_MOST_SHOWN: Final = 200  # characters of an origin
# What a cache must not keep, so that it need not be told by which headers answers vary.
_NOT_FOR_CACHES: Final = ("/api/", "/client/")
Endpoint = Callable[[Request], Awaitable[ASGIApp]]


def create_app(node: Node) -> ASGIApp:
    """The app that answers every HTTP request to `node`."""
    pages = Starlette(
        routes=[Route("/scripts/{name}", _script), *key_routes(node.upstream), Route("/", _root)]
    )
    rest, clients = RestApi(node), _Endpoint(ClientEndpoint(node))

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # What everything goes through does without the router and its layers.
        path = scope["path"].lower()
        if path.startswith("/api/"):
            await rest(scope, receive, send)
        elif path == "/client" or path.startswith("/client/"):
            await clients(scope, receive, send)
        else:
            await pages(scope, receive, send)

    any_origin = "*" in node.settings.allowed_origins
    strangers = _Strangers(node.settings.allowed_origins)
    cors = CORSMiddleware(
        answer,
        # The browser client sends credentials, so an origin is named even where all are let in.
        allow_origins=() if any_origin else node.settings.allowed_origins,
        allow_origin_regex=".*" if any_origin else None,
        allow_methods=("GET", "POST", "PUT", "DELETE", "HEAD"),
        allow_headers=("*",),
        allow_credentials=True,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        origin = _origin(scope)
        if origin is not None or not scope["path"].startswith(_NOT_FOR_CACHES):
            if origin is not None and not any_origin:
                strangers.look(origin)
            await cors(scope, receive, send)
        else:
            await answer(scope, receive, send)  # no browser asks

    return app


def _origin(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"origin":
            return str(value.decode("latin-1"))
    return None


class _Strangers:
    """Says once for each origin that its pages are not let in, and what to change."""

    def __init__(self, allowed: Container[str]) -> None:
        self._allowed = allowed
        self._noted: set[str] = set()

    def look(self, origin: str) -> None:
        if origin in self._allowed or origin in self._noted or len(self._noted) >= _MOST_NOTED:
            return
        self._noted.add(origin)
        shown = origin[:_MOST_SHOWN]
        _logger.warning(
            "A page of %s called, and its browser withholds the answer from it: that origin is not "
            "allowed. Start with --allow-origin %s to let it in.",
            shown,
            shown,
        )


class _Endpoint:
    """An endpoint as an ASGI app: it sees every method, where a route would filter them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive))
        await response(scope, receive, send)


async def _script(request: Request) -> Response:
    """The official browser client, where it has been installed."""
    name: str = request.path_params["name"]
    if name != "signalr.js":
        return PlainTextResponse("There is nothing here.", 404)
    script = _SCRIPTS / name
    if not script.is_file():
        return PlainTextResponse(_MISSING_SCRIPT, 404)
    return Response(
        script.read_bytes(),
        media_type="text/javascript",
        headers={"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"},
    )


async def _root(_: Request) -> Response:
    return PlainTextResponse("This is a Hubbub service. Clients connect to /client/?hub=HUB.\n")
