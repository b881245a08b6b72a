"""Compares what every node says about who is there with who is."""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.e2e.cluster.clients import HUB, Rest
from tests.e2e.cluster.history import History, Stay

__all__ = ["wrong_presence"]

_PATH = f"/api/hubs/{HUB}"
_LOOKED_AT = 5  # connections that are there, and as many that are not


async def wrong_presence(rest: Rest, nodes: Mapping[int, int], history: History) -> list[str]:
    """What any of `nodes`, ports by their number, has wrong."""
    stays = [stay for stay in history.stays if stay.ended is None]
    groups: Counter[str] = Counter()
    for stay in stays:
        groups.update(list(stay.groups))
        groups.update(name for name, users in history.user_groups.items() if stay.user in users)
    expected: dict[str, dict[str, Any]] = {
        "connections": {stay.connection: stay.user for stay in stays},
        "users": dict(Counter(stay.user for stay in stays)),
        "groups": dict(groups),
    }
    found = []
    for number, port in nodes.items():
        seen = {
            "connections": await _listing(rest, port, "connections", "connectionId", "userId"),
            "users": await _listing(rest, port, "users", "userId", "connections"),
            "groups": await _listing(rest, port, "groups", "group", "connections"),
        }
        for what, truth in expected.items():
            if seen[what] != truth:
                found.append(f"presence: node {number} lists {what} {seen[what]}, not {truth}")
            status, count = await rest.call("HEAD", port, f"{_PATH}/{what}")
            if (status, count) != (200, str(len(truth))):
                found.append(f"presence: node {number} counts {count} {what}, not {len(truth)}")
        found += [
            f"presence: node {number} {text}"
            for text in await _existence(
                rest,
                port,
                stays,
                [stay for stay in history.stays if stay.ended is not None],
                groups,
            )
        ]
    return found


async def _existence(
    rest: Rest, port: int, present: list[Stay], gone: list[Stay], groups: Mapping[str, int]
) -> list[str]:
    truth = {
        f"/connections/{quote(stay.connection, safe='')}": 200 for stay in present[-_LOOKED_AT:]
    }
    truth |= {f"/connections/{quote(stay.connection, safe='')}": 404 for stay in gone[-_LOOKED_AT:]}
    truth |= {f"/users/{stay.user}": 200 for stay in present[-_LOOKED_AT:]}
    truth |= {f"/groups/{group}": 200 for group in groups}
    truth |= {"/users/nobody": 404, "/groups/nobody": 404}
    found = []
    for path, expected in truth.items():
        status, _ = await rest.call("HEAD", port, _PATH + path)
        if status != expected:
            found.append(f"answers {status} to HEAD {path}, not {expected}")
    return found


async def _listing(rest: Rest, port: int, what: str, key: str, value: str) -> dict[str, Any] | str:
    found: dict[str, Any] = {}
    path = f"{_PATH}/{what}?maxPageSize=7"
    while path:
        status, page = await rest.call("GET", port, path)
        if status != 200:
            return f"(answered {status})"
        for entry in page["value"]:
            if entry[key] in found:
                return f"(has {entry[key]} twice)"
            found[entry[key]] = entry[value]
        following = page.get("nextLink")
        path = following[following.index("/api/") :] if following else ""
    return found
