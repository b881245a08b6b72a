"""Sends between nodes: who receives them, in which order, and whom they cost nothing."""

import asyncio
import json
import random
from collections.abc import Mapping

import pytest
from tests.service.clusters import Nodes, Scene, backplane_of, cluster_of
from tests.service.conftest import StartCluster
from tests.service.running import PATIENCE, Service

from hubbub.service.cluster.subscriptions import LINGER
from hubbub.service.memberships import Membership

CALL = ("t", [1])


@pytest.mark.parametrize(
    ("path", "receivers"),
    [("", "ab"), ("/user/ann", "a"), ("/users/ann,bob", "ab"), ("/group/g", "b"),
     ("/groups/g,h", "bba")],
)  # fmt: skip
async def test_a_send_at_an_old_path_reaches_everyone_once_for_each_name(
    scene: Scene, path: str, receivers: str
) -> None:
    for user, group in (("bob", "g"), ("bob", "h"), ("ann", "h")):
        await scene.rest("PUT", f"/users/{user}/groups/{group}")
    sent = b'{"target":"t","arguments":[1]}'
    answer = await scene.called.rest("POST", f"/api/v1-preview/hub/chat{path}", sent)
    assert answer.status == 202
    await scene.rest("POST", "/:send", {"target": "end"})
    for client, letter in ((scene.ann, "a"), (scene.bob, "b")):
        expected = [CALL] * receivers.count(letter)
        assert await client.calls(len(expected) + 1) == [*expected, ("end", [])]


def arrivals(service: Service) -> list[str]:
    """The channels of everything that arrives at a node from here on."""
    backplane = backplane_of(service)
    receive, seen = backplane._receive, []

    def look(channel: str, data: bytes) -> None:
        seen.append(channel)
        receive(channel, data)

    backplane._receive = look
    return seen


async def test_a_send_costs_a_node_without_members_nothing(scene: Scene) -> None:
    await scene.rest("PUT", "/users/ann/groups/g")
    seen = arrivals(scene.nodes[2])  # where Bob is
    own = arrivals(scene.called)
    for path in ("/groups/g", "/users/ann", f"/connections/{scene.ann_id}"):
        await scene.rest("POST", f"{path}/:send", {"target": "t", "arguments": [1]})
    assert await scene.ann.calls(3) == [CALL] * 3
    assert seen == own == []


async def test_a_send_is_published_once_whatever_the_number_of_clients(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2)
    clients = [await nodes[index % 2].connect() for index in range(6)]
    seen = arrivals(nodes[1])
    await nodes[0].send("t", 1)
    for client in clients:
        assert await client.call() == CALL
    assert seen == ["h:chat"]


async def test_a_send_to_a_connection_of_the_same_node_stays_there(scene: Scene) -> None:
    seen = [arrivals(each) for each in scene.nodes]
    await scene.nodes[1].send("t", 1, to=f"/connections/{scene.ann_id}")
    assert await scene.ann.call() == CALL
    assert seen == [[], [], []]


@pytest.mark.parametrize("seed", range(3))
async def test_the_order_of_one_publisher_is_kept_by_every_client(
    cluster: StartCluster, seed: int
) -> None:
    nodes = await cluster(3)
    nodes.bus.delay = 0.002
    choose = random.Random(seed)
    clients = [await nodes[index % 3].connect(user=f"u{index}") for index in range(6)]
    for index in range(6):
        await nodes[0].rest("PUT", f"/api/hubs/chat/users/u{index}/groups/g")
    ids = {
        connection.user_id: connection.id for node in nodes for connection in node.hub().connections
    }
    expected: list[list[int]] = [[] for _ in clients]
    sends = []
    for number in range(120):
        chosen = choose.randrange(6)
        to, receivers = choose.choice(
            [
                ("", range(6)),
                ("/groups/g", range(6)),
                (f"/users/u{chosen}", [chosen]),
                (f"/connections/{ids[f'u{chosen}']}", [chosen]),
            ]
        )
        for receiver in receivers:
            expected[receiver].append(number)
        sends.append((number, to))

    for number, to in sends:
        await nodes[1].send("t", number, to=to)

    for client, numbers in zip(clients, expected, strict=True):
        assert await client.calls(len(numbers)) == [("t", [number]) for number in numbers]


@pytest.mark.parametrize(
    "path", ["/:send", "/groups/g/:send", "/users/u/:send", "/connections/c/:send"]
)
async def test_a_send_that_is_refused_is_not_passed_on(scene: Scene, path: str) -> None:
    seen = [arrivals(each) for each in scene.nodes]
    answer = await scene.called.rest("POST", f"/api/hubs/chat{path}", b"{")
    assert answer.status == 400
    assert seen == [[], [], []]


