"""Whom an envelope reaches: everyone of a hub, a group, a user, one connection, less some."""

import asyncio

import pytest
from tests.service.fakes import FakeClient, join

from hubbub.service.node import Node
from hubbub.service.router import Address, Envelope, Everyone, Group, One, User
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import EncodedMessage

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture
async def node() -> Node:
    return Node(ServiceSettings())


async def deliver(node: Node, address: Address, target: str = "t", *excluded: str) -> None:
    """Deliver and let the loop's turn end."""
    node.router.deliver(Envelope(address, EncodedMessage(target), frozenset(excluded)))
    await asyncio.sleep(0)


async def test_everyone_of_a_hub_is_reached_and_nobody_of_another(node: Node) -> None:
    first, second, other = FakeClient(node), FakeClient(node), FakeClient(node, "news")
    await deliver(node, Everyone("chat"))
    assert [first.calls(), second.calls(), other.calls()] == [["t"], ["t"], []]


async def test_a_hub_is_found_whatever_its_case(node: Node) -> None:
    client = FakeClient(node, "Chat")
    for name in ("chat", "CHAT"):
        await deliver(node, Everyone(name))
        await deliver(node, One(name, client.connection.id))
    assert len(client.calls()) == 4


async def test_a_group_reaches_its_members(node: Node) -> None:
    member, stranger = FakeClient(node), FakeClient(node)
    join(node, member, "g")
    await deliver(node, Group("chat", "g"))
    assert (member.calls(), stranger.calls()) == (["t"], [])


async def test_a_user_is_reached_on_each_of_its_connections(node: Node) -> None:
    phone, desk, other = (FakeClient(node, user=user) for user in ("ann", "ann", "bob"))
    await deliver(node, User("chat", "ann"))
    assert (phone.calls(), desk.calls(), other.calls()) == (["t"], ["t"], [])


async def test_one_connection_is_reached_alone(node: Node) -> None:
    one, other = FakeClient(node), FakeClient(node)
    await deliver(node, One("chat", one.connection.id))
    assert (one.calls(), other.calls()) == (["t"], [])


@pytest.mark.parametrize(
    "address",
    [
        Everyone("news"),
        Group("chat", "nobody"),
        Group("news", "g"),
        User("chat", "nobody"),
        One("chat", "nobody"),
        One("news", "nobody"),
    ],
)
async def test_nobody_at_an_address_is_no_error(node: Node, address: Address) -> None:
    client = FakeClient(node)
    await deliver(node, address)
    assert client.calls() == []


async def test_a_connection_of_another_hub_is_not_found_by_its_id(node: Node) -> None:
    client = FakeClient(node, "news")
    FakeClient(node, "chat")
    await deliver(node, One("chat", client.connection.id))
    assert client.calls() == []


async def test_excluded_connections_are_left_out_wherever_they_are(node: Node) -> None:
    kept, excluded = FakeClient(node, user="ann"), FakeClient(node, user="ann")
    for client in (kept, excluded):
        join(node, client, "g")
    addresses = (Everyone("chat"), Group("chat", "g"), User("chat", "ann"))
    for address in (*addresses, One("chat", excluded.connection.id)):
        await deliver(node, address, "t", excluded.connection.id, "unknown")
    assert (kept.calls(), excluded.calls()) == (["t"] * 3, [])


async def test_a_connection_that_left_its_group_is_not_reached_by_it(node: Node) -> None:
    client = FakeClient(node)
    join(node, client, "g")
    hub = node.registry.hub("chat")
    assert hub is not None
    node.registry.remove_from_group(hub, "g", client.connection)
    await deliver(node, Group("chat", "g"))
    assert client.calls() == []
