"""Who is online: pages of a group's connections as the original has them; of a hub's connections,
users and groups, and of a user's groups, which are Hubbub's own.

Each node gives its part; what a page or a count says is made of the parts of all nodes.
"""

import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain
from typing import Any, Final
from urllib.parse import quote, urlencode

from hubbub.service.calls import Answer, Call, header
from hubbub.service.operations.operation import Merged
from hubbub.service.selection import (
    decode_position,
    encode_position,
    first_after,
    first_members,
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
_DIGEST_BYTES: Final = 12
_Entry = dict[str, Any]
_Part = list[tuple[str, _Entry]]


async def list_user_groups(call: Call) -> Answer | None:
    """GET /api/hubs/{hub}/users/{user}/groups: what is stored, until when"""
    groups = await call.node.store.groups_of(call.hub, call.names["user"])

    def entry(name: str) -> _Entry:
        expires = datetime.fromtimestamp(int(groups[name].expires), UTC)
        return {"group": name, "expires": expires.isoformat().replace("+00:00", "Z")}

    return _page(call, [await _part(call, groups, entry)])


async def _group_connections(call: Call) -> _Part:
    hub = call.local_hub
    members = hub.groups.get(call.names["group"]) if hub is not None else None
    found = await first_members(members, None, *_wanted(call)) if members is not None else []
    return [(connection.id, _connection(connection)) for connection in found]


async def _connections(call: Call) -> _Part:
    accepts = read_filter(call.query.text("filter"))
    wanted, hub = _wanted(call), call.local_hub
    found = await first_members(hub.connections, accepts, *wanted) if hub is not None else []
    return [(connection.id, _connection(connection, with_groups=True)) for connection in found]


async def _users(call: Call) -> _Part:
    hub = call.local_hub
    users = dict(hub.users) if hub is not None else {}
    return await _part(call, users, lambda name: {"userId": name, "connections": len(users[name])})


async def _groups(call: Call) -> _Part:
    hub = call.local_hub
    groups = dict(hub.groups) if hub is not None else {}
    return await _part(call, groups, lambda name: {"group": name, "connections": len(groups[name])})


async def _connection_count(call: Call) -> int:
    count = 0
    async for _ in _selected(call):
        count += 1
    return count


async def _user_count(call: Call) -> Answer | None:
    hub = call.local_hub
    return _count(len(hub.users) if hub is not None else 0)


async def _group_count(call: Call) -> Answer | None:
    hub = call.local_hub
    return _count(len(hub.groups) if hub is not None else 0)


async def _user_digests(call: Call) -> bytes:
    hub = call.local_hub
    return _digests(hub.users if hub is not None else ())


async def _group_digests(call: Call) -> bytes:
    hub = call.local_hub
    return _digests(hub.groups if hub is not None else ())


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


def _paging(call: Call) -> tuple[int, int | None, int]:
    """The size of full pages, what is left of all of them, and the entries of this one."""
    size = call.query.integer("maxPageSize", least=1, most=_MAX_PAGE) or _DEFAULT_PAGE
    top = call.query.integer("top", least=1, most=_MAX_TOP)
    return size, top, size if top is None else min(size, top)


def _wanted(call: Call) -> tuple[str, int]:
    """After which name a page begins, and how many entries a part has for it.

    It is one more than the page has, which tells whether there is a next.
    """
    return decode_position(call.query.text("continuationToken")), _paging(call)[2] + 1


async def _part(call: Call, names: Iterable[str], entry: Callable[[str], _Entry]) -> _Part:
    return [(name, entry(name)) for name in await first_after(names, *_wanted(call))]


def _page(call: Call, parts: Sequence[_Part]) -> Answer:
    """The page that a call asks for, and an absolute link to the next where there is one."""
    size, top, count = _paging(call)
    merged: dict[str, _Entry] = {}
    for name, entry in chain(*parts):
        earlier = merged.get(name)
        if earlier is None:
            merged[name] = entry
        elif "connections" in entry:  # a user or a group on several nodes
            merged[name] = {**entry, "connections": earlier["connections"] + entry["connections"]}
    found = heapq.nsmallest(count + 1, merged)
    page: dict[str, Any] = {"value": [merged[name] for name in found[:count]]}
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


def _sum(_call: Call, counts: Sequence[int]) -> Answer:
    return _count(sum(counts))


def _distinct(_call: Call, parts: Sequence[bytes]) -> Answer:
    """How many names there are on all nodes together."""
    size = _DIGEST_BYTES
    return _count(len({part[at : at + size] for part in parts for at in range(0, len(part), size)}))


def _digests(names: Iterable[str]) -> bytes:
    """What stands for names where they are only to be counted: short, and as good as unique."""
    return b"".join(
        blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
        for name in names
    )


def _count(count: int) -> Answer:
    return Answer(headers=((COUNT_HEADER, str(count).encode()),))


# GET /api/hubs/{hub}/groups/{group}/connections
list_group_connections: Final = Merged(_group_connections, _page)
# GET /api/hubs/{hub}/connections, those that a filter accepts
list_connections: Final = Merged(_connections, _page)
# HEAD /api/hubs/{hub}/connections
count_connections: Final = Merged(_connection_count, _sum)
# GET /api/hubs/{hub}/users: who is connected, and how often
list_users: Final = Merged(_users, _page)
# HEAD /api/hubs/{hub}/users
count_users: Final = Merged(_user_digests, _distinct, _user_count)
# GET /api/hubs/{hub}/groups: those that have connections
list_groups: Final = Merged(_groups, _page)
# HEAD /api/hubs/{hub}/groups
count_groups: Final = Merged(_group_digests, _distinct, _group_count)
