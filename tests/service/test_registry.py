"""Who is where: hubs that come and go with their connections, users, groups."""

import pytest
from tests.service.fakes import FakeClient, join, leave

from hubbub.protocol.messages import Close
from hubbub.service.node import Node
from hubbub.service.registry import Hub, Members
from hubbub.service.settings import ServiceSettings


@pytest.fixture
async def node() -> Node:
    return Node(ServiceSettings())


def hub_of(node: Node, name: str = "chat") -> Hub:
    hub = node.registry.hub(name)
    assert hub is not None
    return hub


async def test_a_hub_exists_while_it_has_connections(node: Node) -> None:
    assert node.registry.hub("chat") is None
    first, second = FakeClient(node), FakeClient(node)
    hub = hub_of(node)
    assert list(hub.connections) == [first.connection, second.connection]

    node.registry.remove(first.connection)
    assert node.registry.hub("chat") is hub
    node.registry.remove(second.connection)

    assert node.registry.hub("chat") is None
    assert repr(node.registry) == "Registry([])"


async def test_hub_names_are_compared_ignoring_case(node: Node) -> None:
    FakeClient(node, "Chat")
    FakeClient(node, "CHAT")
    assert hub_of(node).name == "chat"
    assert len(hub_of(node, "cHaT").connections) == 2


async def test_users_and_groups_are_compared_as_they_are(node: Node) -> None:
    lower, upper = FakeClient(node, user="ann"), FakeClient(node, user="Ann")
    join(node, lower, "g")
    join(node, upper, "G")

    hub = hub_of(node)
    assert list(hub.users["ann"]) == list(hub.groups["g"]) == [lower.connection]
    assert list(hub.users["Ann"]) == list(hub.groups["G"]) == [upper.connection]


async def test_a_user_is_all_of_its_connections(node: Node) -> None:
    first, second = FakeClient(node, user="ann"), FakeClient(node, user="ann")
    FakeClient(node)
    assert list(hub_of(node).users["ann"]) == [first.connection, second.connection]

    node.registry.remove(first.connection)
    assert list(hub_of(node).users["ann"]) == [second.connection]
    node.registry.remove(second.connection)
    assert hub_of(node).users == {}


async def test_the_same_user_and_group_of_two_hubs_are_different(node: Node) -> None:
    chat, news = FakeClient(node, "chat", "ann"), FakeClient(node, "news", "ann")
    join(node, chat, "g")
    assert list(hub_of(node, "chat").users["ann"]) == [chat.connection]
    assert list(hub_of(node, "news").users["ann"]) == [news.connection]
    assert hub_of(node, "news").groups == {}


async def test_a_group_exists_while_it_has_connections(node: Node) -> None:
    client = FakeClient(node)
    join(node, client, "g")
    join(node, client, "g")
    assert list(hub_of(node).groups["g"]) == [client.connection]
    assert client.connection.groups == {"g"}

    assert leave(node, client, "g")
    assert not leave(node, client, "g")

    assert hub_of(node).groups == {}
    assert client.connection.groups == frozenset()


async def test_a_connection_that_ends_leaves_everything(node: Node) -> None:
    stays, goes = FakeClient(node, user="ann"), FakeClient(node, user="ann")
    for group in ("g", "h"):
        join(node, goes, group)
    join(node, stays, "g")

    goes.connection.close(Close())

    hub = hub_of(node)
    assert list(hub.connections) == list(hub.users["ann"]) == [stays.connection]
    assert list(hub.groups) == ["g"]
    assert list(hub.groups["g"]) == [stays.connection]
    assert goes.connection.groups == frozenset()


async def test_a_connection_may_be_removed_twice_or_without_having_been_there(node: Node) -> None:
    client, other = FakeClient(node), FakeClient(node)
    node.registry.remove(client.connection)
    node.registry.remove(client.connection)
    assert list(hub_of(node).connections) == [other.connection]

    node.registry.remove(other.connection)
    node.registry.remove(other.connection)
    assert node.registry.hub("chat") is None


async def test_a_snapshot_stays_as_it_was_and_is_made_anew_after_a_change(node: Node) -> None:
    first, second = FakeClient(node), FakeClient(node)
    members = Members()
    members.add(first.connection)
    before = members.snapshot()
    assert members.snapshot() is before

    members.add(second.connection)

    assert before == (first.connection,)
    assert members.snapshot() == (first.connection, second.connection)
    assert members.find(second.connection.id) is second.connection
    assert second.connection.id in members
    assert members.remove(first.connection)
    assert not members.remove(first.connection)
    assert members.snapshot() == (second.connection,)
    assert members.find(first.connection.id) is None


async def test_a_registry_shows_what_it_holds(node: Node) -> None:
    client = FakeClient(node, user="ann")
    join(node, client, "g")
    assert "Hub('chat', connections=1, users=1, groups=1)" in repr(node.registry)
    assert repr(hub_of(node).connections) == "Members(1)"
