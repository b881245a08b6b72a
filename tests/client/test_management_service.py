"""The management client and a real service: what is sent arrives, what is negotiated connects."""

from collections.abc import AsyncIterator

import pytest
from tests.client.recording import KEY
from tests.protocol.signing import payload_of
from tests.service.running import Client, Service
from websockets.asyncio.client import connect

from hubbub.client.management import HubContext, ServiceClient
from hubbub.errors import ServiceError
from hubbub.protocol.endpoints import format_connection_string
from hubbub.protocol.tokens import TokenError, check_client_audience, check_rest_audience


@pytest.fixture
async def chat(service: Service) -> AsyncIterator[HubContext]:
    """The hub Chat of a real service."""
    async with ServiceClient(service.connection_string) as client:
        yield client.hub("Chat")


def test_negotiation_needs_no_service() -> None:
    hub = ServiceClient(f"Endpoint=https://aaa:8443;AccessKey={KEY}").hub("Chat")
    negotiation = hub.negotiate(
        user_id="ann", claims=[("role", "a"), ("role", "b"), ("iss", "x")], lifetime=60
    )
    claims = payload_of(negotiation.access_token)
    assert negotiation.url == "https://aaa:8443/client/?hub=chat"
    assert claims["aud"] == "https://aaa/client/?hub=chat"
    assert claims["asrs.s.uid"] == "ann"
    assert (claims["role"], claims["asrs.u.iss"]) == (["a", "b"], "x")
    assert claims["exp"] - claims["nbf"] == 60
    check_client_audience(claims, "chat")
    with pytest.raises(TokenError, match="is invalid"):
        check_rest_audience(claims, "/api/hubs/chat")


async def test_what_negotiation_gives_opens_a_connection(
    service: Service, chat: HubContext
) -> None:
    negotiation = chat.negotiate(user_id="ann")
    async with connect(
        negotiation.url.replace("http://", "ws://"),
        additional_headers={"Authorization": f"Bearer {negotiation.access_token}"},
        compression=None,
        proxy=None,
    ) as opened:
        client = Client(opened)
        assert await client.handshake() == b"{}\x1e"
        await chat.clients.user("ann").send("hello", {"a": [1, None, "é"]})
        assert await client.call() == ("hello", [{"a": [1, None, "é"]}])


async def test_a_send_reaches_whom_it_is_for(service: Service, chat: HubContext) -> None:
    user = "a/b é%"
    client = await service.connect(user=user)
    (negotiated, connection_id) = await service.connect_negotiated()
    await chat.groups.add(connection_id, "g/1 é")

    await chat.clients.all.send("all", 1)
    await chat.clients.user(user).send("user", 2)
    await chat.clients.group("g/1 é").send("group", 3)
    await chat.clients.client(connection_id).send("connection", 4)
    await chat.clients.all_except([connection_id]).send("others", 5)
    await chat.clients.group_except("g/1 é", [connection_id]).send("nobody", 6)
    await chat.clients.all.send("end")

    assert await client.calls(4) == [("all", [1]), ("user", [2]), ("others", [5]), ("end", [])]
    assert await negotiated.calls(4) == [
        ("all", [1]),
        ("group", [3]),
        ("connection", [4]),
        ("end", []),
    ]


async def test_a_connection_joins_and_leaves_groups(service: Service, chat: HubContext) -> None:
    client, connection_id = await service.connect_negotiated()
    for group in ("a", "b", "c"):
        await chat.groups.add(connection_id, group)
    await chat.groups.remove(connection_id, "a")
    await send_to_groups(chat, "first")
    await chat.groups.remove_all(connection_id)
    await send_to_groups(chat, "second")
    await chat.clients.all.send("end")
    assert await client.calls(3) == [("first", ["b"]), ("first", ["c"]), ("end", [])]


async def send_to_groups(chat: HubContext, target: str) -> None:
    for group in ("a", "b", "c"):
        await chat.clients.group(group).send(target, group)


async def test_a_user_joins_and_leaves_groups_with_all_connections(
    service: Service, chat: HubContext
) -> None:
    early = await service.connect(user="ann")
    for group in ("a", "b", "c"):
        await chat.user_groups.add("ann", group)
    late = await service.connect(user="ann")
    await chat.user_groups.remove("ann", "a")
    await send_to_groups(chat, "first")
    await chat.user_groups.remove_all("ann")
    await send_to_groups(chat, "second")
    await chat.clients.all.send("end")
    for client in (early, late):
        assert await client.calls(3) == [("first", ["b"]), ("first", ["c"]), ("end", [])]


async def test_a_connection_that_is_gone_is_no_error_of_the_service(
    service: Service, chat: HubContext
) -> None:
    await chat.groups.add("gone", "g")
    await chat.groups.remove("gone", "g")
    await chat.clients.client("gone").send("t")


async def test_a_key_that_is_not_the_services_is_explained(service: Service) -> None:
    async with ServiceClient(format_connection_string(service.url, KEY)) as client:
        with pytest.raises(ServiceError) as caught:
            await client.hub("chat").clients.all.send("t")
    assert caught.value.status == 401
    assert "The signature key was not found" in str(caught.value)


async def test_a_call_that_the_service_refuses_is_explained(service: Service) -> None:
    async with ServiceClient(service.connection_string) as client:
        with pytest.raises(ServiceError, match="Invalid hub name") as caught:
            await client.hub("not a hub").clients.all.send("t")
        assert caught.value.status == 400
        with pytest.raises(ServiceError, match="The Target field is required") as caught:
            await client.hub("chat").clients.all.send("")
        assert caught.value.status == 400
