"""Nodes that die, are stopped, or are cut off, and what becomes of their connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

import pytest
from tests.service.clusters import Nodes, backplane_of, cluster_of, until_whole
from tests.service.conftest import StartCluster
from tests.service.running import PATIENCE, Service
from tests.service.upstream_app import App, running_app

from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.cluster.life import Life
from hubbub.service.leases import MemoryLeases

LEASE = 10.0
PATH = "/api/hubs/chat"


class Clock:
    """The time of the place where leases are kept."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Dying:
    """A cluster whose nodes can be killed: without a word, and noticed when their leases end."""

    def __init__(self, nodes: Nodes, leases: MemoryLeases, clock: Clock) -> None:
        self.nodes = nodes
        self._leases = leases
        self._clock = clock

    def stop(self, at: int) -> None:
        """The node does nothing more, as after SIGSTOP."""
        task = cluster_of(self.nodes[at]).life._renewing._task
        assert task is not None
        task.cancel()
        backplane_of(self.nodes[at])._receive = lambda channel, data: None

    def kill(self, at: int) -> None:
        """It is gone, and with it its listening."""
        self.stop(at)
        backplane_of(self.nodes[at]).disconnect()

    async def pass_time(self) -> None:
        """Let leases run out that are not renewed, while the others renew theirs."""
        for _ in range(4):
            self._clock.now += LEASE / 3
            await self.renewed()
        await self.renewed()  # after each renewal a node looks who has died

    async def renewed(self) -> None:
        """Return when every node that can has renewed its lease."""
        before = dict(self._leases._live)
        alive = [each for each in self.nodes if _renews(each)]
        async with asyncio.timeout(PATIENCE):
            while any(  # noqa: ASYNC110  leases say so nowhere
                self._leases._live.get(each.node.id) is before.get(each.node.id) for each in alive
            ):
                await asyncio.sleep(0.001)


def _renews(service: Service) -> bool:
    task = cluster_of(service).life._renewing._task
    return task is not None and not task.done() and not task.cancelling()


Dyings = Callable[..., Awaitable[Dying]]


@pytest.fixture
def dying(cluster: StartCluster) -> Dyings:
    async def start(count: int, **settings: Any) -> Dying:
        clock = Clock()
        leases = MemoryLeases(LEASE, clock)
        return Dying(await cluster(count, leases, **settings), leases, clock)

    return start


@asynccontextmanager
async def app_of(dying: Dyings) -> AsyncIterator[tuple[Dying, App]]:
    async with running_app() as app:
        template = Template(url_template=app.url + "/webhook")
        started = await dying(3, upstream_templates=(template,))
        try:
            yield started, app
        finally:
            for service in started.nodes:
                service.node.close()
                await service.node.upstream.close(PATIENCE)


async def test_the_ends_of_a_dead_nodes_connections_are_told_once(dying: Dyings) -> None:
    async with app_of(dying) as (started, app):
        nodes = started.nodes
        ids = set()
        for number in range(5):
            await nodes[1].connect(user=f"u{number}")
            ids.add((await app.next()).webhook.connection_id)
        started.kill(1)
        await started.pass_time()

        ends = [(await app.next()).webhook for _ in range(5)]
        await started.pass_time()
        await nodes[0].connect()
        last = await app.next()

        assert {each.connection_id for each in ends} == ids
        assert {each.user_id for each in ends} == {f"u{number}" for number in range(5)}
        assert [each.event for each in ends] == ["disconnected"] * 5
        assert last.event == "connected"


async def test_the_connections_of_a_dead_node_are_in_no_listing(dying: Dyings) -> None:
    started = await dying(3, answer_timeout=0.2)
    nodes = started.nodes
    await nodes[1].connect(user="ann")
    await nodes[2].connect(user="bob")
    assert await count(nodes[0]) == "2"
    started.kill(1)
    assert await count(nodes[0]) == "1"


async def count(service: Service) -> str:
    answer = await service.rest("HEAD", f"{PATH}/connections")
    assert answer.status == 200
    total: str = answer.headers["x-total-count"]
    return total


