"""One run: publishers that send, clients that come and go, and what they have seen.

What goes wrong meanwhile is the test's affair.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, Generic, TypeVar

import aiohttp
from tests.e2e.cluster.checker import check
from tests.e2e.cluster.clients import HUB, Client, Rest
from tests.e2e.cluster.history import History, Stream
from tests.e2e.cluster.listening_app import ListeningApp
from tests.e2e.cluster.presence import wrong_presence
from tests.e2e.cluster.publisher import Publisher
from tests.e2e.cluster.world import World

__all__ = ["USERS", "Run", "running"]

USERS: Final = 10
_GROUPS: Final = ("red", "green", "blue")
# Groups of users, of whom not all are here all the time.
_USER_GROUPS: Final = {"odd": [f"u{n}" for n in range(1, USERS, 2)], "few": ["u0", "u1"]}
_PATIENCE: Final = 30.0  # seconds
_PAUSE: Final = 0.08  # seconds from one batch of a publisher to the next


_World = TypeVar("_World", bound=World)


class Run(Generic[_World]):
    """Who is there, and what they have seen."""

    def __init__(
        self, random: Random, rest: Rest, history: History, nodes: _World, app: ListeningApp
    ) -> None:
        self.history = history
        self.world = nodes
        self.rest = rest
        self._random = random
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._clients: list[Client] = []

    async def prepare(self, clients: int) -> None:
        """Put users into groups, and wait until all clients are there."""
        port = self.world.nodes[0].port
        for group, users in self.history.user_groups.items():
            for user in users:
                path = f"/api/hubs/{HUB}/users/{user}/groups/{group}"
                assert (await self.rest.call("PUT", port, path))[0] == 200
        self._clients = [self._client(number) for number in range(clients)]
        for client in self._clients:
            self._start(client.run())
        await self._everybody_is_there()

    def publish(self, publishers: int, nodes: Callable[[], dict[int, int]]) -> None:
        """Begin to send through `nodes`."""
        for _ in range(publishers):
            publisher = Publisher(
                len(self._sending),
                history=self.history,
                rest=self.rest,
                nodes=nodes,
                audiences=self._audience,
                random=Random(self._random.random()),
                pause=_PAUSE,
            )
            self._sending.add(self._start(publisher.run()))

    async def send_one(self, stream: Stream) -> None:
        """Send one more message through the first node; it has to be accepted."""
        publisher = Publisher(
            stream.publisher,
            history=self.history,
            rest=self.rest,
            nodes=self.world.all,
            audiences=lambda _: stream.audience,
            random=self._random,
            pause=_PAUSE,
        )
        await publisher.send(stream.node, self.world.nodes[0].port, 1)
        assert self.history.sends[-1].is_accepted

    async def calm(self) -> None:
        """Send no more, and let nobody go any more."""
        for task in self._sending:
            task.cancel()
        for client in self._clients:
            client.goes = False
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._everybody_is_there()

    async def findings(self) -> list[str]:
        """What is wrong still when all has had the time to become right."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        while True:
            self.history.connected = dict(self._app.heard("connected"))
            self.history.disconnected = dict(self._app.heard("disconnected"))
            found = [f"{kind}: {text}" for kind, text in check(self.history)]
            found += await wrong_presence(self.rest, self.world.all(), self.history)
            if not found or loop.time() > end:
                return found
            await asyncio.sleep(0.5)

    async def close(self) -> None:
        """End all clients and publishers."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result

    def _client(self, number: int) -> Client:
        return Client(
            f"client {number}",
            f"u{number % USERS}",
            [group for at, group in enumerate(_GROUPS) if number % (at + 2) == 0],
            history=self.history,
            rest=self.rest,
            nodes=self.world.reachable,
            random=Random(self._random.random()),
            seconds=30.0 if number % 2 else 6.0,
        )

    def _audience(self, random: Random) -> str:
        match random.choice(("all", "user", "group", "users", "connection")):
            case "user":
                return f"user:u{random.randrange(USERS)}"
            case "group":
                return f"group:{random.choice(_GROUPS)}"
            case "users":
                return f"users:{random.choice(sorted(self.history.user_groups))}"
            case "connection":
                stays = [stay for stay in self.history.stays if stay.ended is None]
                return f"connection:{random.choice(stays).connection}" if stays else "all"
        return "all"

    async def _everybody_is_there(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not all(client.stay for client in self._clients):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        return task


@asynccontextmanager
async def running(
    seed: int, folder: Path, make: Callable[..., AbstractAsyncContextManager[_World]]
) -> AsyncIterator[Run[_World]]:
    """The nodes of a world, and an app. What is wrong at the end is shown."""
    log = folder / "log"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def health(port: int) -> str:
            try:
                url = f"http://127.0.0.1:{port}/api/health"
                async with http.get(url, timeout=aiohttp.ClientTimeout(1)) as response:
                    return str((await response.json())["status"])
            except (aiohttp.ClientError, OSError, TimeoutError):
                return "away"

        history = History(_USER_GROUPS)
        with ListeningApp() as app:
            async with make(folder, log, history, health, "--upstream", app.url) as nodes:
                rest = Rest(http, nodes.nodes[0].endpoint)
                run = Run(Random(seed), rest, history, nodes, app)
                try:
                    yield run
                except BaseException:
                    history.write(folder / "history.json")
                    print(f"The history is in {folder}. The log of the nodes:\n{log.read_text()}")
                    raise
                finally:
                    await run.close()
