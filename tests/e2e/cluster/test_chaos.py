"""Three nodes under load while one thing after another goes wrong, in an order that a seed chooses.

HUBBUB_CHAOS_SEEDS has the seeds, as in `HUBBUB_CHAOS_SEEDS=$(seq -s, 1 10)`. A history that is not
as it should be is kept in the test's folder.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from tests.e2e.cluster.checker import check, demanded
from tests.e2e.cluster.clients import HUB, Client, Rest
from tests.e2e.cluster.history import History
from tests.e2e.cluster.listening_app import ListeningApp
from tests.e2e.cluster.presence import wrong_presence
from tests.e2e.cluster.publisher import Publisher
from tests.e2e.cluster.world import FAULTS, LEASE, World, world

SEEDS = [int(seed) for seed in os.environ.get("HUBBUB_CHAOS_SEEDS", "1").split(",")]
CLIENTS = 24
USERS = 10
GROUPS = ("red", "green", "blue")
PUBLISHERS = 4
PATIENCE = 30.0  # seconds


def user_groups() -> dict[str, list[str]]:
    """Some users in groups, of whom not all are here all the time."""
    return {"odd": [f"u{n}" for n in range(1, USERS, 2)], "few": ["u0", "u1"]}


class Run:
    """One run: who is there, and what they have seen."""

    def __init__(self, seed: int, rest: Rest, history: History, nodes: World) -> None:
        self.history = history
        self.world = nodes
        self._rest = rest
        self._random = Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients = [self._client(number) for number in range(CLIENTS)]
        self._publishers = [self._publisher(number) for number in range(PUBLISHERS)]

    def _client(self, number: int) -> Client:
        return Client(
            f"client {number}",
            f"u{number % USERS}",
            [group for at, group in enumerate(GROUPS) if number % (at + 2) == 0],
            history=self.history,
            rest=self._rest,
            nodes=self.world.reachable,
            random=Random(self._random.random()),
            seconds=30.0 if number % 2 else 6.0,
        )

    def _publisher(self, number: int) -> Publisher:
        return Publisher(
            number,
            history=self.history,
            rest=self._rest,
            nodes=self.world.all,
            audiences=self._audience,
            random=Random(self._random.random()),
            pause=0.08,
        )

    def _audience(self, random: Random) -> str:
        kind = random.choice(("all", "user", "group", "users", "connection"))
        match kind:
            case "user":
                return f"user:u{random.randrange(USERS)}"
            case "group":
                return f"group:{random.choice(GROUPS)}"
            case "users":
                return f"users:{random.choice(sorted(self.history.user_groups))}"
            case "connection":
                stays = [client.stay for client in self._clients if client.stay is not None]
                return f"connection:{random.choice(stays).connection}" if stays else "all"
        return "all"

    async def prepare(self) -> None:
        """Put users into groups, and wait until every client is there."""
        port = self.world.nodes[0].port
        for group, users in self.history.user_groups.items():
            for user in users:
                path = f"/api/hubs/{HUB}/users/{user}/groups/{group}"
                assert (await self._rest.call("PUT", port, path))[0] == 200
        for client in self._clients:
            self._start(client.run())
        await self._everybody_is_there()

    async def go_wrong(self) -> None:
        """Let everything go wrong that can, one after another."""
        sending = [self._start(publisher.run()) for publisher in self._publishers]
        for fault in self._random.sample(FAULTS, len(FAULTS)):
            await asyncio.sleep(self._random.uniform(0.2, 0.8))
            await fault(self.world, self._random.randrange(len(self.world.nodes)))
        await asyncio.sleep(LEASE / 2)
        for task in sending:
            task.cancel()
        for client in self._clients:
            client.goes = False
        await asyncio.gather(*sending, return_exceptions=True)
        await self._everybody_is_there()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result

    async def _everybody_is_there(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not all(client.stay for client in self._clients):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        return task


@asynccontextmanager
async def running(seed: int, app: ListeningApp, folder: Path, log: Path) -> AsyncIterator[Run]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def health(port: int) -> str:
            try:
                url = f"http://127.0.0.1:{port}/api/health"
                async with http.get(url, timeout=aiohttp.ClientTimeout(1)) as response:
                    return str((await response.json())["status"])
            except (aiohttp.ClientError, OSError, TimeoutError):
                return "away"

        history = History(user_groups())
        async with world(folder, log, history, health, "--upstream", app.url) as nodes:
            run = Run(seed, Rest(http, nodes.nodes[0].endpoint), history, nodes)
            try:
                yield run
            finally:
                await run.close()


async def settled(run: Run, app: ListeningApp) -> list[str]:
    """What is wrong still when all has had the time to become right."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:
        run.history.connected = app.heard("connected")
        run.history.disconnected = app.heard("disconnected")
        found = [f"{kind}: {text}" for kind, text in check(run.history)]
        found += await wrong_presence(run._rest, run.world.all(), run.history)
        if not found or loop.time() > end:
            return found
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_goes_wrong_nothing_is_lost_that_was_accepted(
    seed: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with ListeningApp() as app:
        async with running(seed, app, tmp_path, log) as run:
            await run.prepare()
            await run.go_wrong()
            found = await settled(run, app)
            if found:
                run.history.write(tmp_path / "history.json")
                print(log.read_text())
            assert found == []
            print(demanded(run.history), len(run.history.sends), len(run.history.stays))
