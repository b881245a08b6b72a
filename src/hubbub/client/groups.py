"""Who is in which group: connections while they last, users until a time that is stored."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from hubbub.client.audience import named
from hubbub.client.presence import ConnectionInfo, UserGroupInfo
from hubbub.client.rest import RestClient

__all__ = ["Groups", "UserGroups"]

# Answers of a 404 that the SDK takes for an outcome (x-ms-error-code, compared ignoring case).
_NO_CONNECTION_IS_FINE: Final = {"error.connection.notexisted": False}
_NOT_IN_GROUP: Final = {"info.user.notingroup": False}


class Groups:
    """Membership of single connections. It ends with the connection."""

    def __init__(self, rest: RestClient, hub: str) -> None:
        self._rest = rest
        self._hub = hub

    async def add(self, connection_id: str, group: str) -> bool:
        """Put a connection into `group`. One that is gone is no error: then it returns false."""
        return await self._change("PUT", connection_id, group)

    async def remove(self, connection_id: str, group: str) -> None:
        """Take a connection out of `group`."""
        await self._change("DELETE", connection_id, group)

    async def remove_all(self, connection_id: str) -> None:
        """Take a connection out of all groups."""
        name = named("connection_id", connection_id)
        await self._rest.call("DELETE", self._hub, "connections", name, "groups")

    async def connections(
        self, group: str, *, page_size: int | None = None, top: int | None = None
    ) -> AsyncIterator[ConnectionInfo]:
        """The connections in `group`, at most `top`, fetched page by page."""
        query = [
            (name, str(value))
            for name, value in (("maxPageSize", page_size), ("top", top))
            if value is not None
        ]
        path = ("groups", named("group", group), "connections")
        async for each in self._rest.pages(ConnectionInfo, self._hub, *path, query=query):
            yield each

    async def _change(self, method: str, connection_id: str, group: str) -> bool:
        path = (
            "groups",
            named("group", group),
            "connections",
            named("connection_id", connection_id),
        )
        return await self._rest.call(method, self._hub, *path, absent=_NO_CONNECTION_IS_FINE)


class UserGroups:
    """Membership of users, with all the connections they have and will have."""

    def __init__(self, rest: RestClient, hub: str) -> None:
        self._rest = rest
        self._hub = hub

    async def add(self, user_id: str, group: str, ttl: int | timedelta | None = None) -> None:
        """Put a user into `group` for `ttl`, seconds where it is a number.

        Without one it is up to a year, and of these a user keeps the newest 100. With 0 only the
        connections that the user has now join.
        """
        seconds = int(ttl.total_seconds()) if isinstance(ttl, timedelta) else ttl
        if seconds is not None and seconds < 0:
            raise ValueError("Ttl cannot be less than 0.")
        query = [("ttl", str(seconds))] if seconds is not None else []
        await self._rest.call("PUT", self._hub, *_path(user_id, group), query=query)

    async def remove(self, user_id: str, group: str) -> None:
        """Take a user out of `group`, with all connections."""
        await self._rest.call("DELETE", self._hub, *_path(user_id, group))

    async def remove_all(self, user_id: str) -> None:
        """Take a user out of all groups, with all connections."""
        name = named("user_id", user_id)
        await self._rest.call("DELETE", self._hub, "users", name, "groups")

    async def contains(self, user_id: str, group: str) -> bool:
        """Whether a user has been put into `group`, connected or not."""
        return await self._rest.call("GET", self._hub, *_path(user_id, group), absent=_NOT_IN_GROUP)

    async def of(self, user_id: str) -> AsyncIterator[UserGroupInfo]:
        """The groups that a user has been put into. Hubbub's own: not in the original."""
        path = ("users", named("user_id", user_id), "groups")
        async for each in self._rest.pages(UserGroupInfo, self._hub, *path):
            yield each


def _path(user_id: str, group: str) -> tuple[str, ...]:
    return ("users", named("user_id", user_id), "groups", named("group", group))
