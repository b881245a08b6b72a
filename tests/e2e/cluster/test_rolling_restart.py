"""All nodes are replaced one after another while messages flow, behind nginx with round robin.

To a client with stateful reconnect nothing happens; others connect anew and miss nothing while
they are connected.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, get_args

from tests.e2e.cluster.balancer import Balancer
from tests.e2e.cluster.checker import demanded
from tests.e2e.cluster.clients import HUB
from tests.e2e.cluster.fleet import Balanced
from tests.e2e.cluster.history import ANY_NODE, Stay, Stream
from tests.e2e.cluster.run import USERS, Run, running
from tests.e2e.cluster.stateful import stateful_client
from tests.e2e.cluster.world import World, world
from tests.e2e.interop.app import App
from tests.e2e.interop.cells import Cell
from tests.e2e.interop.clients import AbsentError, start_client
from tests.e2e.interop.driver import Peer
from tests.e2e.running import missing

from hubbub.client.settings import Encoding

EACH = 3  # clients of each kind
ORDINARY = 9
PUBLISHERS = 3


async def test_a_rolling_restart_loses_nothing_for_stateful_clients_and_groups_of_users(
    tmp_path: Path,
) -> None:
    async with running(1, tmp_path, world) as run, AsyncExitStack() as stack:
        balancer = Balancer(tmp_path / "nginx", list(run.world.all().values()))
        stack.callback(lambda: print(balancer.close()))
        await run.prepare(ORDINARY)
        ours = await stack.enter_async_context(our_clients(run, balancer.port))
        official = await stack.enter_async_context(official_clients(run, balancer, tmp_path))
        run.publish(PUBLISHERS, lambda: {ANY_NODE: balancer.port, **run.world.reachable()})
        before = {node.pid for node in run.world.nodes}

        for number in run.world.all():
            await run.world.drain(number)
        await asyncio.sleep(1.0)
        await run.calm()
        for stay, peer in official:
            await read(stay, peer, run)

        assert await run.findings() == []
        assert before.isdisjoint(node.pid for node in run.world.nodes)
        stateful = {stay.client for stay, _ in official} | ours
        stays = [stay for stay in run.history.stays if stay.client in stateful]
        assert len(stateful) == len(stays) == 4 * EACH, "each has one connection all the time"
        for stay in stays:
            assert stay.ended is None
            assert any(stream.audience == "all" for stream, _ in stay.received)
        assert demanded(run.history) > 1000


@asynccontextmanager
async def our_clients(run: Run[World], port: int) -> AsyncIterator[set[str]]:
    """Clients with stateful reconnect in this process."""
    names = set()
    async with AsyncExitStack() as stack:
        for number, encoding in itertools.product(range(EACH), get_args(Encoding)):
            name, user = f"{encoding} client {number}", f"u{number % USERS}"
            names.add(name)
            await stack.enter_async_context(
                stateful_client(name, user, encoding, port, run.history, run.rest)
            )
        yield names


@asynccontextmanager
async def official_clients(
    run: Run[World], balancer: Balancer, folder: Path
) -> AsyncIterator[list[tuple[Stay, Peer]]]:
    """The official JavaScript client with stateful reconnect, under Node."""
    loop = asyncio.get_running_loop()
    with App() as app:
        try:
            process = start_client("node", folder / "node.log")
        except AbsentError as error:
            missing(str(error))
        try:
            found = []
            service = Balanced(balancer, run.world.nodes[0], folder / "log")
            for number, encoding in itertools.product(range(EACH), get_args(Encoding)):
                cell = Cell("node", "WebSockets", encoding, stateful=True)
                user = f"u{number % USERS}"
                peer = process.driver.open(cell, app.hub_url(service, HUB, user), None)
                opened = await asyncio.to_thread(peer.expect, "opened")
                stay = Stay(peer.name, user, opened["id"], ANY_NODE, loop.time())
                run.history.stays.append(stay)
                found.append((stay, peer))
            yield found
        finally:
            await asyncio.to_thread(process.close)


async def read(stay: Stay, peer: Peer, run: Run[World]) -> None:
    """Write down what a client has reported, until it has reported the last message to all."""
    publisher = max(send.stream.publisher for send in run.history.sends) + 1
    last = Stream(publisher, ANY_NODE, f"connection:{stay.connection}")
    await run.send_one(last)
    while True:
        event: dict[str, Any] = await asyncio.to_thread(peer.next)
        assert event["event"] == "news", event
        stream, number = Stream(*event["arguments"][:3]), event["arguments"][3]
        stay.received.append((stream, number))
        if stream == last:
            return
