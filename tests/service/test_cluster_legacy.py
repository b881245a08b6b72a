"""Who tells the app of a connection's end where nodes die and answers are lost: somebody, once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.service.clusters import backplane_of, cluster_of
from tests.service.conftest import StartCluster
from tests.service.running import PATIENCE, Service
from tests.service.test_cluster_handover import stateful
from tests.service.test_cluster_life import Dying, Dyings, app_of
from tests.service.test_cluster_life import dying as dying
from tests.service.upstream_app import App, running_app

from hubbub.protocol.upstreamtemplate import Template
from hubbub.protocol.webhooks import Event
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.cluster.legacy import Legacy
from hubbub.service.leases import Dead
from hubbub.service.wills import MemoryWills


def legacy_of(service: Service) -> Legacy:
    return cluster_of(service).life.legacy


def wills_of(service: Service) -> MemoryWills:
    wills = legacy_of(service)._wills
    assert isinstance(wills, MemoryWills)
    return wills


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def failing_once(work: Callable[..., Awaitable[Any]], *, is_done: bool) -> Callable[..., Any]:
    """`work`, whose answer is lost the first time, or which does not come about then."""
    failed: list[int] = []

    async def run(*arguments: Any) -> Any:
        if failed:
            return await work(*arguments)
        failed.append(1)
        if is_done:
            await work(*arguments)
        raise BackplaneError("the answer is lost")

    return run


async def no_more(started: Dying, app: App) -> None:
    """The next thing that the app hears is of a new client."""
    await started.nodes[0].connect(user="last")
    webhook = (await app.next()).webhook
    assert (webhook.event, webhook.user_id) == ("connected", "last")


@pytest.mark.parametrize("is_done", [True, False], ids=["the answer", "the question"])
async def test_ends_are_told_once_where_a_claim_is_lost(
    dying: Dyings, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    async with app_of(dying) as (started, app):
        nodes = started.nodes
        for number in range(3):
            await nodes[1].connect(user=f"u{number}")
            await app.next()
        wills = wills_of(nodes[0])
        monkeypatch.setattr(wills, "claim", failing_once(wills.claim, is_done=is_done))
        started.kill(1)
        await started.pass_time()
        told = {(await app.next()).webhook.user_id for _ in range(3)}
        assert told == {"u0", "u1", "u2"}
        await no_more(started, app)


@pytest.mark.parametrize("is_done", [True, False])
async def test_an_end_that_has_been_told_is_not_told_again_where_that_is_not_noted(
    dying: Dyings, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    async with app_of(dying) as (started, app):
        node = started.nodes[0]
        client = await node.connect(user="ann")
        await app.next()
        wills = wills_of(node)
        monkeypatch.setattr(wills, "erase", failing_once(wills.erase, is_done=is_done))
        await client.socket.close()
        assert (await app.next()).event == "disconnected"
        await until(lambda: not legacy_of(node)._told and not legacy_of(node)._own)
        assert await wills.of(node.node.id) == {}
        await no_more(started, app)


@asynccontextmanager
async def pair(cluster: StartCluster) -> AsyncIterator[tuple[Service, Service, App]]:
    async with running_app() as app:
        template = Template(url_template=app.url + "/webhook")
        first, second = await cluster(2, upstream_templates=(template,))
        try:
            yield first, second, app
        finally:
            for service in (first, second):
                service.node.close()
                await service.node.upstream.close(PATIENCE)


async def test_the_will_of_a_connection_goes_with_it(cluster: StartCluster) -> None:
    async with pair(cluster) as (first, second, app):
        client = await stateful(first)
        await app.next()
        wills = legacy_of(first)._wills
        assert list(await wills.of(first.node.id)) == [client.id]
        await client.come_back(second)
        await until(lambda: not legacy_of(second)._origins)
        assert await wills.of(first.node.id) == {}
        assert list(await wills.of(second.node.id)) == [client.id]


async def test_a_connection_that_nobody_took_is_told_to_the_app(
    cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(cluster) as (first, second, app):
        client = await stateful(first)
        await app.next()

        def fail(*_: object) -> None:
            raise OSError("the new node dies")

        monkeypatch.setattr(cluster_of(second).handover, "_import", fail)
        returning = asyncio.ensure_future(client.come_back(second))
        await until(lambda: bool(legacy_of(first)._given))
        legacy_of(first).sweep(0.0)  # the new node lives, and may take it still
        assert len(await legacy_of(first)._wills.of(first.node.id)) == 1

        legacy_of(first).inherit([second.node.id])
        assert (await app.next()).event == "disconnected"
        await until(lambda: not legacy_of(first)._doing)
        assert await legacy_of(first)._wills.of(first.node.id) == {}
        returning.cancel()
        await asyncio.gather(returning, return_exceptions=True)


async def test_what_keeps_the_wills_may_lose_them(cluster: StartCluster) -> None:
    async with pair(cluster) as (first, _second, app):
        client = await stateful(first)
        await app.next()
        wills_of(first)._wills.clear()
        legacy_of(first).rewrite()
        await until(lambda: bool(wills_of(first)._wills))
        assert list(await wills_of(first).of(first.node.id)) == [client.id]


async def test_who_comes_and_goes_while_the_others_are_away_is_told_at_once(
    dying: Dyings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(facts: object) -> bool:
        raise BackplaneError("away")

    async with app_of(dying) as (started, app):
        node = started.nodes[0]
        known = await node.connect(user="known")
        await app.next()
        legacy = legacy_of(node)
        await until(lambda: legacy.has_left(node.only_connection().id))
        monkeypatch.setattr(started._leases, "renew", away)
        backplane_of(node).disconnect()

        client = await node.connect(user="ann")
        assert (await app.next()).event == "connected"
        await client.socket.close()
        webhook = (await app.next()).webhook
        assert (webhook.event, webhook.user_id) == ("disconnected", "ann")
        await until(lambda: len(legacy._own) == 1 and not legacy._tasks)
        assert (legacy._told, cluster_of(node).life._withheld) == (set(), [])
        assert list(await wills_of(node).of(node.node.id)) == list(legacy._own)
        await known.socket.close()
        await until(lambda: len(cluster_of(node).life._withheld) == 1)  # others may tell of it
        monkeypatch.undo()
        backplane_of(node).reconnect()
        assert (await app.next()).webhook.user_id == "known"


async def test_what_has_been_left_is_not_doubted_because_leaving_it_again_fails(
    cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(cluster) as (first, _second, app):
        client = await stateful(first)
        await app.next()
        await until(lambda: legacy_of(first).has_left(client.id))
        wills = wills_of(first)
        monkeypatch.setattr(wills, "write", failing_once(wills.write, is_done=False))
        legacy_of(first).rewrite()
        await until(lambda: not legacy_of(first)._tasks)
        assert legacy_of(first)._is_in_doubt
        assert legacy_of(first).disown(client.id)


async def test_what_could_not_be_left_while_the_lease_was_renewed_is_left_when_it_can(
    dying: Dyings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app_of(dying) as (started, app):
        node = started.nodes[0]
        wills = wills_of(node)
        monkeypatch.setattr(wills, "write", failing_once(wills.write, is_done=False))
        await node.connect(user="ann")  # whose will is kept where nothing can be kept now
        await app.next()
        legacy = legacy_of(node)
        await until(lambda: legacy._is_in_doubt)
        cluster_of(node).sweep()
        connection_id = node.only_connection().id
        await until(lambda: legacy.has_left(connection_id))
        assert list(await wills.of(node.node.id)) == [connection_id]


async def test_wills_are_left_again_when_all_that_keeps_them_is_back(dying: Dyings) -> None:
    async with app_of(dying) as (started, app):
        node = started.nodes[0]
        await node.connect(user="ann")
        await app.next()
        life = cluster_of(node).life
        wills = wills_of(node)
        backplane_of(node).disconnect()
        await until(lambda: life._is_certain)  # the lease is kept elsewhere
        await until(lambda: not life.legacy._tasks)
        wills._wills.clear()
        backplane_of(node).reconnect()
        await until(lambda: node.node.id in wills._wills)
        assert list(await wills.of(node.node.id)) == [node.only_connection().id]


async def test_of_a_connection_that_moved_nothing_stays_where_the_app_wants_no_word(
    cluster: StartCluster,
) -> None:
    first, second = await cluster(2)
    client = await stateful(first)
    await client.come_back(second)
    for each in (first, second):
        legacy = legacy_of(each)
        assert [*legacy._own, *legacy._origins, *legacy._given] == []


async def test_a_node_inherits_nothing_from_itself(dying: Dyings) -> None:
    async with app_of(dying) as (started, app):
        node = started.nodes[0]
        client = await node.connect(user="ann")
        await app.next()
        cluster_of(node).life._inherit([Dead(node.node.id)])  # it hung between two questions
        assert not legacy_of(node)._heirs
        assert cluster_of(node).life.lapsed() == 0
        await client.socket.close()
        assert (await app.next()).event == "disconnected"
        await no_more(started, app)


async def test_one_will_that_fails_keeps_none_of_the_others_from_being_done(
    dying: Dyings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with app_of(dying) as (started, app):
        nodes = started.nodes
        for number in range(3):
            await nodes[1].connect(user=f"u{number}")
            await app.next()
        for heir in (nodes[0], nodes[2]):
            upstream = heir.node.upstream
            monkeypatch.setattr(upstream, "tell", broken_for("u1", upstream.tell))
        started.kill(1)
        await started.pass_time()
        assert {(await app.next()).webhook.user_id for _ in range(2)} == {"u0", "u2"}
        await no_more(started, app)
        assert "could not be told" in caplog.text


def broken_for(user: str, tell: Callable[[Event, str], Awaitable[None]]) -> Callable[..., Any]:
    async def run(event: Event, reason: str) -> None:
        if event.user_id == user:
            raise ValueError("a defect")
        await tell(event, reason)

    return run