async def test_while_a_node_does_not_answer_who_needs_it_is_503_and_not_after_its_lease(
    dying: Dyings,
) -> None:
    started = await dying(3, answer_timeout=1.0)
    nodes = started.nodes
    await nodes[1].connect(user="ann")
    await nodes[2].connect(user="bob")
    started.stop(1)
    answer = await nodes[0].rest("GET", f"{PATH}/users")
    assert answer.status == 503
    assert "1 of 2 nodes" in answer.text

    await started.pass_time()

    async with asyncio.timeout(10):  # until the lease is seen to have lapsed
        while (answer := await nodes[0].rest("GET", f"{PATH}/users")).status != 200:
            pass
    assert [entry["userId"] for entry in answer.json["value"]] == ["bob"]


async def test_a_node_that_was_taken_for_dead_lets_its_clients_go_and_is_another_one(
    dying: Dyings,
) -> None:
    async with app_of(dying) as (started, app):
        nodes = started.nodes
        client = await nodes[1].connect(user="ann")
        assert (await app.next()).event == "connected"
        started.stop(1)
        await started.pass_time()
        assert (await app.next()).event == "disconnected"
        before = nodes[1].node.id
        receive = cluster_of(nodes[1])._receive
        backplane_of(nodes[1])._receive = receive
        life = cluster_of(nodes[1]).life
        life._renewing._task = None
        await life.open()

        close, _code = await client.end()
        assert close is not None
        assert close.allow_reconnect
        assert nodes[1].node.id != before

        again = await nodes[1].connect(user="ann")
        assert (await app.next()).event == "connected"  # and no second end
        await nodes[0].rest("PUT", f"{PATH}/users/ann/groups/g")
        await nodes[2].send("t", to="/groups/g")
        assert await again.call() == ("t", [])
        assert await count(nodes[0]) == "1"


@pytest.mark.parametrize("arrives", [True, False], ids=["kept late", "not kept"])
async def test_the_end_of_a_client_that_came_to_a_node_taken_for_dead_is_told_once(
    dying: Dyings, arrives: bool
) -> None:
    async with app_of(dying) as (started, app):
        nodes = started.nodes
        started.stop(1)
        await started.pass_time()
        life = cluster_of(nodes[1]).life
        if not arrives:
            refuse(life, "write")
        backplane_of(nodes[1])._receive = cluster_of(nodes[1])._receive
        client = await nodes[1].connect(user="ann")
        assert (await app.next()).event == "connected"

        life._renewing._task = None
        await life.open()

        await client.end()
        assert (await app.next()).webhook.event == "disconnected"
        await started.renewed()
        await nodes[0].connect()
        assert (await app.next()).event == "connected"  # and no second end


async def test_an_end_that_was_told_during_an_outage_is_not_told_again_when_the_node_dies(
    dying: Dyings,
) -> None:
    async with app_of(dying) as (started, app):
        nodes = started.nodes
        client = await nodes[1].connect(user="ann")
        assert (await app.next()).event == "connected"
        life = cluster_of(nodes[1]).life
        erase = refuse(life, "erase")
        await client.socket.close()
        assert (await app.next()).event == "disconnected"
        backplane_of(nodes[1]).disconnect()
        life.legacy._wills.erase = erase  # type: ignore[method-assign]
        backplane_of(nodes[1]).reconnect()
        await started.renewed()
        async with asyncio.timeout(PATIENCE):
            while life.legacy._tasks or not life._is_certain:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

        started.kill(1)
        await started.pass_time()

        await nodes[0].connect()
        assert (await app.next()).event == "connected"


async def test_who_tells_of_an_end_during_an_outage_is_known_after_it(dying: Dyings) -> None:
    async with app_of(dying) as (started, app):
        nodes = started.nodes
        client = await nodes[1].connect(user="ann")
        assert (await app.next()).event == "connected"
        backplane_of(nodes[1]).disconnect()
        leases = started._leases
        renew = leases.renew

        async def away(facts: object) -> bool:
            raise BackplaneError("away")

        leases.renew = away  # type: ignore[method-assign]
        await client.socket.close()
        life = cluster_of(nodes[1]).life
        async with asyncio.timeout(PATIENCE):
            while not life._withheld:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        leases.renew = renew  # type: ignore[method-assign]
        backplane_of(nodes[1]).reconnect()

        assert (await app.next()).event == "disconnected"


