"""Whom to send to: all clients of a hub, groups, users, single connections; and what is sent."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from hubbub.client.rest import RestClient, encode_invocation
from hubbub.errors import ServiceError

__all__ = ["ClientProxy", "Clients", "SingleClient", "named"]


class Clients:
    """Whom to send to."""

    def __init__(self, rest: RestClient, hub: str) -> None:
        self._rest = rest
        self._hub = hub

    @property
    def all(self) -> "ClientProxy":
        """Every client of the hub."""
        return ClientProxy(self._rest, self._hub, [()])

    def all_except(self, connection_ids: Iterable[str]) -> "ClientProxy":
        """Every client of the hub but those on `connection_ids`."""
        return ClientProxy(self._rest, self._hub, [()], excluded=connection_ids)

    def client(self, connection_id: str) -> "SingleClient":
        """The client on one connection."""
        return SingleClient(self._rest, self._hub, connection_id)

    def clients(self, connection_ids: Iterable[str]) -> "ClientProxy":
        """The clients on several connections."""
        return self._each("connections", "connection_id", connection_ids)

    def user(self, user_id: str) -> "ClientProxy":
        """Every connection of one user."""
        return self._each("users", "user_id", [user_id])

    def users(self, user_ids: Iterable[str]) -> "ClientProxy":
        """Every connection of several users."""
        return self._each("users", "user_id", user_ids)

    def group(self, group: str) -> "ClientProxy":
        """Every connection in a group."""
        return self._each("groups", "group", [group])

    def groups(self, groups: Iterable[str]) -> "ClientProxy":
        """Every connection in several groups. Who is in two of them gets what is sent twice."""
        return self._each("groups", "group", groups)

    def group_except(self, group: str, connection_ids: Iterable[str]) -> "ClientProxy":
        """Every connection in a group but those on `connection_ids`."""
        paths = [("groups", named("group", group))]
        return ClientProxy(self._rest, self._hub, paths, excluded=connection_ids)

    def _each(self, collection: str, parameter: str, names: Iterable[str]) -> "ClientProxy":
        paths = [(collection, named(parameter, name)) for name in names]
        return ClientProxy(self._rest, self._hub, paths)


class ClientProxy:
    """Some of a hub's clients, as one audience to send to."""

    def __init__(
        self,
        rest: RestClient,
        hub: str,
        paths: Sequence[tuple[str, ...]],
        *,
        excluded: Iterable[str] = (),
    ) -> None:
        self._rest = rest
        self._hub = hub
        self._paths = paths
        self._query = [("excluded", connection_id) for connection_id in excluded]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._hub!r}, {list(self._paths)})"

    async def send(self, target: str, *arguments: Any) -> None:
        """Invoke `target` on these clients, without an answer. Arguments go as JSON.

        Several names are one call each, all at the same time; each is tried whatever becomes of
        the others.
        """
        body = encode_invocation(target, arguments)
        results = await asyncio.gather(
            *(self._post(path, body) for path in self._paths), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if not failures:
            return
        first = failures[0]
        if len(self._paths) == 1 or not isinstance(first, ServiceError):
            raise first
        raise ServiceError(
            f"{len(failures)} of {len(results)} sends failed, the first: {first}",
            status=first.status,
            code=first.code,
        ) from first

    async def _post(self, path: tuple[str, ...], body: bytes) -> None:
        await self._rest.call(
            "POST", self._hub, *path, verb=":send", query=self._query, body=body, is_message=True
        )


class _Result(msgspec.Struct):
    result: Any = None


class SingleClient(ClientProxy):
    """One connection, which can also be asked for a result and be sent streams."""

    def __init__(self, rest: RestClient, hub: str, connection_id: str) -> None:
        self._path = ("connections", named("connection_id", connection_id))
        super().__init__(rest, hub, [self._path])

    async def invoke(self, target: str, *arguments: Any) -> Any:
        """Invoke `target` on the client and return what its method returns.

        Raises `ServiceError` where the client is not there, answers with an error, or not in time.
        """
        body = encode_invocation(target, arguments)
        answer = await self._rest.read(
            _Result, "POST", self._hub, *self._path, verb=":invoke", body=body, is_message=True
        )
        return answer.result

    async def send_stream_item(self, stream_id: str, item: Any, *, completed: bool = False) -> None:
        """Send an item of a stream, which goes as JSON; `completed` ends the stream with it."""
        await self._rest.call(
            "POST",
            self._hub,
            *self._path,
            "streams",
            named("stream_id", stream_id),
            verb=":send",
            query=[("completed", "true")] if completed else [],
            body=msgspec.json.encode(item),
            is_message=True,
        )

    async def complete_stream(self, stream_id: str, error: str | None = None) -> None:
        """End a stream, with an error where there was one."""
        await self._rest.call(
            "POST",
            self._hub,
            *self._path,
            "streams",
            named("stream_id", stream_id),
            verb=":complete",
            query=[("error", error)] if error else [],
            is_message=True,
        )


def named(parameter: str, name: str) -> str:
    """`name`, which is not to be empty: an empty segment would be another path."""
    if not name:
        raise ValueError(f"Argument cannot be null or empty. (Parameter '{parameter}')")
    return name
