"""Several services of one process that are one service. Holds no fixtures."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.service.running import PATIENCE, Answer, Client, Service

from hubbub.service.backplane.memory import MemoryBackplane, MemoryBus
from hubbub.service.cluster.cluster import Cluster


@dataclass
class Nodes:
    """The nodes of a cluster, and the bus between them."""

    bus: MemoryBus
    services: list[Service]

    def __iter__(self) -> Iterator[Service]:
        return iter(self.services)

    def __getitem__(self, index: int) -> Service:
        return self.services[index]


@dataclass
class Scene:
    """Three nodes: Ann is at the second, Bob at the third, nobody at the first, which is called."""

    nodes: Nodes
    ann: Client
    bob: Client

    @property
    def called(self) -> Service:
        return self.nodes[0]

    @property
    def ann_id(self) -> str:
        return self.nodes[1].only_connection().id

    @property
    def bob_id(self) -> str:
        return self.nodes[2].only_connection().id

    async def rest(self, method: str, path: str, body: Any = None) -> Answer:
        """Call the first node; what is refused fails the test."""
        data = json.dumps(body).encode() if body is not None else None
        answer = await self.called.rest(method, f"/api/hubs/chat{path}", data)
        assert answer.status < 300, answer
        return answer

    async def refusal(self, method: str, path: str) -> tuple[int, str]:
        """The status and the code of a call that is refused."""
        answer = await self.called.rest(method, f"/api/hubs/chat{path}")
        return answer.status, answer.headers["x-ms-error-code"]


def cluster_of(service: Service) -> Cluster:
    """A node's side of its cluster."""
    assert service.node.cluster is not None
    return service.node.cluster


def backplane_of(service: Service) -> MemoryBackplane:
    """A node's end of the bus."""
    backplane = cluster_of(service).backplane
    assert isinstance(backplane, MemoryBackplane)
    return backplane


async def health(service: Service) -> str:
    """What a node says of itself."""
    answer = await service.request("GET", "/api/health")
    assert answer.status == 200
    word: str = answer.json["status"]
    return word


async def until_whole(*services: Service) -> None:
    """Return when every node has heard that nobody is missing."""
    async with asyncio.timeout(PATIENCE):
        for service in services:
            while await health(service) != "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.001)
