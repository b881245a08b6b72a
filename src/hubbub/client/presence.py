"""Who is there, and sending them away: existence, listings and closing of connections."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from msgspec import Struct

from hubbub.client.audience import named
from hubbub.client.rest import RestClient

__all__ = ["ClientManager", "ConnectionInfo", "GroupInfo", "UserGroupInfo", "UserInfo"]

_ABSENT: Final[Mapping[str, Mapping[str, bool]]] = {
    "connections": {"warning.connection.notexisted": False},
    "users": {"warning.user.notexisted": False},
    "groups": {"warning.group.notexisted": False},
}


class ConnectionInfo(Struct, frozen=True, rename="camel"):
    """One connection. `groups` is `None` where the listing does not tell them."""

    connection_id: str
    user_id: str | None = None
    groups: tuple[str, ...] | None = None


class UserInfo(Struct, frozen=True, rename="camel"):
    """One connected user and how many connections that is."""

    user_id: str
    connections: int


class GroupInfo(Struct, frozen=True):
    """One group and how many connections are in it."""

    group: str
    connections: int


class UserGroupInfo(Struct, frozen=True):
    """One group that a user has been put into, until `expires`: a UTC time of ISO 8601."""

    group: str
    expires: str


class ClientManager:
    """The connections of one hub. Listings and counts are Hubbub's own: not in the original."""

    def __init__(self, rest: RestClient, hub: str) -> None:
        self._rest = rest
        self._hub = hub

    async def connection_exists(self, connection_id: str) -> bool:
        """Whether a connection is there."""
        return await self._exists("connections", named("connection_id", connection_id))

    async def user_exists(self, user_id: str) -> bool:
        """Whether a user has a connection."""
        return await self._exists("users", named("user_id", user_id))

    async def group_exists(self, group: str) -> bool:
        """Whether a connection is in a group."""
        return await self._exists("groups", named("group", group))

    async def close_connection(self, connection_id: str, reason: str | None = None) -> bool:
        """Close a connection and tell its client why.

        One that is gone is no error: then it returns false.
        """
        return await self._rest.call(
            "DELETE",
            self._hub,
            "connections",
            named("connection_id", connection_id),
            query=_reason(reason),
            absent=_ABSENT["connections"],
        )

    async def close_all(self, reason: str | None = None, excluded: Iterable[str] = ()) -> None:
        """Close every connection of the hub but the `excluded`."""
        await self._close((), reason, excluded)

    async def close_group(
        self, group: str, reason: str | None = None, excluded: Iterable[str] = ()
    ) -> None:
        """Close every connection in a group but the `excluded`."""
        await self._close(("groups", named("group", group)), reason, excluded)

    async def close_user(
        self, user_id: str, reason: str | None = None, excluded: Iterable[str] = ()
    ) -> None:
        """Close every connection of a user but the `excluded`."""
        await self._close(("users", named("user_id", user_id)), reason, excluded)

    async def connections(self, filter: str | None = None) -> AsyncIterator[ConnectionInfo]:  # noqa: A002 the parameter's name
        """The connections that an OData filter accepts, as in `startswith(userId, 'a')`."""
        query = _filter(filter)
        async for each in self._rest.pages(ConnectionInfo, self._hub, "connections", query=query):
            yield each

    async def users(self) -> AsyncIterator[UserInfo]:
        """The connected users."""
        async for each in self._rest.pages(UserInfo, self._hub, "users"):
            yield each

    async def groups(self) -> AsyncIterator[GroupInfo]:
        """The groups that have connections."""
        async for each in self._rest.pages(GroupInfo, self._hub, "groups"):
            yield each

    async def count_connections(self, filter: str | None = None) -> int:  # noqa: A002 the parameter's name
        """How many connections an OData filter accepts."""
        return await self._rest.count(self._hub, "connections", query=_filter(filter))

    async def count_users(self) -> int:
        """How many users are connected."""
        return await self._rest.count(self._hub, "users")

    async def count_groups(self) -> int:
        """How many groups have connections."""
        return await self._rest.count(self._hub, "groups")

    async def _exists(self, collection: str, name: str) -> bool:
        return await self._rest.call(
            "HEAD", self._hub, collection, name, absent=_ABSENT[collection]
        )

    async def _close(
        self, path: tuple[str, ...], reason: str | None, excluded: Iterable[str]
    ) -> None:
        query = [("excluded", connection_id) for connection_id in excluded] + _reason(reason)
        await self._rest.call("POST", self._hub, *path, verb=":closeConnections", query=query)


def _reason(reason: str | None) -> list[tuple[str, str]]:
    return [("reason", reason)] if reason is not None else []


def _filter(text: str | None) -> list[tuple[str, str]]:
    return [("filter", text)] if text is not None else []