async def test_a_group_is_listened_to_for_a_while_after_its_last_member(scene: Scene) -> None:
    ann = cluster_of(scene.nodes[1]).subscriptions
    path = f"/groups/g/connections/{scene.ann_id}"
    assert "g:chat:g" not in ann
    await scene.rest("PUT", path)
    assert not ann.waits_for(["g:chat:g"])
    await scene.rest("DELETE", path)
    now = asyncio.get_running_loop().time()

    ann.sweep(now + LINGER / 2)
    assert "g:chat:g" in ann
    await scene.rest("PUT", path)  # which asks nobody for anything
    ann.sweep(now + LINGER * 2)
    assert "g:chat:g" in ann
    await scene.rest("DELETE", path)
    ann.sweep(now + LINGER * 4)
    assert "g:chat:g" not in ann
    assert (await scene.nodes[0].rest("HEAD", "/api/hubs/chat/groups/g")).status == 404


async def test_what_ends_is_not_listened_to(scene: Scene) -> None:
    ann_id = scene.ann_id
    node = scene.nodes[1]
    await scene.rest("PUT", "/users/ann/groups/g")
    await scene.ann.socket.close()
    while node.node.registry.hub("chat") is not None:  # noqa: ASYNC110  it says so nowhere
        await asyncio.sleep(0)
    subscriptions = cluster_of(node).subscriptions
    subscriptions.sweep(asyncio.get_running_loop().time() + LINGER + 1)
    for channel in ("h:chat", "u:chat:ann", "g:chat:g", f"c:{ann_id}"):
        assert channel not in subscriptions
    assert repr(subscriptions) == "Subscriptions(held=2, idle=0, unconfirmed=0)"


def _with_user(service: Service, user: str) -> dict[str, str]:
    return {"hub": "chat", "access_token": service.token(user=user)}


@pytest.mark.parametrize("to", ["", "/users/ann", "/groups/g"])
async def test_from_the_answer_to_its_handshake_on_a_client_receives_everything(
    cluster: StartCluster, to: str
) -> None:
    nodes: Nodes = await cluster(2)
    await nodes[0].rest("PUT", "/api/hubs/chat/users/ann/groups/g")
    nodes.bus.delay = 0.02
    client = await nodes[1].open(query=_with_user(nodes[1], "ann"))
    assert await client.handshake() == b"{}\x1e"

    await nodes[0].send("t", 1, to=to)

    assert await client.call() == CALL


async def test_what_a_client_says_before_the_answer_to_its_handshake_is_kept(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2)
    nodes.bus.delay = 0.02
    client = await nodes[0].open(query=_with_user(nodes[0], "ann"))
    await client.socket.send('{"protocol":"json","version":1}\x1e{"type":6}\x1e{"type":1,')
    await client.socket.send('"target":"t","arguments":[],"invocationId":"1"}\x1e')
    assert await client.frame() == b"{}\x1e"
    # There is no upstream, which is what it is told.
    assert json.loads((await client.frame())[:-1])["invocationId"] == "1"


async def test_a_client_that_leaves_before_the_answer_to_its_handshake_is_forgotten(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2)
    nodes.bus.delay = 0.05
    client = await nodes[0].open(query=_with_user(nodes[0], "ann"))
    await client.socket.send('{"protocol":"json","version":1}\x1e')
    await client.socket.close()
    node, arrivals = nodes[0].node, cluster_of(nodes[0]).arrivals
    async with asyncio.timeout(PATIENCE):
        while "connections=0" not in repr(node):  # noqa: ASYNC110  the service says so nowhere
            await asyncio.sleep(0)
        while "arriving=0" not in repr(arrivals):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert nodes[0].node.registry.hub("chat") is None


@pytest.mark.parametrize("change", ["PUT", "DELETE"])
async def test_a_user_whose_groups_change_while_it_arrives_is_in_the_right_ones(
    cluster: StartCluster, change: str
) -> None:
    nodes = await cluster(2)
    path = "/api/hubs/chat/users/ann/groups/g"
    if change == "DELETE":
        await nodes[0].rest("PUT", path)
    store = nodes[1].node.store
    known = store.known_groups_of
    reads = []

    async def groups_of(hub: str, user: str) -> Mapping[str, Membership]:
        groups = known(hub, user) or {}
        reads.append(user)
        if len(reads) == 1:
            await nodes[0].rest(change, path)
        return groups

    store.groups_of = groups_of  # type: ignore[method-assign]
    store.known_groups_of = lambda hub, user: None  # type: ignore[method-assign]
    client = await nodes[1].connect(user="ann")

    await nodes[0].send("in", to="/groups/g")
    await nodes[0].send("end")

    assert await client.call() == (("in", []) if change == "PUT" else ("end", []))
