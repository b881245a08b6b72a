"""Who is online: pages of a group's connections as the original has them; of a hub's connections,
users and groups, and of a user's groups, which are Hubbub's own.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from hubbub.service.calls import Answer, Call, header
from hubbub.service.registry import Members
from hubbub.service.selection import (
    decode_position,
    encode_position,
    first_after,
    read_filter,
    select,
)
from hubbub.service.session import Connection

__all__ = [
    "count_connections",
    "count_groups",
    "count_users",
    "list_connections",
    "list_group_connections",
    "list_groups",
    "list_user_groups",
    "list_users",
]

_MAX_PAGE: Final = 200  # entries (swagger 2024-12-01)
_DEFAULT_PAGE: Final = 100
_MAX_TOP: Final = 2**31 - 1
COUNT_HEADER: Final = b"x-total-count"


async def list_group_connections(call: Call) -> Answer | None:
    """GET /api/hubs/{hub}/groups/{group}/connections"""
    hub = call.local_hub
    members = hub.groups.get(call.names["group"]) if hub is not None else None
    entries = {connection.id: connection for connection in members or ()}
    return _page(call, entries, lambda name: _connection(entries[name]))


async def list_connections(call: Call) -> Answer | None:
    """GET /api/hubs/{hub}/connections, those that a filter accepts"""
    entries = {connection.id: connection async for connection in _selected(call)}
    return _page(call, entries, lambda name: _connection(entries[name], with_groups=True))


async def count_connections(call: Call) -> Answer | None:
    """HEAD /api/hubs/{hub}/connections"""
    return _count([None async for _ in _selected(call)])


async def list_users(call: Call) -> Answer | None:
    """GET /api/hubs/{hub}/users: who is connected, and how often"""
    hub = call.local_hub
    users = dict(hub.users) if hub is not None else {}
    return _page(call, users, lambda name: {"userId": name, "connections": len(users[name])})


async def count_users(call: Call) -> Answer | None:
    """HEAD /api/hubs/{hub}/users"""
    hub = call.local_hub
    return _count(hub.users if hub is not None else ())


async def list_groups(call: Call) -> Answer | None:
    """GET /api/hubs/{hub}/groups: those that have connections"""
    hub = call.local_hub
    groups: Mapping[str, Members] = dict(hub.groups) if hub is not None else {}
    return _page(call, groups, lambda name: {"group": name, "connections": len(groups[name])})


async def count_groups(call: Call) -> Answer | None:
    """HEAD /api/hubs/{hub}/groups"""
    hub = call.local_hub
    return _count(hub.groups if hub is not None else ())


async def list_user_groups(call: Call) -> Answer | None:
    """GET /api/hubs/{hub}/users/{user}/groups: what is stored, until when"""
    groups = await call.node.store.groups_of(call.hub, call.names["user"])

    def entry(name: str) -> dict[str, Any]:
        expires = datetime.fromtimestamp(int(groups[name].expires), UTC)
        return {"group": name, "expires": expires.isoformat().replace("+00:00", "Z")}

    return _page(call, groups, entry)


async def _selected(call: Call) -> AsyncIterator[Connection]:
    accepts = read_filter(call.query.text("filter"))
    hub = call.local_hub
    if hub is not None:
        async for connection in select(hub.connections.snapshot(), accepts):
            yield connection


def _connection(connection: Connection, *, with_groups: bool = False) -> dict[str, Any]:
    entry: dict[str, Any] = {"connectionId": connection.id}
    if connection.user_id is not None:
        entry["userId"] = connection.user_id
    if with_groups:
        entry["groups"] = sorted(connection.groups)
    return entry


def _page(call: Call, names: Iterable[str], entry: Any) -> Answer:
    """The page that a call asks for, and an absolute link to the next where there is one."""
    query = call.query
    size = query.integer("maxPageSize", least=1, most=_MAX_PAGE) or _DEFAULT_PAGE
    top = query.integer("top", least=1, most=_MAX_TOP)
    count = size if top is None else min(size, top)
    position = decode_position(query.text("continuationToken"))
    found = first_after(names, position, count + 1)
    page: dict[str, Any] = {"value": [entry(name) for name in found[:count]]}
    if len(found) > count and (top is None or top > count):
        left = None if top is None else top - count
        page["nextLink"] = _next_link(call, size, left, encode_position(found[count - 1]))
    return Answer.json(page)


def _next_link(call: Call, size: int, top: int | None, token: str) -> str:
    scope = call.scope
    parameters = {name: call.query.text(name) for name in ("application", "api-version", "filter")}
    parameters |= {"maxPageSize": str(size), "continuationToken": token}
    if top is not None:
        parameters["top"] = str(top)
    query = urlencode({name: text for name, text in parameters.items() if text is not None})
    path = scope["raw_path"].decode("latin-1")
    return f"{origin_of(call)}{path}?{query}"


def origin_of(call: Call) -> str:
    """Scheme and host by which the caller has reached this service."""
    host = (header(call.scope, b"host") or b"localhost").decode("latin-1")
    return f"{call.scope['scheme']}://{quote(host, safe=':[].-_')}"


def _count(found: Any) -> Answer:
    return Answer(headers=((COUNT_HEADER, str(len(found)).encode()),))
