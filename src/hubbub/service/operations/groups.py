"""Membership of groups: of connections while they last, of users until a time that is stored."""

from typing import Final

from hubbub.service.calls import Call, RestError
from hubbub.service.session import Connection

__all__ = [
    "add_connection",
    "add_user",
    "remove_connection",
    "remove_connection_from_all",
    "remove_connection_v1",
    "remove_user",
    "remove_user_from_all",
]

_MAX_TTL: Final = 2**31 - 1  # int32 seconds (swagger)


async def add_connection(call: Call) -> None:
    """PUT /api/hubs/{hub}/groups/{group}/connections/{connectionId}"""
    hub, connection = call.local_hub, call.connection()
    if hub is None or connection is None:
        raise RestError(
            404,
            f"There is no connection {call.names['connectionId']!r}.",
            code="Error.Connection.NotExisted",
            target="connectionId",
        )
    call.node.registry.add_to_group(hub, call.names["group"], connection)


async def remove_connection(call: Call) -> None:
    """DELETE /api/hubs/{hub}/groups/{group}/connections/{connectionId}; not being in it is fine"""
    _leave(call, call.connection(), call.names["group"])


async def remove_connection_v1(call: Call) -> None:
    """DELETE /api/v1/hubs/{hub}/groups/{group}/connections/{connectionId}"""
    if not _leave(call, call.connection(), call.names["group"]):
        raise RestError(
            404,
            f"Connection {call.names['connectionId']!r} is not in group {call.names['group']!r}.",
            code="Error.Connection.NotExisted",
            target="connectionId",
        )


async def remove_connection_from_all(call: Call) -> None:
    """DELETE /api/hubs/{hub}/connections/{connectionId}/groups"""
    _leave_all(call, call.connection())


async def add_user(call: Call) -> None:
    """PUT /api/hubs/{hub}/users/{user}/groups/{group}"""
    user, group = call.names["user"], call.names["group"]
    ttl = call.query.integer("ttl", least=0, most=_MAX_TTL)
    # First, so that who connects while this is under way finds it in the store.
    if not call.is_forwarded:
        await call.node.store.add(call.hub, user, group, ttl)
    hub = call.local_hub
    if hub is not None:
        for connection in hub.users.get(user, ()):
            call.node.registry.add_to_group(hub, group, connection)


async def remove_user(call: Call) -> None:
    """DELETE /api/hubs/{hub}/users/{user}/groups/{group}"""
    if not call.is_forwarded:
        await call.node.store.remove(call.hub, call.names["user"], call.names["group"])
    for connection in _of_user(call):
        _leave(call, connection, call.names["group"])


async def remove_user_from_all(call: Call) -> None:
    """DELETE /api/hubs/{hub}/users/{user}/groups, the groups of single connections too"""
    if not call.is_forwarded:
        await call.node.store.remove_all(call.hub, call.names["user"])
    for connection in _of_user(call):
        _leave_all(call, connection)


def _of_user(call: Call) -> tuple[Connection, ...]:
    hub = call.local_hub
    return tuple(hub.users.get(call.names["user"], ())) if hub is not None else ()


def _leave(call: Call, connection: Connection | None, group: str) -> bool:
    hub = call.local_hub
    if hub is None or connection is None:
        return False
    return call.node.registry.remove_from_group(hub, group, connection)


def _leave_all(call: Call, connection: Connection | None) -> None:
    if connection is not None:
        for group in connection.groups:
            _leave(call, connection, group)
