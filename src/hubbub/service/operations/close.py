"""Closing connections. Each is told why, may connect again, and first gets what was sent to it."""

from collections.abc import Iterable

from hubbub.protocol.messages import Close
from hubbub.service.calls import Call, RestError
from hubbub.service.registry import Hub
from hubbub.service.session import Connection

__all__ = [
    "close_all",
    "close_connection",
    "close_connection_v1",
    "close_group",
    "close_user",
    "end",
]


async def close_connection(call: Call) -> None:
    """DELETE /api/hubs/{hub}/connections/{connectionId}"""
    hub, connection = call.local_hub, call.connection()
    if hub is None or connection is None:
        raise RestError(
            404,
            f"There is no connection {call.names['connectionId']!r}.",
            code="Warning.Connection.NotExisted",
            target="connectionId",
        )
    end(hub, (connection,), call.query.text("reason"))


async def close_connection_v1(call: Call) -> None:
    """DELETE /api/v1/hubs/{hub}/connections/{connectionId}, which does not say if it was there"""
    hub, connection = call.local_hub, call.connection()
    if hub is not None and connection is not None:
        end(hub, (connection,), call.query.text("reason"))


async def close_all(call: Call) -> None:
    """POST /api/hubs/{hub}/:closeConnections"""
    hub = call.local_hub
    _close(call, hub.connections if hub is not None else ())


async def close_group(call: Call) -> None:
    """POST /api/hubs/{hub}/groups/{group}/:closeConnections"""
    hub = call.local_hub
    _close(call, hub.groups.get(call.names["group"], ()) if hub is not None else ())


async def close_user(call: Call) -> None:
    """POST /api/hubs/{hub}/users/{user}/:closeConnections"""
    hub = call.local_hub
    _close(call, hub.users.get(call.names["user"], ()) if hub is not None else ())


def end(hub: Hub, connections: Iterable[Connection], reason: str | None) -> None:
    """Close connections of `hub` when what was accepted for them until now is written."""
    leaving = tuple(connections)

    def close() -> None:
        for connection in leaving:
            connection.close(Close(error=reason, allow_reconnect=True))

    hub.outbox.after(close)


def _close(call: Call, connections: Iterable[Connection]) -> None:
    reason = call.query.text("reason")
    excluded = call.query.values("excluded")
    hub = call.local_hub
    if hub is not None:
        end(hub, (each for each in connections if each.id not in excluded), reason)
