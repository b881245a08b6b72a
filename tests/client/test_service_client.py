"""Every call of the management client against a service: it reaches whom it should."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.service.running import Client, Service

from hubbub.client.blocking import SyncServiceClient
from hubbub.client.commands import CloseConnection, JoinGroup, LeaveGroup, SendMessage
from hubbub.client.management import HubContext, ServiceClient
from hubbub.client.presence import ConnectionInfo, GroupInfo, UserInfo
from hubbub.errors import ServiceError
from hubbub.protocol.messages import Close, Completion, Invocation, StreamItem


@pytest.fixture
async def hub(service: Service) -> AsyncIterator[HubContext]:
    """The hub chat of the service, by the management client."""
    async with ServiceClient(service.connection_string) as client:
        yield client.hub("Chat")


def id_of(service: Service, user: str) -> str:
    (connection,) = service.hub().users[user]
    return connection.id


async def clients_of(service: Service, names: str) -> dict[str, Client]:
    return {name: await service.connect("chat", name) for name in names}


async def test_several_names_are_one_audience(service: Service, hub: HubContext) -> None:
    clients = await clients_of(service, "abcd")
    await hub.user_groups.add("c", "g")
    await hub.user_groups.add("d", "h")

    await hub.clients.users(["a", "b"]).send("users", 1)
    await hub.clients.clients([id_of(service, "a"), id_of(service, "c")]).send("clients")
    await hub.clients.groups(["g", "h", "none"]).send("groups")
    await hub.clients.users([]).send("nobody")
    await hub.clients.all.send("end")

    received: dict[str, list[Any]] = {}
    for name, client in clients.items():
        received[name] = []
        while (call := await client.call()) != ("end", []):
            received[name].append(call)
    assert received == {
        "a": [("users", [1]), ("clients", [])],
        "b": [("users", [1])],
        "c": [("clients", []), ("groups", [])],
        "d": [("groups", [])],
    }


async def test_memberships_of_users_last_as_long_as_asked(
    service: Service, hub: HubContext
) -> None:
    await hub.user_groups.add("ann", "a", 60)
    await hub.user_groups.add("ann", "b", timedelta(minutes=2))
    await hub.user_groups.add("ann", "c")
    await hub.user_groups.add("ann", "d", 0)

    found = [each async for each in hub.user_groups.of("ann")]

    assert [each.group for each in found] == ["a", "b", "c"]
    assert found[0].expires < found[1].expires < found[2].expires
    assert await hub.user_groups.contains("ann", "a") is True
    assert await hub.user_groups.contains("ann", "d") is False
    await hub.user_groups.remove("ann", "a")
    assert await hub.user_groups.contains("ann", "a") is False
    await hub.user_groups.remove_all("ann")
    assert [each async for each in hub.user_groups.of("ann")] == []


async def test_who_is_there_is_asked_and_told(service: Service, hub: HubContext) -> None:
    await clients_of(service, "ab")
    await hub.groups.add(id_of(service, "a"), "g")
    a, b = id_of(service, "a"), id_of(service, "b")
    manager = hub.client_manager

    assert [await manager.connection_exists(name) for name in (a, "gone")] == [True, False]
    assert [await manager.user_exists(name) for name in ("a", "z")] == [True, False]
    assert [await manager.group_exists(name) for name in ("g", "z")] == [True, False]
    assert [each async for each in hub.groups.connections("g")] == [ConnectionInfo(a, "a")]
    assert [each async for each in manager.connections()] == sorted(
        [ConnectionInfo(a, "a", ("g",)), ConnectionInfo(b, "b", ())],
        key=lambda each: each.connection_id,
    )
    assert [each.connection_id async for each in manager.connections("userId eq 'b'")] == [b]
    assert [each async for each in manager.users()] == [UserInfo("a", 1), UserInfo("b", 1)]
    assert [each async for each in manager.groups()] == [GroupInfo("g", 1)]
    assert await manager.count_connections() == 2
    assert await manager.count_connections("'g' in groups") == 1
    assert (await manager.count_users(), await manager.count_groups()) == (2, 1)


async def test_a_long_listing_comes_in_pages(service: Service, hub: HubContext) -> None:
    clients = [await service.connect("chat", "a") for _ in range(5)]
    await hub.user_groups.add("a", "g")

    every = [each async for each in hub.groups.connections("g", page_size=2)]
    some = [each async for each in hub.groups.connections("g", page_size=2, top=3)]

    assert len({each.connection_id for each in every}) == len(clients)
    assert some == every[:3]


async def test_connections_are_closed_with_a_reason(service: Service, hub: HubContext) -> None:
    clients = await clients_of(service, "abcdef")
    spared = id_of(service, "f")
    for name in "cd":
        await hub.user_groups.add(name, "g")

    await hub.client_manager.close_connection(id_of(service, "a"), "one")
    await hub.client_manager.close_connection("gone")
    await hub.client_manager.close_user("b", "user")
    await hub.client_manager.close_group("g", "group", excluded=[id_of(service, "d")])
    await hub.client_manager.close_all("all", excluded=[spared])

    for name, reason in zip("abcde", ["one", "user", "group", "all", "all"], strict=True):
        assert (await clients[name].end())[0] == Close(error=reason, allow_reconnect=True)
    assert [each.connection_id async for each in hub.client_manager.connections()] == [spared]


async def test_a_client_is_asked_for_a_result(service: Service, hub: HubContext) -> None:
    client = await service.connect("chat", "a")
    asking = hub.clients.client(id_of(service, "a"))

    async def answer(**members: Any) -> None:
        message = await client.message()
        assert isinstance(message, Invocation)
        assert message.invocation_id is not None
        completion = Completion(invocation_id=message.invocation_id, **members)
        await client.socket.send(client.codec.encode(completion).decode())

    (result, _) = await asyncio.gather(
        asking.invoke("add", 1, 2), answer(result=client.codec.encode_value({"sum": 3}))
    )
    assert result == {"sum": 3}
    with pytest.raises(ServiceError, match="no such method"):
        await asyncio.gather(asking.invoke("x"), answer(error="no such method"))
    with pytest.raises(ServiceError) as gone:
        await hub.clients.client("gone").invoke("x")
    assert gone.value.code == "Error.Connection.NotExisted"


async def test_a_client_is_sent_streams(service: Service, hub: HubContext) -> None:
    client = await service.connect("chat", "a")
    to = hub.clients.client(id_of(service, "a"))

    await to.send_stream_item("s", {"n": 1})
    await to.complete_stream("s")
    await to.send_stream_item("t", None, completed=True)
    await to.complete_stream("u", "it broke")

    messages = [await client.message() for _ in range(5)]
    assert [type(message) for message in messages[:2]] == [StreamItem, Completion]
    assert isinstance(messages[2], StreamItem)
    assert messages[3:] == [
        Completion(invocation_id="t"),
        Completion(invocation_id="u", error="it broke"),
    ]


async def test_commands_are_done_for_whom_a_filter_chooses(
    service: Service, hub: HubContext
) -> None:
    clients = await clients_of(service, "ab")

    await hub.execute("userId eq 'a'", JoinGroup("g"), SendMessage.of("hello", 1, {"x": None}))
    assert [each.group async for each in hub.client_manager.groups()] == ["g"]
    await hub.execute("'g' in groups", LeaveGroup("g"), CloseConnection("bye"))

    assert await clients["a"].call() == ("hello", [1, {"x": None}])
    assert (await clients["a"].end())[0] == Close(error="bye", allow_reconnect=True)
    assert [each.user_id async for each in hub.client_manager.users()] == ["b"]


async def test_a_negotiation_opens_a_connection_with_what_was_asked_for(
    service: Service, hub: HubContext
) -> None:
    negotiation = hub.negotiate(
        user_id="ann",
        claims={"role": ["a", "b"]},
        lifetime=60,
        detailed_errors=True,
        diagnostic=True,
        close_on_expiration=True,
    )

    client = await service.open(query={"hub": "chat", "access_token": negotiation.access_token})
    await client.handshake()

    access = service.only_connection().access
    assert (access.user_id, access.detailed_errors, access.is_diagnostic) == ("ann", True, True)
    assert access.closes_at is not None
    assert access.claims["role"] == ["a", "b"]
    assert negotiation.url == f"{service.url}/client/?hub=chat"


async def test_a_generated_token_opens_one_too(service: Service, hub: HubContext) -> None:
    token = await hub.generate_token(user_id="ann", minutes=1)

    client = await service.open(query={"hub": "chat", "access_token": token})
    await client.handshake()

    assert service.only_connection().user_id == "ann"


async def test_an_application_has_hubs_of_its_own(service: Service) -> None:
    async with ServiceClient(service.connection_string, application="Shop") as client:
        hub = client.hub("Chat")
        token = hub.negotiate(user_id="a").access_token
        inside = await service.open("shop_chat", query={"hub": "shop_chat", "access_token": token})
        await inside.handshake()

        await hub.clients.user("a").send("hello")

        assert await inside.call() == ("hello", [])
        assert await hub.client_manager.count_connections() == 1


async def test_health_is_told(service: Service) -> None:
    async with ServiceClient(service.connection_string) as client:
        assert await client.is_healthy() is True


@pytest.mark.parametrize(
    "act",
    [
        lambda hub: hub.clients.user(""),
        lambda hub: hub.clients.groups(["g", ""]),
        lambda hub: hub.clients.client(""),
    ],
)
def test_an_empty_name_is_refused_before_anything_is_sent(act: Any) -> None:
    hub = ServiceClient("Endpoint=http://localhost;AccessKey=" + "k" * 32).hub("chat")

    with pytest.raises(ValueError, match="Argument cannot be null or empty"):
        act(hub)


async def test_a_ttl_is_not_negative(hub: HubContext) -> None:
    with pytest.raises(ValueError, match=r"Ttl cannot be less than 0\."):
        await hub.user_groups.add("u", "g", -1)
    with pytest.raises(ValueError, match="Parameter 'group'"):
        await hub.groups.add("c", "")


def test_a_client_without_a_loop_can_be_closed_twice_and_says_that_it_is_closed() -> None:
    client = SyncServiceClient("Endpoint=http://localhost;AccessKey=" + "k" * 32)
    hub = client.hub("chat")
    client.close()
    client.close()

    with pytest.raises(RuntimeError, match="The client is closed"):
        hub.clients.all.send("t")
