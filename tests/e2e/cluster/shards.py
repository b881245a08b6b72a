"""Three nodes over a Redis Cluster of three shards, whose servers are killed and hang.

Nodes reach its servers as these tell them to, so no node can be cut off alone here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from tests.conformance.redisserver import RedisCluster, RedisServer, redis_cluster, wait_until
from tests.e2e.cluster.fleet import QUICK_NODE, NodeProcess
from tests.e2e.cluster.history import History
from tests.e2e.cluster.world import LEASE, Health, World

__all__ = ["SHARD_FAULTS", "ShardFault", "ShardWorld", "shard_world"]

_AWAY: Final = LEASE / 3
_HANGS: Final = LEASE * 1.3  # longer than a node waits for an answer


class ShardWorld(World):
    """What may go wrong about shards, besides what may about nodes."""

    def __init__(
        self, cluster: RedisCluster, nodes: list[NodeProcess], history: History, health: Health
    ) -> None:
        super().__init__(cluster.servers[1], nodes, [], history, health)
        self._cluster = cluster

    async def replace_primary(self, at: int) -> None:
        """A primary is gone: its replica is promoted, and it comes back as a replica."""
        pair = self._cluster.servers[0], self._cluster.servers[3]
        primary, replica = pair if _is_primary(pair[0]) else reversed(pair)

        async def replaced() -> None:
            await asyncio.to_thread(wait_until, lambda: _is_primary(replica))
            await asyncio.to_thread(primary.start)
            await asyncio.to_thread(wait_until, lambda: _follows(primary))

        await self._without(primary.kill, replaced)

    async def restart_shard(self, at: int) -> None:
        """A primary without a replica is gone for a while, and has kept what it had."""
        server = self._cluster.servers[1]

        async def restarted() -> None:
            await asyncio.sleep(_AWAY)
            await asyncio.to_thread(server.start)

        await self._without(server.kill, restarted)

    async def hang_shard(self, at: int) -> None:
        """A primary says nothing for a while, and nobody says so."""
        server = self._cluster.servers[2]

        async def goes_on() -> None:
            await asyncio.sleep(_HANGS)
            server.resume()

        await self._without(server.pause, goes_on)

    async def _without(
        self, begin: Callable[[], None], back: Callable[[], Awaitable[None]]
    ) -> None:
        outages = [self._begin(number, "shard") for number in range(len(self.nodes))]
        begin()
        await asyncio.gather(back(), *map(self._wait_ill, range(len(self.nodes))))
        for number, outage in enumerate(outages):
            await self._wait_well(number)
            self._end(outage)


def _is_primary(server: RedisServer) -> bool:
    return bool(server.ask("ROLE")[0] == b"master")


def _follows(server: RedisServer) -> bool:
    return b"master_link_status:up" in server.ask("INFO", "replication")


ShardFault = Callable[[ShardWorld, int], Awaitable[None]]
SHARD_FAULTS: Final[tuple[ShardFault, ...]] = (
    ShardWorld.replace_primary,
    ShardWorld.restart_shard,
    ShardWorld.hang_shard,
)


@asynccontextmanager
async def shard_world(
    folder: Path, log: Path, history: History, health: Health, *arguments: str, count: int = 3
) -> AsyncIterator[ShardWorld]:
    """Run `count` nodes with `arguments`. Redis keeps what it has over a restart."""
    async with AsyncExitStack() as stack:
        keeping = ("--appendonly", "yes", "--appendfsync", "always")
        cluster = stack.enter_context(redis_cluster(folder / "redis", *keeping))
        where = ("--lease", str(LEASE), "--backplane", cluster.url)
        nodes = [NodeProcess(log, (*QUICK_NODE, *where, *arguments)) for _ in range(count)]
        stack.push_async_callback(_at_once, [node.end for node in nodes])
        await _at_once([node.start for node in nodes])
        yield ShardWorld(cluster, nodes, history, health)


async def _at_once(works: Iterable[Callable[[], object]]) -> None:
    await asyncio.gather(*map(asyncio.to_thread, works))
