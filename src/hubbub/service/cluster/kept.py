"""What is published for a connection that is on its way here, and how it is done for it alone."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from hubbub.service.cluster.channel import connection_channel
from hubbub.service.cluster.forwarding import call_of, do_now
from hubbub.service.cluster.parcel import Forwarded
from hubbub.service.operations.operation import Join
from hubbub.service.registry import Registry
from hubbub.service.router import Router
from hubbub.service.routes import route_named
from hubbub.service.session import Connection

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["Kept", "Solo"]

_logger = logging.getLogger("hubbub.service")


class Kept:
    """Calls in the order of their arrival, with the channel of each."""

    def __init__(self, connection_id: str, channels: Iterable[str]) -> None:
        self.channels = frozenset(channels)
        self.calls: list[tuple[str, Forwarded]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._own = connection_channel(connection_id)

    def withholds(self, channel: str, call: Forwarded) -> bool:
        """Whether a call is for the connection alone, and waits for one answer."""
        route = route_named(call.operation)
        return channel == self._own and route is not None and route.join is Join.ONE

    def beyond(self, acted: Mapping[str, Mapping[str, int]]) -> list[Forwarded]:
        """Those that the node which had the connection has not acted upon."""
        return [
            call
            for channel, call in self.calls
            if call.number > acted.get(channel, {}).get(call.sender, 0)
        ]


class Solo:
    """A node as it looks to operations where there is one connection and nobody else."""

    def __init__(self, node: "Node", connection: Connection, groups: Iterable[str]) -> None:
        """Makes `connection` a member of its hub and of `groups`, in here only."""
        self.registry = Registry()
        self.router = Router(self.registry)
        self.settings = node.settings
        self.store = node.store
        self.results = node.results
        self._hub = self.registry.add(connection)
        self._connection = connection
        for group in groups:
            self.registry.add_to_group(self._hub, group, connection)

    def do(self, parcel: Forwarded) -> None:
        """Do a call that concerns more than one, for this connection."""
        route = route_named(parcel.operation)
        if route is None or route.join not in {Join.NONE, Join.ALL}:
            return
        try:
            do_now(route, call_of(cast("Node", self), parcel))
        except Exception:  # what else was kept must be done
            _logger.exception("%s, kept for a connection that came here, failed", parcel.operation)

    def finish(self) -> None:
        """Write what has been sent."""
        self._hub.outbox.flush()
