"""Backplanes under test: what each node has received, and how to make one of each kind."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from hubbub.service.backplane.backplane import Backplane
from hubbub.service.backplane.redis import RedisBackplane
from hubbub.service.redis.address import parse_address
from hubbub.service.redis.cluster import ClusterRedis
from hubbub.service.redis.link import Limits
from hubbub.service.redis.redis import Redis
from hubbub.service.redis.single import SingleRedis

TIMEOUT = 20.0  # seconds; generous
# Short, so that tests of what is noticed by waiting are short too.
LIMITS = Limits(connect_timeout=0.5, answer_timeout=0.5)
_numbers = count()


class Inbox:
    """One node's end of a backplane, and what has come to it."""

    def __init__(self, backplane: Backplane) -> None:
        self.backplane = backplane
        self.received: list[tuple[str, bytes]] = []
        self.states: list[bool] = []
        self.bad: bytes | None = None  # what this node fails to take
        self._news = asyncio.Event()

    async def open(self) -> "Inbox":
        await self.backplane.open(self._receive, self._changed)
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come that makes `condition()` true."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def has(self, *messages: tuple[str, bytes]) -> None:
        """Wait for `messages`, and see that there is nothing else."""
        await self.until(lambda: len(self.received) >= len(messages))
        assert self.received == list(messages)

    def _receive(self, channel: str, data: bytes) -> None:
        if data == self.bad:
            raise ValueError("what is this?")
        self.received.append((channel, data))
        self._news.set()

    def _changed(self, is_connected: bool) -> None:
        self.states.append(is_connected)
        self._news.set()


def redis_at(url: str, limits: Limits = LIMITS) -> Redis:
    """A connection to be opened."""
    address = parse_address(url)
    kind = ClusterRedis if address.kind == "cluster" else SingleRedis
    return kind(address, limits)


def redis_backplane(url: str, prefix: str, limits: Limits = LIMITS) -> RedisBackplane:
    return RedisBackplane(redis_at(url, limits), prefix)


def new_prefix() -> str:
    """A prefix that no other test has, so that tests share servers."""
    return f"test{next(_numbers)}"


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until `holds()`: for what Redis does by its clock and tells nobody."""
    async with asyncio.timeout(TIMEOUT):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
