"""What a client's request over HTTP does to its open connection, whichever node it came to."""

from typing import Final

from hubbub.service.access import Refusal
from hubbub.service.session import Connection
from hubbub.service.transports.longpolling import LongPolling
from hubbub.service.transports.stream import EventStream
from hubbub.service.transports.websocket import WebSocketTransport

__all__ = ["GONE", "check_post", "end", "pollable", "take"]

GONE: Final = "No Connection with that ID"


def pollable(connection: Connection, *, wants_events: bool) -> LongPolling:
    """What a GET goes on with. Raises `Refusal` where it would change or double the transport."""
    transport = connection.transport
    if wants_events != isinstance(transport, EventStream) or isinstance(
        transport, WebSocketTransport
    ):
        raise Refusal(400, "Cannot change transports mid-connection")
    if not isinstance(transport, LongPolling):
        raise Refusal(409, "")
    return transport


def check_post(connection: Connection) -> None:
    """Raise `Refusal` where the client has another way to say something."""
    if isinstance(connection.transport, WebSocketTransport):
        raise Refusal(405, "POST requests are not allowed for WebSocket connections.")


def take(connection: Connection, data: bytes) -> None:
    """Take what a client has posted; it may be several messages, or a piece of one."""
    if not connection.is_live:
        raise Refusal(404, GONE)  # it has ended meanwhile
    connection.receive(data)


def end(connection: Connection) -> None:
    """End a connection as its client wishes (DELETE)."""
    if not isinstance(connection.transport, LongPolling):
        raise Refusal(400, "Cannot terminate this connection using the DELETE endpoint.")
    connection.transport.close()
    connection.lost()
