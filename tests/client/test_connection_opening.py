"""How a hub client finds its server, proves who it is and picks a transport."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.client.scripted import (
    TRANSPORTS,
    ScriptedHub,
    connect,
    scripted_hub,
    serving,
    soon,
)

from hubbub.client import ConnectError, ConnectionLostError, HubClient, negotiation
from hubbub.client.negotiation import connect_url, negotiate_url
from hubbub.errors import ProtocolError
from hubbub.protocol.connection import HandshakeError


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


def authorization(request: web.Request) -> str | None:
    return request.headers.get("Authorization")


@pytest.mark.parametrize(
    ("url", "stateful", "asked"),
    [
        ("http://h/client/?hub=c", False, "http://h/client/negotiate?hub=c&negotiateVersion=1"),
        ("http://h/api", False, "http://h/api/negotiate?negotiateVersion=1"),
        ("http://h/?negotiateVersion=0", False, "http://h/negotiate?negotiateVersion=0"),
        (
            "http://h/chat",
            True,
            "http://h/chat/negotiate?negotiateVersion=1&useStatefulReconnect=true",
        ),
    ],
)
def test_negotiate_goes_between_path_and_query(url: str, stateful: bool, asked: str) -> None:
    assert negotiate_url(url, stateful=stateful) == asked


@pytest.mark.parametrize(
    ("url", "token", "connected"),
    [
        ("http://h/client/?hub=c", "t-_1", "http://h/client/?hub=c&id=t-_1"),
        ("http://h/chat", "a+b=", "http://h/chat?id=a%2Bb%3D"),
        ("http://h/chat", None, "http://h/chat"),
    ],
)
def test_the_connection_token_joins_the_query(url: str, token: str | None, connected: str) -> None:
    assert connect_url(url, token) == connected


async def test_a_client_negotiates_and_connects_with_the_token_it_was_given(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url + "?hub=chat", access_token="secret", headers={"X-Mine": "yes"})
    assert (client.state, client.connection_id) == ("Disconnected", None)

    peer = await connect(client, hub)

    (negotiation,) = hub.negotiations
    assert dict(negotiation.query) == {"hub": "chat", "negotiateVersion": "1"}
    assert dict(peer.request.query) == {"hub": "chat", "id": "token1"}
    for request in (negotiation, peer.request):
        assert authorization(request) == "Bearer secret"
        assert request.headers["X-Mine"] == "yes"
    assert (client.state, client.connection_id) == ("Connected", "id1")
    assert (peer.codec.name, peer.version) == ("json", 1)
    await client.close()
    assert (client.state, client.connection_id) == ("Disconnected", None)


async def test_in_version_zero_the_connection_id_is_the_token(hub: ScriptedHub) -> None:
    hub.negotiate = lambda _: {"connectionId": "both", "availableTransports": TRANSPORTS}
    client = HubClient(hub.url)

    peer = await connect(client, hub)

    assert peer.request.query["id"] == "both"
    assert client.connection_id == "both"
    await client.close()


async def test_a_redirect_is_followed_with_its_own_token(hub: ScriptedHub) -> None:
    tokens: list[str | None] = []

    def redirect(request: web.Request) -> dict[str, Any]:
        tokens.append(authorization(request))
        url = f"{hub.url}?hub=chat&asrs.op=%2Fchat"
        return {"url": url, "accessToken": "theirs", "availableTransports": []}

    async def redirect_http(request: web.Request) -> web.Response:
        return web.json_response(redirect(request))

    async with serving(lambda app: app.router.add_post("/api/negotiate", redirect_http)) as app:
        client = HubClient(f"{app}/api", access_token=lambda: "mine")
        peer = await connect(client, hub)

        assert tokens == ["Bearer mine"]
        (negotiation,) = hub.negotiations
        assert authorization(negotiation) == authorization(peer.request) == "Bearer theirs"
        assert negotiation.query["asrs.op"] == peer.request.query["asrs.op"] == "/chat"
        await client.close()


async def test_redirects_that_do_not_end_are_given_up(hub: ScriptedHub) -> None:
    hub.negotiate = lambda _: {"url": hub.url}

    with pytest.raises(ConnectError, match="redirection limit exceeded"):
        await soon(HubClient(hub.url).open())

    assert len(hub.negotiations) == 100


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        ({"error": "No room."}, ConnectError, "refused to negotiate: No room."),
        ({"ProtocolVersion": "1.5", "Url": "/signalr"}, ProtocolError, "ASP.NET SignalR Server"),
        ({"url": "nonsense:"}, ConnectError, "cannot be reached"),
        ({"availableTransports": "all"}, ProtocolError, "not a negotiate response"),
        ([], ProtocolError, "not a negotiate response"),
        ({}, ConnectError, "with any of the available transports"),
    ],
)
async def test_a_negotiation_that_fails_is_explained(
    hub: ScriptedHub, answer: Any, kind: type[Exception], text: str
) -> None:
    hub.negotiate = lambda _: answer if answer != [] else web.Response(text="<html>")
    client = HubClient(hub.url + "?access_token=secret")

    with pytest.raises(kind, match=text) as failure:
        await soon(client.open())

    assert "secret" not in str(failure.value)
    assert client.state == "Disconnected"


@pytest.mark.parametrize(
    ("status", "text"), [(401, "expired"), (404, "no hub's endpoint"), (500, "answered 500")]
)
async def test_a_refused_negotiation_says_what_to_look_at(
    hub: ScriptedHub, status: int, text: str
) -> None:
    hub.negotiate = lambda _: web.Response(status=status)

    with pytest.raises(ConnectError, match=text) as failure:
        await soon(HubClient(hub.url).open())

    assert failure.value.status == status


async def test_a_negotiation_whose_answer_does_not_end_is_given_up(
    hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negotiation, "REQUEST_TIMEOUT", 0.01)
    ended = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"connectionId"'
        await ended.wait()

    hub.negotiate = lambda _: web.Response(body=body())

    with pytest.raises(ConnectError, match="/hub/negotiate did not answer in time"):
        await soon(HubClient(hub.url).open())
    ended.set()


async def test_a_server_that_is_not_there_is_named() -> None:
    async with serving(lambda _: None) as gone:
        pass

    with pytest.raises(ConnectError, match=f"{gone}/hub/negotiate cannot be reached"):
        await soon(HubClient(f"{gone}/hub").open())


async def test_an_async_token_factory_is_asked_for_every_negotiation(hub: ScriptedHub) -> None:
    tokens = iter(("one", "two"))

    async def token() -> str:
        return next(tokens)

    client = HubClient(hub.url, access_token=token)
    for expected in ("Bearer one", "Bearer two"):
        peer = await connect(client, hub)
        assert authorization(hub.negotiations[-1]) == authorization(peer.request) == expected
        await client.close()


async def test_a_token_that_is_refused_is_renewed_once(hub: ScriptedHub) -> None:
    tokens = iter(("old", "new", "newer"))
    hub.negotiate = lambda request: (
        hub.offer(request) if authorization(request) != "Bearer old" else web.Response(status=401)
    )
    hub.refusals = [401]
    client = HubClient(hub.url, access_token=lambda: next(tokens))

    peer = await connect(client, hub)

    assert [authorization(one) for one in hub.negotiations] == ["Bearer old", "Bearer new"]
    assert authorization(peer.request) == "Bearer newer"
    await client.close()


async def test_a_token_factory_that_fails_is_named(hub: ScriptedHub) -> None:
    def token() -> str:
        raise KeyError("vault")

    with pytest.raises(ConnectError, match="access token could not be had: 'vault'"):
        await soon(HubClient(hub.url, access_token=token).open())


async def test_without_negotiation_the_socket_is_opened_at_once(hub: ScriptedHub) -> None:
    url = hub.url.replace("http://", "ws://")
    client = HubClient(url, access_token=lambda: "mine", skip_negotiation=True)

    peer = await connect(client, hub)

    assert hub.negotiations == []
    assert authorization(peer.request) == "Bearer mine"
    assert "id" not in peer.request.query
    assert (client.state, client.connection_id) == ("Connected", None)
    await client.close()


async def test_a_transport_that_fails_is_followed_by_the_next_on_a_new_connection(
    hub: ScriptedHub,
) -> None:
    sockets = TRANSPORTS[0]
    unknown = {"transport": "CarrierPigeon", "transferFormats": ["Text"]}
    hub.negotiate = lambda request: {
        **_dict(hub.offer(request)),
        "availableTransports": [unknown, sockets, sockets],
    }
    hub.refusals = [503]
    client = HubClient(hub.url)

    peer = await connect(client, hub)

    assert peer.request.query["id"] == "token2"
    assert client.connection_id == "id2"
    await client.close()


async def test_what_became_of_each_transport_is_told(hub: ScriptedHub) -> None:
    offers = [{"transport": "CarrierPigeon", "transferFormats": ["Text"]}, *TRANSPORTS]
    hub.negotiate = lambda request: {**_dict(hub.offer(request)), "availableTransports": offers}
    hub.refusals = [404]
    client = HubClient(hub.url, transport="WebSockets")

    with pytest.raises(ConnectError) as failure:
        await soon(client.open())

    text = str(failure.value)
    assert "CarrierPigeon failed: it is not supported by this client." in text
    assert "WebSockets failed: " in text
    assert "with several servers check that requests of one client reach the same one" in text
    assert "LongPolling failed: it is disabled by the client." in text


async def test_messagepack_passes_over_transports_that_carry_text_alone(hub: ScriptedHub) -> None:
    hub.negotiate = lambda request: {
        **_dict(hub.offer(request)),
        "availableTransports": TRANSPORTS[1::-1],
    }
    client = HubClient(hub.url, encoding="messagepack")

    peer = await connect(client, hub)

    assert peer.codec.name == "messagepack"
    assert len(hub.negotiations) == 1
    await client.close()


async def test_a_handshake_that_is_refused_fails_the_opening_with_the_servers_words(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url)
    opening = asyncio.create_task(client.open())
    peer = await hub.accept()
    await peer.handshake(b'{"error":"No such protocol."}\x1e')
    await peer.close()

    with pytest.raises(HandshakeError, match=r"handshake error: No such protocol\."):
        await soon(opening)

    assert client.state == "Disconnected"


async def test_a_server_that_does_not_answer_the_handshake_is_left(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, handshake_timeout=0.01)
    opening = asyncio.create_task(client.open())
    await hub.accept()

    with pytest.raises(ConnectionLostError, match=r"handshake within 0\.01 seconds"):
        await soon(opening)


async def test_closing_a_client_that_is_still_connecting_ends_the_opening(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url)
    opening = asyncio.create_task(client.open())
    peer = await hub.accept()
    assert client.state == "Connecting"

    await client.close()

    with pytest.raises(ConnectionLostError, match="closed while it connected"):
        await soon(opening)
    assert client.state == "Disconnected"
    while await peer.frame() is not None:
        pass


async def test_an_opening_that_is_cancelled_leaves_nothing_behind(hub: ScriptedHub) -> None:
    before = asyncio.all_tasks()
    client = HubClient(hub.url)
    opening = asyncio.create_task(client.open())
    peer = await hub.accept()

    opening.cancel()
    await soon(asyncio.wait((opening,)))

    assert opening.cancelled()
    assert client.state == "Disconnected"
    while await peer.frame() is not None:
        pass
    peer.ended.set()
    mine = {task for task in asyncio.all_tasks() - before if "hubbub" in task.get_name()}
    assert mine == set()


async def test_a_client_cannot_be_opened_twice_and_can_be_opened_again(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    await connect(client, hub)

    with pytest.raises(RuntimeError, match="is connected; close it"):
        await client.open()
    await client.close()
    await connect(client, hub)

    assert client.connection_id == "id2"
    await client.close()
    await client.close()


def _dict(answer: Any) -> dict[str, Any]:
    assert isinstance(answer, dict)
    return answer
