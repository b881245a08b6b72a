"""Publishes the keys by which apps check the service's own tokens. Nothing here is secret."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hubbub.errors import ConfigError
from hubbub.service.upstream.dispatcher import Upstream
from hubbub.service.upstream.issuer import CONFIGURATION_PATH, JWKS_PATH, ServiceIssuer

__all__ = ["key_routes"]

_NO_ISSUER = "This service issues no tokens itself: its Identity is another one.\n"
_CACHE = {"Cache-Control": "public, max-age=300"}


def key_routes(upstream: Upstream) -> list[Route]:
    """The addresses where OpenID clients look for keys."""

    async def keys(_: Request) -> Response:
        issuer = upstream.courier.tokens.source
        if not isinstance(issuer, ServiceIssuer):
            return PlainTextResponse(_NO_ISSUER, 404)
        try:
            return JSONResponse(await issuer.keys(), headers=_CACHE)
        except ConfigError as error:
            return PlainTextResponse(f"{error}\n", 503)

    async def configuration(_: Request) -> Response:
        issuer = upstream.courier.tokens.source
        if not isinstance(issuer, ServiceIssuer):
            return PlainTextResponse(_NO_ISSUER, 404)
        return JSONResponse(issuer.configuration(), headers=_CACHE)

    return [Route(JWKS_PATH, keys), Route(CONFIGURATION_PATH, configuration)]
