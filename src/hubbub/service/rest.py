"""The REST API: finds the operation of a request, checks that it may, and writes its answer.

What an operation does is in `operations`. It is an ASGI app of its own, with nothing in between,
because everything that is sent comes through here.
"""

import logging
import time
from typing import Final

from starlette.types import Receive, Scope, Send

from hubbub.service.access import Refusal, admit_rest_call
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.calls import Answer, Call, RestError, header, parse_hub, parse_name, parse_query
from hubbub.service.cluster.questions import UnansweredError
from hubbub.service.cluster.unreached import What
from hubbub.service.entra import EntraGate, is_entra_token
from hubbub.service.lentkeys import lend_key
from hubbub.service.node import Node
from hubbub.service.openapi import openapi_document
from hubbub.service.routes import find_route
from hubbub.service.store import StoreError

__all__ = ["RestApi"]

_logger = logging.getLogger("hubbub.service")
_MAX_URI: Final = 12 * 1024  # bytes (REST API reference, "Limits")
_MAX_HEADERS: Final = 16 * 1024
_HEALTH: Final = frozenset({"/api/health", "/api/v1/health"})
_SWAGGER: Final = "/api/swagger"
_ANONYMOUS: Final = frozenset({*_HEALTH, _SWAGGER})
_KEY_PATHS: Final = frozenset({"/api/auth/accesskey", "/api/v1/auth/accesskey"})
_NO_ENTRA: Final = (
    "This service takes no tokens of Microsoft Entra; it is started with --entra-issuer to do so."
)


class RestApi:
    """Answers requests below /api."""

    def __init__(self, node: Node) -> None:
        self._node = node
        entra = node.settings.entra
        self._entra = EntraGate(entra) if entra is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whose path begins with /api/."""
        answer = await self.answer(scope, receive)
        await answer.send(scope, send)

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request.

        Sends wait for the body, for what `has_to_ask`, and for futures of the backplane; nothing
        else.
        """
        try:
            return await self._answer(scope, receive)
        except Refusal as refusal:
            answer = _refuse(scope, refusal)
        except (StoreError, BackplaneError, UnansweredError) as error:
            if self._node.cluster is not None:
                text = f"{scope['method']} {scope['path']}: {error}"
                self._node.cluster.unreached(What.REFUSED, text)
            else:
                _logger.error("%s", error)
            answer = RestError(503, f"{error} Try again later.").answer()
        except Exception:
            # A defect in one call must not end the caller's connection without a word.
            _logger.exception("%s %s failed", scope["method"], scope["path"])
            answer = RestError(500, "The service failed; its log says why.").answer()
        self._node.refused["rest", answer.status or 500] += 1
        return answer

    def has_to_ask(self, scope: Scope) -> bool:
        """Whether who issued the token has to be asked."""
        if self._entra is None:
            return False
        value = header(scope, b"authorization") or b""
        return is_entra_token(value.decode("latin-1").partition(" ")[2].strip())

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        raw_path: bytes = scope["raw_path"]
        _check_size(raw_path, scope)
        path = raw_path.decode("latin-1")
        if path.rstrip("/").lower() in _ANONYMOUS:
            return self._anonymous(path.rstrip("/").lower(), scope["method"])
        if path.rstrip("/").lower() in _KEY_PATHS:
            return await self._lend_key(scope)
        match = find_route(scope["method"], path)
        await self._admit(scope, path)
        query = parse_query(scope["query_string"])
        hub = parse_hub(match.segments[0], query)
        names = {
            kind: parse_name(kind, segment)
            for kind, segment in zip(match.route.kinds[1:], match.segments[1:], strict=True)
        }
        call = Call(self._node, hub, names, query, scope, receive)
        if self._node.cluster is None:
            answer = await match.route.handler(call)
        else:
            answer = await self._node.cluster.perform(match.route, call)
        if answer is None:
            return _EMPTY[match.route.status]
        return Answer(answer.body, answer.headers, answer.status or match.route.status)

    async def _admit(self, scope: Scope, path: str) -> None:
        value = header(scope, b"authorization")
        authorization = value.decode("latin-1") if value is not None else None
        if self._entra is not None and authorization is not None:
            token = authorization.partition(" ")[2].strip()
            if is_entra_token(token):
                await self._entra.admit(token)
                return
        admit_rest_call(self._node.settings, path=path, authorization=authorization)

    def _anonymous(self, path: str, method: str) -> Answer:
        """Health, as the SDK's probe sends no token, and what the API can do."""
        if method not in {"GET", "HEAD"}:
            raise RestError(405, "This is asked by GET or HEAD.", headers={"Allow": "GET, HEAD"})
        if path not in _HEALTH:
            return Answer(openapi_document(), ((b"content-type", b"application/json"),), 200)
        return self._node.cluster.health() if self._node.cluster is not None else _EMPTY[200]

    async def _lend_key(self, scope: Scope) -> Answer:
        """GET /api/auth/accessKey: a key to sign with, for who has an Entra token."""
        if scope["method"] != "GET":
            raise RestError(405, "This is asked by GET.", headers={"Allow": "GET"})
        value = header(scope, b"authorization") or b""
        token = value.decode("latin-1").partition(" ")[2].strip()
        if self._entra is None or not is_entra_token(token):
            advice = "A token of Microsoft Entra is needed." if self._entra else _NO_ENTRA
            raise RestError(401, advice, headers={"WWW-Authenticate": "Bearer"})
        await self._entra.admit(token)
        lent = lend_key(self._node.settings.access_keys[0], now=int(time.time()))
        return Answer(Answer.json(lent).body, ((b"content-type", b"application/json"),), 200)


_EMPTY: Final = {status: Answer(status=status) for status in (200, 202, 204)}


def _check_size(raw_path: bytes, scope: Scope) -> None:
    length = len(raw_path) + len(scope["query_string"])
    if length > _MAX_URI:
        raise RestError(414, f"Path and query are at most {_MAX_URI} bytes long.", target="uri")
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
    if size > _MAX_HEADERS:
        raise RestError(
            431, f"All headers together are at most {_MAX_HEADERS} bytes long.", target="headers"
        )


def _refuse(scope: Scope, refusal: Refusal) -> Answer:
    error = RestError.of(refusal)
    if error is not refusal:
        _logger.info("refused %s %s: %d %s", scope["method"], scope["path"], error.status, error)
    return error.answer()
