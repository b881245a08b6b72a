"""Clients that are let in while nobody can say which groups their users are in."""

import asyncio
from collections.abc import Mapping

import pytest
from tests.service.clusters import cluster_of, health, until_whole
from tests.service.conftest import StartCluster

from hubbub.service.memberships import Membership
from hubbub.service.store import StoreError

GROUP = "/api/hubs/chat/users/ann/groups/g"


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "says nothing"])
async def test_who_was_let_in_while_the_store_did_not_answer_is_in_its_groups_when_it_does(
    cluster: StartCluster, fails: bool
) -> None:
    first, second = await cluster(2, answer_timeout=0.1)
    await first.rest("PUT", GROUP)
    store = second.node.store
    known = store.known_groups_of
    answers = asyncio.Event()

    async def groups_of(hub: str, user: str) -> Mapping[str, Membership]:
        if fails and not answers.is_set():
            raise StoreError("It cannot be reached.")
        await answers.wait()
        return known(hub, user) or {}

    store.groups_of = groups_of  # type: ignore[method-assign]
    store.known_groups_of = lambda hub, user: None  # type: ignore[method-assign]
    client = await second.connect(user="ann")
    assert await health(second) == "degraded"
    cluster_of(second).sweep()
    assert await health(second) == "degraded"

    answers.set()
    cluster_of(second).sweep()
    await until_whole(second)
    await first.send("in", to="/groups/g")
    assert await client.call() == ("in", [])


@pytest.mark.parametrize("change", ["PUT", "DELETE"])
async def test_groups_that_change_while_they_are_read_afterwards_are_right(
    cluster: StartCluster, change: str
) -> None:
    first, second = await cluster(2)
    if change == "DELETE":
        await first.rest("PUT", GROUP)
    store = second.node.store
    known = store.known_groups_of
    reads: list[str] = []

    async def groups_of(hub: str, user: str) -> Mapping[str, Membership]:
        reads.append(user)
        if len(reads) == 1:
            raise StoreError("It cannot be reached.")
        groups = dict(known(hub, user) or {})
        if len(reads) == 2:
            await first.rest(change, GROUP)
        return groups

    store.groups_of = groups_of  # type: ignore[method-assign]
    store.known_groups_of = lambda hub, user: None  # type: ignore[method-assign]
    client = await second.connect(user="ann")
    cluster_of(second).sweep()
    await until_whole(second)

    await first.send("in", to="/groups/g")
    await first.send("end")
    assert await client.call() == (("in", []) if change == "PUT" else ("end", []))


async def test_of_a_client_that_has_gone_meanwhile_nothing_is_waited_for(
    cluster: StartCluster,
) -> None:
    _first, second = await cluster(2)

    async def groups_of(hub: str, user: str) -> Mapping[str, Membership]:
        raise StoreError("It cannot be reached.")

    second.node.store.groups_of = groups_of  # type: ignore[method-assign]
    second.node.store.known_groups_of = lambda hub, user: None  # type: ignore[method-assign]
    client = await second.connect(user="ann")
    assert await health(second) == "degraded"
    await client.socket.close()
    await until_whole(second)
