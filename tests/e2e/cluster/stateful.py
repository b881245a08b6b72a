"""Clients with stateful reconnect behind the balancer: to them it is one connection throughout."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.e2e.cluster.clients import HUB, TARGET, Rest
from tests.e2e.cluster.history import ANY_NODE, History, Stay, Stream

from hubbub.client.connection import HubClient
from hubbub.client.retry import Backoff
from hubbub.client.settings import Encoding

__all__ = ["stateful_client"]


@asynccontextmanager
async def stateful_client(
    name: str, user: str, encoding: Encoding, port: int, history: History, rest: Rest
) -> AsyncIterator[HubClient]:
    """A client that is connected. A connection of its own after the first is another stay."""
    loop = asyncio.get_running_loop()
    client = HubClient(
        f"http://127.0.0.1:{port}/client/?hub={HUB}",
        access_token=lambda: rest.client_token(user),
        transport="WebSockets",
        encoding=encoding,
        stateful=True,
        reconnect=Backoff(),
    )
    stays: list[Stay] = []

    def begin() -> None:
        stay = Stay(name, user, client.connection_id or "", ANY_NODE, loop.time())
        stays.append(stay)
        history.stays.append(stay)

    @client.on(TARGET)
    async def take(publisher: int, node: int, audience: str, number: int) -> None:
        if not stays:
            begin()
        stays[-1].received.append((Stream(publisher, node, audience), number))

    async def lost(error: object) -> None:
        stays[-1].ended = loop.time()

    async def back(connection_id: object) -> None:
        begin()

    client.on_reconnecting(lost)
    client.on_reconnected(back)
    async with client:
        if not stays:
            begin()
        yield client
        if stays[-1].ended is None:
            stays[-1].ended = loop.time()
