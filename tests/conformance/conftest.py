"""Servers and nodes for the suites here. Everything runs on uvloop, as `hubbub service` does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.conformance.backplanes import Inbox, new_prefix, redis_at, redis_backplane
from tests.conformance.redisserver import (
    RedisCluster,
    RedisServer,
    redis_cluster,
    redis_server,
)

from hubbub.service.backplane.backplane import Backplane
from hubbub.service.backplane.memory import MemoryBus
from hubbub.service.redis.redis import Redis

Join = Callable[[], Awaitable[Inbox]]
Connect = Callable[[str], Awaitable[Redis]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops to run the tests of this folder on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that no test stops."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Redis Cluster of three primaries and a replica, where all slots stay served."""
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test alone."""
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def nodes() -> AsyncIterator[AsyncExitStack]:
    """What is closed when the test is over."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["memory", "redis", "cluster"])
def join(request: pytest.FixtureRequest, nodes: AsyncExitStack) -> Join:
    """Make nodes that meet, of every kind: `node = await join()`."""
    bus, prefix = MemoryBus(), new_prefix()
    url = "" if request.param == "memory" else _url(request)

    async def join_node() -> Inbox:
        backplane: Backplane = redis_backplane(url, prefix) if url else bus.backplane()
        return await opened(backplane, nodes)

    return join_node


async def opened(backplane: Backplane, nodes: AsyncExitStack) -> Inbox:
    """A node that is closed at the end of the test."""
    inbox = await Inbox(backplane).open()
    nodes.push_async_callback(backplane.close)
    return inbox


def _url(request: pytest.FixtureRequest) -> str:
    server: Any = request.getfixturevalue(f"shared_{request.param}")
    url: str = server.url
    return url


@pytest.fixture
def connect(nodes: AsyncExitStack) -> Connect:
    """Connect to a Redis until the end of the test: `redis = await connect(url)`."""

    async def connect_to(url: str) -> Redis:
        redis = redis_at(url)
        # Also where the test fails: with a socket open, and warnings errors, uvloop never ends.
        nodes.push_async_callback(redis.close)
        await redis.open()
        return redis

    return connect_to
