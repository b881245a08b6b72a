"""The time after an outage, in which some nodes are back and others are not."""

import asyncio

import pytest
from tests.service.clusters import Nodes, backplane_of, cluster_of, health, until_whole
from tests.service.conftest import StartCluster
from tests.service.running import PATIENCE

from hubbub.service.leases import MemoryLeases

SEND = "/api/hubs/chat/:send"
BODY = b'{"target":"t"}'


async def outage(nodes: Nodes) -> None:
    """All have counted who is there; then nobody can reach anybody."""
    async with asyncio.timeout(PATIENCE):
        counts = [cluster_of(each).recovery for each in nodes]
        while any(each.known < len(counts) for each in counts):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    for each in nodes:
        backplane_of(each).disconnect()


async def test_who_is_back_first_says_nothing_has_arrived_until_the_others_are_back(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2)
    here, there = await nodes[0].connect(user="ann"), await nodes[1].connect(user="bob")
    there_id = nodes[1].only_connection().id
    await outage(nodes)
    backplane_of(nodes[0]).reconnect()

    assert (await nodes[0].rest("POST", SEND, BODY)).status == 503
    assert await here.call() == ("t", [])
    for method, path in (
        ("HEAD", "/users/bob"),
        ("HEAD", f"/connections/{there_id}"),
        ("GET", "/users"),
        ("PUT", "/users/bob/groups/g"),
    ):
        assert (await nodes[0].rest(method, f"/api/hubs/chat{path}")).status == 503, path
    assert (await nodes[0].rest("HEAD", "/api/hubs/chat/users/ann")).status == 200
    assert await health(nodes[0]) == "degraded"

    backplane_of(nodes[1]).reconnect()
    await until_whole(*nodes)
    await nodes[0].send("back")
    assert await here.call() == await there.call() == ("back", [])


async def test_who_never_comes_back_is_waited_for_no_longer_than_a_lease(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2)
    await outage(nodes)
    cluster_of(nodes[0]).recovery._lease = 0.2
    backplane_of(nodes[0]).reconnect()
    assert (await nodes[0].rest("POST", SEND, BODY)).status == 503
    await until_whole(nodes[0])
    await nodes[0].send("t")


async def test_one_that_was_cut_off_alone_is_whole_again_when_it_is_back(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(3)
    await outage(nodes)
    for each in nodes:
        backplane_of(each).reconnect()
    await until_whole(*nodes)

    backplane_of(nodes[0]).disconnect()
    assert [await health(each) for each in nodes] == ["degraded", "ok", "ok"]
    backplane_of(nodes[0]).reconnect()
    await until_whole(*nodes)


async def test_leases_that_were_lost_in_an_outage_do_not_make_it_shorter(
    cluster: StartCluster,
) -> None:
    leases = MemoryLeases()
    nodes = await cluster(2, leases)
    await outage(nodes)
    leases._live.clear()
    backplane_of(nodes[0]).reconnect()
    for _ in range(50):
        await asyncio.sleep(0)
    assert await health(nodes[0]) == "degraded"


@pytest.mark.parametrize("first", [0, 1])
async def test_a_second_outage_begins_it_again(cluster: StartCluster, first: int) -> None:
    nodes = await cluster(2)
    for _ in range(2):
        await outage(nodes)
        backplane_of(nodes[first]).reconnect()
        assert await health(nodes[first]) == "degraded"
        backplane_of(nodes[first]).disconnect()
        for each in nodes:
            backplane_of(each).reconnect()
        await until_whole(*nodes)
