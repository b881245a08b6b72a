"""Requests that are answered without a task: negotiation, and sends by REST.

Most are answered at once, a send that other nodes may have to get when it has been taken for them.
It decides which these are. What they are answered with is decided where ASGI requests are answered
too, so there is one behaviour; all other requests take the way through ASGI.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import unquote

from starlette.types import Scope

from hubbub.service.calls import WHOLE_BODY, Answer
from hubbub.service.clients import ClientEndpoint
from hubbub.service.node import Node
from hubbub.service.outstanding import Later, begin
from hubbub.service.rest import RestApi

__all__ = ["Direct", "DirectHandler"]

DirectHandler = Callable[[bytes], Answer | Later]  # the body in, the answer out

_NEGOTIATE: Final = b"/client/negotiate"
_API: Final = b"/api/"
_SEND: Final = b"/:send"
_STREAMS: Final = b"/streams/"  # a stream may have to wait for its client
# Pages of other origins need headers of CORS; the others concern how the body comes.
_INDIRECT: Final = frozenset((b"origin", b"expect", b"transfer-encoding"))


class Direct:
    """The requests of one node that are answered so."""

    def __init__(self, node: Node) -> None:
        self._rest = RestApi(node)
        self._clients = ClientEndpoint(node)

    def find(
        self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> DirectHandler | None:
        """What answers a request when its body has come; `None` where that may have to wait.

        Names of headers are in lower case.
        """
        if method != b"POST" or not url.isascii() or b"#" in url:
            return None
        path, _, query = url.partition(b"?")
        is_send = path.endswith(_SEND) and path.startswith(_API) and _STREAMS not in path
        if not is_send and path != _NEGOTIATE:
            return None
        for name, _value in headers:
            if name in _INDIRECT:
                return None
        text = path.decode("ascii")
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": headers,
        }
        if not is_send:
            return lambda _body: self._clients.negotiate(scope)
        if self._rest.has_to_ask(scope):
            return None
        return lambda body: self._send(scope, body)

    def _send(self, scope: Scope, body: bytes) -> Answer | Later:
        scope[WHOLE_BODY] = body
        return begin(self._rest.answer(scope, _receive_nothing))


async def _receive_nothing() -> Any:
    raise AssertionError("the body is in the scope")
