"""Three nodes with everything that may go wrong about them: killed, stopped, cut off, drained.

Each node reaches Redis by a network of its own, so that it alone can be cut off.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from tests.conformance.proxy import Proxy
from tests.conformance.redisserver import RedisServer, redis_server
from tests.e2e.cluster.fleet import QUICK_NODE, NodeProcess
from tests.e2e.cluster.history import History, Outage

__all__ = ["FAULTS", "LEASE", "Health", "World", "world"]

LEASE: Final = 3.0  # seconds
_SHORT: Final = LEASE / 3
_LONG: Final = LEASE * 1.7
_PATIENCE: Final = 30.0  # seconds

Health = Callable[[int], Awaitable[str]]  # of the node at a port


class World:
    """The nodes, what is done to them, and when."""

    def __init__(
        self,
        redis: RedisServer,
        nodes: list[NodeProcess],
        networks: list[Proxy],
        history: History,
        health: Health,
    ) -> None:
        self.redis = redis
        self.nodes = nodes
        self._networks = networks
        self._history = history
        self._health = health
        self._unreachable: set[int] = set()

    def reachable(self) -> dict[int, int]:
        """The ports of the nodes that take connections now, as a balancer knows it."""
        return {
            number: node.port
            for number, node in enumerate(self.nodes)
            if number not in self._unreachable
        }

    def all(self) -> dict[int, int]:
        """The ports of all nodes, whatever is wrong with them."""
        return {number: node.port for number, node in enumerate(self.nodes)}

    async def kill(self, at: int) -> None:
        """A node is gone; after its lease another one comes in its place."""
        self._unreachable.add(at)
        outage = self._begin(at, "killed")
        self.nodes[at].kill()
        await asyncio.sleep(_LONG)
        await self._start(at)
        self._end(outage)

    async def stop_shortly(self, at: int) -> None:
        """A node hangs for less than its lease: it goes on, and nothing is lost."""
        await self._stop(at, _SHORT, "paused")

    async def stop_for_long(self, at: int) -> None:
        """A node hangs for longer than its lease: the others take it for dead."""
        await self._stop(at, _LONG, "hung")

    async def cut_shortly(self, at: int) -> None:
        """A node is cut off from the others for less than its lease."""
        await self._cut(at, _SHORT)

    async def cut_for_long(self, at: int) -> None:
        """The same for longer: the others take it for dead, while its clients are there."""
        await self._cut(at, _LONG)

    async def silence(self, at: int) -> None:
        """Nothing comes to a node from the others any more, and nobody says so."""
        outage = self._begin(at, "silent")
        self._networks[at].hang()
        await asyncio.sleep(_LONG)
        self._networks[at].resume()
        await self._wait_well(at)
        self._end(outage)

    async def restart_redis(self, at: int) -> None:
        """What joins the nodes is away for a while."""
        outages = [self._begin(number, "cut") for number in range(len(self.nodes))]
        self.redis.kill()
        await asyncio.sleep(_SHORT)
        await asyncio.to_thread(self.redis.start)
        for number, outage in enumerate(outages):
            await self._wait_well(number)
            self._end(outage)

    async def drain(self, at: int) -> None:
        """A node lets its clients go, and another one comes in its place."""
        self._unreachable.add(at)
        await asyncio.to_thread(self.nodes[at].end)
        await self._start(at)

    async def _start(self, at: int) -> None:
        await asyncio.to_thread(self.nodes[at].start)
        self._unreachable.discard(at)

    async def _stop(self, at: int, seconds: float, kind: str) -> None:
        self._unreachable.add(at)
        outage = self._begin(at, kind)
        self.nodes[at].pause()
        await asyncio.sleep(seconds)
        self.nodes[at].resume()
        await self._wait_well(at)
        self._end(outage)
        self._unreachable.discard(at)

    async def _cut(self, at: int, seconds: float) -> None:
        outage = self._begin(at, "cut")
        await self._networks[at].cut()
        await asyncio.sleep(seconds)
        await self._networks[at].open()
        await self._wait_well(at)
        self._end(outage)

    async def _wait_well(self, at: int) -> None:
        async with asyncio.timeout(_PATIENCE):
            while await self._health(self.nodes[at].port) != "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _wait_ill(self, at: int) -> None:
        """Wait until a node has noticed that something is wrong."""
        async with asyncio.timeout(_PATIENCE):
            while await self._health(self.nodes[at].port) == "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def _begin(self, at: int, kind: str) -> Outage:
        outage = Outage(at, kind, asyncio.get_running_loop().time())
        self._history.outages.append(outage)
        return outage

    def _end(self, outage: Outage) -> None:
        outage.ended = asyncio.get_running_loop().time()


Fault = Callable[[World, int], Awaitable[None]]
FAULTS: Final[tuple[Fault, ...]] = (
    World.kill,
    World.stop_shortly,
    World.stop_for_long,
    World.cut_shortly,
    World.cut_for_long,
    World.silence,
    World.restart_redis,
    World.drain,
)


@asynccontextmanager
async def world(
    folder: Path, log: Path, history: History, health: Health, *arguments: str, count: int = 3
) -> AsyncIterator[World]:
    """Run `count` nodes with `arguments`. Redis keeps what it has over a restart."""
    async with AsyncExitStack() as stack:
        keeping = ("--appendonly", "yes", "--appendfsync", "always")
        redis = stack.enter_context(redis_server(folder / "redis", *keeping))
        networks, nodes = [], []
        for _ in range(count):
            network = Proxy(redis.port)
            await network.open()
            stack.push_async_callback(network.close)
            url = f"redis://127.0.0.1:{network.port}"
            lease = ("--lease", str(LEASE))
            node = NodeProcess(log, (*QUICK_NODE, *lease, "--backplane", url, *arguments))
            await asyncio.to_thread(node.start)
            stack.push_async_callback(asyncio.to_thread, node.end)
            networks.append(network)
            nodes.append(node)
        yield World(redis, nodes, networks, history, health)
