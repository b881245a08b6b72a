"""WebSocket upgrade requests: who may connect, and the answer (RFC 6455, 4.2).

A request that looks as the RFC has it is answered here; `websockets` judges every other. What comes
after the answer is `websocket`'s.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from hubbub.protocol.negotiate import WEB_SOCKETS
from hubbub.service.access import ClientAccess, Refusal, admit_client, check_transport
from hubbub.service.node import Node
from hubbub.service.transports.asking import AskingUpgrade
from hubbub.service.transports.websocket import WebSocketTransport

if TYPE_CHECKING:
    from hubbub.service.cluster.visits import Visits

__all__ = ["answer_upgrade"]

_logger = logging.getLogger("hubbub.service")
_websockets_logger = logging.getLogger("websockets.server")

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes in base64
# As `websockets` writes it.
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nDate: %b\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
_NO_CACHE: Final = (
    b"Cache-Control: no-cache, no-store\r\n"
    b"Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    b"Pragma: no-cache\r\n\r\n"
)
_DEFAULT_MODE: Final = (
    "This service runs in serverless mode and takes no server connections. "
    "Use the management SDK with ServiceTransportType Transient, or Azure Functions bindings."
)


def answer_upgrade(
    node: Node,
    method: str,
    target: str,
    headers: Sequence[tuple[bytes, bytes]],
    socket: asyncio.Transport,
    peers: set[Any],
    *,
    has_asked: bool = False,
    objection: Refusal | None = None,
) -> "WebSocketTransport | AskingUpgrade | None":
    """Answer the upgrade request for `target`, a path with its query.

    From here on what is returned reads from `socket`, or, where there is none, the socket is
    closed. Names of headers are in lower case. Where `has_asked`, other nodes have been asked who
    has the connection, and one may have an `objection`.
    """
    try:
        access = _admit(node, target, headers)
        if objection is not None:
            raise objection
        node.check_open()
        if not has_asked and node.cluster is not None and node.has_to_ask(access):
            return _ask_first(
                node.cluster.visits, access, socket,
                partial(answer_upgrade, node, method, target, headers, socket, peers),
            )  # fmt: skip
        node.check(access)
    except Refusal as refusal:
        path = target.partition("?")[0]
        node.refused["client", refusal.status] += 1
        _logger.info("refused WebSocket %s: %d %s", path, refusal.status, refusal.explanation)
        response = ServerProtocol(logger=_websockets_logger).reject(refusal.status, f"{refusal}\n")
        response.headers.update(refusal.headers)
        socket.write(response.serialize())
        socket.close()
        return None
    head = _plain_answer(method, headers)
    if head is None:
        response = _judged(method, target, headers)
        head = response.serialize()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            socket.write(head)
            socket.close()
            return None
    transport = WebSocketTransport(node, socket, peers)
    socket.set_protocol(transport)  # first, so that it hears if the socket is full
    transport.accept(head[:-2] + _NO_CACHE)  # it ends in an empty line
    transport.open(access)
    return transport


def _ask_first(
    visits: "Visits",
    access: ClientAccess,
    socket: asyncio.Transport,
    answer: Callable[..., WebSocketTransport | AskingUpgrade | None],
) -> AskingUpgrade:
    asking = AskingUpgrade(visits, access, socket)
    socket.set_protocol(asking)
    asking.start(lambda objection: answer(has_asked=True, objection=objection))
    return asking


def _admit(node: Node, target: str, headers: Sequence[tuple[bytes, bytes]]) -> ClientAccess:
    path, _, query = target.partition("?")
    place = path.rstrip("/").lower()
    if place == "/server":
        raise Refusal(403, _DEFAULT_MODE)
    if place != "/client":
        raise Refusal(404, "There is nothing here. Clients connect to /client/?hub=HUB.")
    authorization: str | None = None
    for name, value in headers:
        if name == b"authorization" and authorization is None:
            authorization = value.decode("latin-1")
        elif name == b"origin":  # browsers ask no leave for a WebSocket
            _check_origin(node, value.decode("latin-1"))
    access = admit_client(
        node.settings, query=query, authorization=authorization, accepts_query_token=True
    )
    check_transport(access, WEB_SOCKETS)
    return access


def _check_origin(node: Node, origin: str) -> None:
    allowed = node.settings.allowed_origins
    if "*" not in allowed and origin not in allowed:
        raise Refusal(
            403,
            "Pages of this origin may not connect.",
            advice=f"Allowed are {', '.join(allowed)}; --allow-origin adds one.",
        )


def _plain_answer(method: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The answer to a request that is as RFC 6455, 4.1 has it; `None` where that is in doubt."""
    found = dict(headers)
    if (
        method != "GET"
        or len(found) != len(headers)  # one of them is there twice
        or found.get(b"upgrade", b"").lower() != b"websocket"
        or b"upgrade" not in found.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
        or found.get(b"sec-websocket-version") != b"13"
    ):
        return None
    key = found.get(b"sec-websocket-key", b"")
    if _KEY.fullmatch(key) is None:
        return None
    date = _date(int(time.time()))
    return _SWITCHING % (date.encode(), accept_key(key.decode()).encode())


def _judged(method: str, target: str, headers: Sequence[tuple[bytes, bytes]]) -> Response:
    """The answer of `websockets` to any request."""
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    handshake = ServerProtocol(logger=_websockets_logger)
    return handshake.accept(Request(target, Headers(pairs), method))


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
