"""Connections of a hub that a filter chooses, and pages of a long list. It never holds the loop."""

import asyncio
import base64
import heapq
from collections.abc import AsyncIterator, Iterable
from typing import Final

from hubbub.service.calls import RestError
from hubbub.service.filter import Filter, FilterError, Subject, parse_filter
from hubbub.service.session import Connection

__all__ = ["decode_position", "encode_position", "first_after", "read_filter", "select"]

# Choosing hands the loop back after this many seconds, whatever the filter costs.
_SLICE: Final = 0.004


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
) -> AsyncIterator[Connection]:
    """Those of `connections` that a filter accepts; without one, all of them."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + _SLICE
    for connection in connections:
        if accepts is None or accepts(
            Subject(connection.id, connection.user_id, connection.groups)
        ):
            yield connection
        if clock() > deadline:
            await asyncio.sleep(0)
            deadline = clock() + _SLICE


def first_after(names: Iterable[str], position: str, count: int) -> list[str]:
    """The first `count` of `names` after `position`, in order."""
    return heapq.nsmallest(count, (name for name in names if name > position))


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
