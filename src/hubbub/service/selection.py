"""Connections of a hub that a filter chooses, and pages of a long list. It never holds the loop."""

import base64
import heapq
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from itertools import chain, islice
from typing import Final

from hubbub.service.calls import RestError
from hubbub.service.filter import Filter, FilterError, Subject, parse_filter
from hubbub.service.registry import Members
from hubbub.service.session import Connection
from hubbub.service.slices import Slices

__all__ = [
    "decode_position",
    "encode_position",
    "first_after",
    "first_members",
    "read_filter",
    "select",
]

_PIECE: Final = 4096  # names that are looked at in one go; a millisecond at most


def read_filter(text: str | None) -> Filter | None:
    """A call's filter, `None` where it has none. Raises `RestError`."""
    if text is None:
        return None
    try:
        return parse_filter(text)
    except FilterError as error:
        raise RestError(400, f"Invalid filter: {error}", target="filter") from None


async def select(
    connections: Iterable[Connection], accepts: Filter | None
) -> AsyncGenerator[Connection]:
    """Those of `connections` that a filter accepts; without one, all of them."""
    slices = Slices()
    for connection in connections:
        if accepts is None or accepts(
            Subject(connection.id, connection.user_id, connection.groups)
        ):
            yield connection
        if slices.is_over:
            await slices.pause()


async def first_members(
    members: Members, accepts: Filter | None, position: str, count: int
) -> list[Connection]:
    """The first `count` of `members` after `position`, by id, that a filter accepts.

    It costs what is looked at on the way, not what `members` has.
    """
    order = members.order()
    await order.sort()
    found: list[Connection] = []
    present = filter(None, map(members.find, order.after(position)))
    async with aclosing(select(present, accepts)) as selected:
        async for connection in selected:
            found.append(connection)
            if len(found) == count:
                break
    return found


async def first_after(names: Iterable[str], position: str, count: int) -> list[str]:
    """The first `count` of `names` after `position`, in order. `names` must not change."""
    slices = Slices()
    rest = iter(names)
    found: list[str] = []
    while piece := list(islice(rest, _PIECE)):
        after = (name for name in piece if name > position)
        found = heapq.nsmallest(count, chain(found, after))
        if slices.is_over:
            await slices.pause()
    return found


def encode_position(name: str) -> str:
    """A continuation token: it says after which name the next page begins, and nothing more."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def decode_position(token: str | None) -> str:
    """The name in a continuation token. Raises `RestError` for what is none."""
    if token is None:
        return ""
    try:
        return base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode()
    except ValueError:
        raise RestError(
            400,
            "The continuationToken is the one in the nextLink of an earlier page.",
            target="continuationToken",
        ) from None
