"""Stateful reconnect of a hub client: a transport breaks, the connection goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.client.scripted import Peer, ScriptedHub, connect, scripted_hub, soon

from hubbub.client import Backoff, ConnectionLostError, HubClient, session
from hubbub.protocol.codec import JSON
from hubbub.protocol.messages import Ack, Close, Completion, Invocation, Sequence

AT_ONCE = Backoff(delays=(0,))
ENCODINGS = ["json", "messagepack"]


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_RESUME_DELAYS", (0, 0, 0))


async def resumed(hub: ScriptedHub, before: Peer) -> Peer:
    """The hub's end of the client's next transport."""
    peer = await hub.accept()
    peer.go_on(before)
    return peer


async def test_a_broken_transport_is_replaced_and_what_the_hub_may_have_missed_said_again(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    events: list[str] = []
    client.on_reconnecting(lambda _: events.append("reconnecting"))
    first = await connect(client, hub)
    assert hub.negotiations[0].query["useStatefulReconnect"] == "true"
    assert first.version == 2

    for number in (1, 2, 3):
        await client.send("say", number)
        await first.invocation()
    await first.send(Ack(1))
    await first.call("nothing")
    first.cut()
    second = await resumed(hub, first)

    assert second.request.query["id"] == first.request.query["id"]
    assert await second.message() == Sequence(2)
    assert [(await second.invocation())[1] for _ in range(2)] == [[2], [3]]
    await client.send("say", 4)
    assert (await second.invocation())[1] == [4]
    assert (events, client.state, client.connection_id) == ([], "Connected", "id1")
    assert len(hub.negotiations) == 1
    await client.close()


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_what_the_hub_says_again_is_not_heard_again(hub: ScriptedHub, encoding: Any) -> None:
    client = HubClient(hub.url, stateful=True, encoding=encoding, reconnect=AT_ONCE)
    heard: asyncio.Queue[int] = asyncio.Queue()
    client.on("say")(heard.put_nowait)
    first = await connect(client, hub)
    for number in (1, 2):
        await first.call("say", number)
        assert await soon(heard.get()) == number

    first.cut()
    second = await resumed(hub, first)
    await second.call("say", "before the sequence")
    await second.send(Sequence(2))
    for number in (2, 3):
        await second.call("say", number)

    assert await soon(heard.get()) == 3
    await client.close()


async def test_an_invocation_gets_its_answer_on_the_next_transport(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    first = await connect(client, hub)
    asked = asyncio.create_task(client.invoke("add", 1, 2))
    _, _, invocation_id = await first.invocation()

    first.cut()
    second = await resumed(hub, first)
    await second.send(Sequence(1))
    await second.complete(invocation_id, 3)

    assert await soon(asked) == 3
    await client.close()


async def test_what_is_sent_while_there_is_no_transport_goes_out_on_the_next(
    hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_RESUME_DELAYS", (3600,))
    sleeping = asyncio.Event()
    wake = asyncio.Event()

    class Clock:
        """Stands for the time between two attempts."""

        @staticmethod
        async def sleep(_: float) -> None:
            sleeping.set()
            await wake.wait()

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

    monkeypatch.setattr(session, "asyncio", Clock())
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    first = await connect(client, hub)
    first.cut()
    await soon(sleeping.wait())

    await client.send("say", 1)
    await client.send("say", 2)
    wake.set()
    second = await resumed(hub, first)

    assert await second.message() == Sequence(1)
    assert [(await second.invocation())[1] for _ in range(2)] == [[1], [2]]
    await client.close()


async def test_what_arrives_is_acknowledged(
    hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ACK_INTERVAL", 0.01)
    client = HubClient(hub.url, stateful=True)
    peer = await connect(client, hub)

    await peer.call("a")
    await peer.send(Ack(0))
    assert await peer.message() == Ack(1)
    nothing = Invocation(target="b", arguments=JSON.encode_value([]))
    await peer.send(nothing, nothing)
    assert await peer.message() == Ack(3)
    await client.close()


async def test_a_client_waits_for_the_hub_to_acknowledge_what_is_kept_for_it(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    peer = await connect(client, hub)
    await client.send("say", "x" * 100_000)
    waiting = asyncio.create_task(client.send("more"))
    assert (await peer.invocation())[0] == "say"
    assert not waiting.done()

    await peer.send(Ack(1))

    await soon(waiting)
    assert (await peer.invocation())[0] == "more"
    await client.send("say", "x" * 100_000)
    lost = asyncio.create_task(client.send("more"))
    await peer.send(Close())
    with pytest.raises(ConnectionLostError):
        await soon(lost)
    await client.close()


async def test_attempts_that_meet_no_answer_are_repeated(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    first = await connect(client, hub)

    hub.refusals = [0, 0]
    first.cut()
    second = await resumed(hub, first)

    assert await second.message() == Sequence(1)
    assert len(hub.negotiations) == 1
    await client.close()


@pytest.mark.parametrize("status", [404, 0], ids=["unknown there", "no answer"])
async def test_a_connection_that_cannot_be_resumed_is_lost_and_made_anew(
    hub: ScriptedHub, status: int
) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    reconnected = asyncio.Event()
    client.on_reconnected(lambda _: reconnected.set())
    first = await connect(client, hub)
    asked = asyncio.create_task(client.invoke("add"))
    await first.invocation()

    hub.gone["token1"] = status
    first.cut()
    second = await hub.connected()

    with pytest.raises(ConnectionLostError, match="status code: 1006"):
        await soon(asked)
    assert second.request.query["id"] == "token2"
    # A server that has spoken is not asked again.
    assert (hub.refused == 1) == (status == 404)
    await soon(reconnected.wait())
    await client.send("hello")
    assert (await second.invocation())[0] == "hello"
    await client.close()


async def test_a_close_message_ends_a_stateful_connection_too(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    first = await connect(client, hub)

    await first.send(Close(allow_reconnect=True))
    await first.close()
    second = await hub.connected()

    assert second.request.query["id"] == "token2"
    await client.close()


async def test_a_gap_in_what_the_hub_says_is_not_resumed(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    first = await connect(client, hub)
    first.cut()
    second = await resumed(hub, first)

    await second.send(Sequence(5))
    await second.close()
    third = await hub.connected()

    assert third.request.query["id"] == "token2"
    await client.close()


async def test_a_server_that_does_not_agree_is_spoken_to_as_usual(hub: ScriptedHub) -> None:
    def offer(request: Any) -> dict[str, Any]:
        answer = hub.offer(request)
        assert isinstance(answer, dict)
        return {**answer, "useStatefulReconnect": False}

    hub.negotiate = offer
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)

    peer = await connect(client, hub)

    assert peer.version == 1
    peer.cut()
    assert (await hub.connected()).request.query["id"] == "token2"
    await client.close()


async def test_results_and_streams_are_kept_as_well(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, stateful=True, reconnect=AT_ONCE)
    client.on("ask")(lambda: 1)
    first = await connect(client, hub)
    await first.call("ask", invocation_id="7")
    completion = await first.message()
    assert isinstance(completion, Completion)

    first.cut()
    second = await resumed(hub, first)

    assert [await second.message(), await second.message()] == [Sequence(1), completion]
    await client.close()
