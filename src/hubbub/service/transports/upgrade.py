"""WebSocket upgrade requests: who may connect, and the answer (RFC 6455, 4.2).

What the request has to look like is checked by `websockets`; what comes after the answer is
`websocket`'s.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

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
    headers: Iterable[tuple[bytes, bytes]],
    socket: asyncio.Transport,
    peers: set[Any],
    *,
    has_asked: bool = False,
    objection: Refusal | None = None,
) -> asyncio.Protocol | None:
    """Answer the upgrade request for `target`, a path with its query.

    From here on what is returned reads from `socket`, or, where it is `None`, the socket is closed.
    Where `has_asked`, other nodes have been asked, and one may have an `objection`.
    """
    handshake = ServerProtocol(logger=_websockets_logger)
    headers = tuple(headers)
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    request = Request(target, Headers(pairs), method)
    try:
        access = _admit(node, request)
        if objection is not None:
            raise objection
        if not has_asked and node.cluster is not None and node.has_to_ask(access):
            return _ask_first(
                node.cluster.visits, access, socket,
                partial(answer_upgrade, node, method, target, headers, socket, peers),
            )  # fmt: skip
        node.check(access)
    except Refusal as refusal:
        path = target.partition("?")[0]
        _logger.info(
            "refused WebSocket %s: %d %s %s", path, refusal.status, refusal, refusal.advice
        )
        response = handshake.reject(refusal.status, f"{refusal}\n")
        response.headers.update(refusal.headers)
        access = None
    else:
        response = handshake.accept(request)
    if access is None or response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        socket.write(response.serialize())
        socket.close()
        return None
    head = response.serialize()  # which ends in an empty line
    socket.write(head[:-2] + _NO_CACHE)
    transport = WebSocketTransport(node, socket, peers)
    socket.set_protocol(transport)  # first, so that it hears if more is written than is allowed
    transport.open(access)
    return transport


def _ask_first(
    visits: "Visits",
    access: ClientAccess,
    socket: asyncio.Transport,
    answer: Callable[..., asyncio.Protocol | None],
) -> asyncio.Protocol:
    asking = AskingUpgrade(visits, access, socket)
    socket.set_protocol(asking)
    asking.start(lambda objection: answer(has_asked=True, objection=objection))
    return asking


def _admit(node: Node, request: Request) -> ClientAccess:
    path, _, query = request.path.partition("?")
    if path.rstrip("/").lower() == "/server":
        raise Refusal(403, _DEFAULT_MODE)
    if path.rstrip("/").lower() != "/client":
        raise Refusal(404, "There is nothing here. Clients connect to /client/?hub=HUB.")
    allowed = node.settings.allowed_origins
    for origin in request.headers.get_all("Origin"):  # browsers ask no leave for a WebSocket
        if "*" not in allowed and origin not in allowed:
            raise Refusal(
                403,
                "Pages of this origin may not connect.",
                advice=f"Allowed are {', '.join(allowed)}; --allow-origin adds one.",
            )
    authorizations = request.headers.get_all("Authorization")
    access = admit_client(
        node.settings,
        query=query,
        authorization=authorizations[0] if authorizations else None,
        accepts_query_token=True,
    )
    check_transport(access, WEB_SOCKETS)
    return access