def refuse(life: Life, what: str) -> Any:
    """Let a call of a node's wills fail; return it as it was."""

    async def fail(*_: object) -> None:
        raise BackplaneError("away")

    wills = life.legacy._wills
    life.legacy._wills = copy(wills)
    setattr(life.legacy._wills, what, fail)
    return getattr(wills, what)


async def test_a_node_that_ends_in_order_tells_the_app_itself(dying: Dyings) -> None:
    async with app_of(dying) as (started, app):
        await started.nodes[1].connect()
        assert (await app.next()).event == "connected"
        started.nodes[1].node.close()
        assert (await app.next()).event == "disconnected"
        await started.nodes[1].node.upstream.close(PATIENCE)
        await cluster_of(started.nodes[1]).life.close()
        await started.renewed()
        await started.renewed()
        await started.nodes[0].connect()
        assert (await app.next()).event == "connected"


async def test_when_all_come_back_to_what_keeps_the_leases_nobody_is_dead(dying: Dyings) -> None:
    started = await dying(3)
    clients = [await each.connect() for each in started.nodes]
    for each in started.nodes:
        backplane_of(each).disconnect()
    leases = started._leases
    renew = leases.renew

    async def away(facts: object) -> bool:
        raise BackplaneError("away")

    leases.renew = away  # type: ignore[method-assign]
    for each in started.nodes:
        async with asyncio.timeout(PATIENCE):
            while not cluster_of(each).life._leases._has_failed:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    started._clock.now += 10 * LEASE
    leases.renew = renew  # type: ignore[method-assign]
    for each in started.nodes:
        backplane_of(each).reconnect()
    await started.renewed()
    await started.renewed()
    await until_whole(*started.nodes)

    await started.nodes[0].send("t")
    for client in clients:
        assert await client.call() == ("t", [])


async def test_while_the_others_are_away_sends_reach_who_is_here_and_are_503(
    dying: Dyings,
) -> None:
    started = await dying(2)
    nodes = started.nodes
    here = await nodes[0].connect(user="ann")
    there = await nodes[1].connect(user="bob")
    backplane_of(nodes[0]).disconnect()
    health = await nodes[0].request("GET", "/api/health")
    assert (health.status, health.json) == (200, {"status": "degraded"})
    assert health.headers["x-hubbub-health"] == "degraded"

    body = b'{"target":"t"}'
    for path in ("/:send", "/users/ann/:send"):
        assert (await nodes[0].rest("POST", PATH + path, body)).status == 503
        assert await here.call() == ("t", [])
    assert (await nodes[0].rest("GET", f"{PATH}/users")).status == 503
    own = nodes[0].only_connection().id
    assert (await nodes[0].rest("POST", f"{PATH}/connections/{own}/:send", body)).status == 202
    assert await here.call() == ("t", [])

    backplane_of(nodes[0]).reconnect()
    await until_whole(nodes[0])
    await nodes[0].send("back")
    assert await here.call() == await there.call() == ("back", [])


async def test_all_nodes_go_by_the_keys_of_the_first_and_by_new_ones_when_they_change(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2)
    keys = nodes[0].node.settings.access_keys
    assert nodes[1].node.settings.access_keys == keys
    shared = cluster_of(nodes[0])._watching._settings
    client = await nodes[1].connect()
    token = nodes[0].token()

    changed = await shared.rotate("primary")
    assert changed is not None
    cluster_of(nodes[0])._watching.look()
    backplane_of(nodes[0]).publish("all", b"keys")
    async with asyncio.timeout(PATIENCE):
        while any(each.node.settings.access_keys == keys for each in nodes):  # noqa: ASYNC110
            await asyncio.sleep(0)

    for each in nodes:
        assert each.node.settings.access_keys == changed.access_keys
        path = "/client/negotiate?hub=chat"
        assert (await each.request("POST", path, token=token)).status == 401
        await each.negotiate()
    await nodes[0].send("t")
    assert await client.call() == ("t", [])
