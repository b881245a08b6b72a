"""Fixtures that run services. Everything here runs on uvloop, as `hubbub service` does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from tests.service.clusters import Nodes, Scene
from tests.service.running import Running, Service

from hubbub.service import outbox
from hubbub.service.backplane.engine import MemoryEngines
from hubbub.service.leases import MemoryLeases
from hubbub.service.settings import ServiceSettings

Start = Callable[..., Awaitable[Service]]
StartCluster = Callable[..., Awaitable[Nodes]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops to run the tests of this folder on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start services with `await start(setting=value, …)`; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start_service(**settings: Any) -> Service:
            return await stack.enter_async_context(Running(ServiceSettings(**settings)))

        yield start_service


@pytest.fixture
async def cluster() -> AsyncIterator[StartCluster]:
    """Start services that are one with `await cluster(count, setting=value, …)`."""
    async with AsyncExitStack() as stack:

        async def start_cluster(
            count: int, leases: MemoryLeases | None = None, **settings: Any
        ) -> Nodes:
            engines = MemoryEngines()
            timing: dict[str, float] = {}
            if leases is not None:
                engines._leases = leases
                timing["renewal"] = 0.01
            nodes = []
            for _ in range(count):
                running = Running(ServiceSettings(**settings), engines.engine(), **timing)
                nodes.append(await stack.enter_async_context(running))
            return Nodes(engines.bus, nodes)

        yield start_cluster


@pytest.fixture
async def scene(cluster: StartCluster) -> Scene:
    """Ann and Bob on a cluster of three."""
    nodes = await cluster(3)
    return Scene(nodes, await nodes[1].connect(user="ann"), await nodes[2].connect(user="bob"))


@pytest.fixture
async def service(start: Start) -> Service:
    """A service with default settings."""
    return await start()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn of the loop is enough for a flush, however slow the machine is at the moment."""
    monkeypatch.setattr(outbox, "_SLICE", 3600)
