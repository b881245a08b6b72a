"""How a hub client is closed: by the app, by a handler, by the hub."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.client.scripted import Events, ScriptedHub, connect, leave, scripted_hub, soon

from hubbub.client import Backoff, ConnectionLostError, HubClient, ServerClosedError
from hubbub.protocol.messages import Close

AT_ONCE = Backoff(delays=(0,))


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


async def send_until_it_fails(client: HubClient) -> None:
    while True:
        await client.send("more")


@pytest.mark.parametrize("reconnect", [AT_ONCE, None], ids=["reconnecting", "not reconnecting"])
async def test_a_close_without_leave_to_reconnect_is_final(
    hub: ScriptedHub, reconnect: Backoff | None
) -> None:
    client = HubClient(hub.url, reconnect=reconnect)
    events = Events(client)
    called: list[int] = []
    client.on("last")(called.append)
    peer = await connect(client, hub)

    await peer.call("last", 1)
    await leave(peer, Close(error="You are banned."))

    what, error = await events.next()
    assert (what, called, client.state) == ("closed", [1], "Disconnected")
    assert isinstance(error, ServerClosedError)
    assert (error.error, error.allow_reconnect) == ("You are banned.", False)
    with pytest.raises(ServerClosedError, match="You are banned"):
        await client.wait_closed()
    await client.close()
    assert len(events) == 0


async def test_a_close_without_error_is_no_error(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    events = Events(client)
    peer = await connect(client, hub)

    await leave(peer, Close())

    await soon(client.wait_closed())
    assert await events.next() == ("closed", None)


async def test_without_a_policy_a_lost_connection_stays_lost(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=None)
    events = Events(client)

    (await connect(client, hub)).cut()

    what, error = await events.next()
    assert (what, type(error)) == ("closed", ConnectionLostError)
    assert len(hub.negotiations) == 1


async def test_a_close_that_comes_while_sending_fails_is_still_heard(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    events = Events(client)
    peer = await connect(client, hub)

    await peer.send(Close(error="final"))
    peer.cut()
    with pytest.raises(ConnectionLostError):
        await send_until_it_fails(client)

    what, error = await events.next()
    assert (what, str(error)) == ("closed", "Server returned an error on close: final")


async def test_a_client_that_closes_says_so(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    closing = asyncio.create_task(client.close())

    assert await peer.message() == Close()
    await peer.send(Close())
    assert await peer.message() is None
    await soon(closing)
    assert client.state == "Disconnected"


async def test_a_closed_client_leaves_no_task(hub: ScriptedHub) -> None:
    before = asyncio.all_tasks()
    client = HubClient(hub.url, reconnect=AT_ONCE)
    await connect(client, hub)

    await client.close()

    mine = {task for task in asyncio.all_tasks() - before if "hubbub" in task.get_name()}
    assert mine == set()


async def test_closing_a_client_that_is_just_ending_waits_for_the_end(
    hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = HubClient(hub.url, reconnect=None)
    events = Events(client)
    ending, may_end = asyncio.Event(), asyncio.Event()
    close_http = aiohttp.ClientSession.close

    async def slow_close(http: aiohttp.ClientSession) -> None:
        ending.set()
        await may_end.wait()
        await close_http(http)

    monkeypatch.setattr(aiohttp.ClientSession, "close", slow_close)
    (await connect(client, hub)).cut()
    await soon(ending.wait())
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    may_end.set()

    await soon(closing)
    what, error = await events.next()
    assert (what, client.state) == ("closed", "Disconnected")
    assert isinstance(error, ConnectionLostError)


async def test_closing_cancels_the_handler_that_runs_and_drops_those_that_wait(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url)
    events = Events(client)
    running = asyncio.Event()
    calls: list[str] = []

    @client.on("work")
    async def work() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.append("cancelled")

    client.on("more")(lambda: calls.append("more"))
    peer = await connect(client, hub)
    await peer.call("work")
    await peer.call("more")
    await soon(running.wait())

    await soon(client.close())

    assert calls == ["cancelled"]
    assert await events.next() == ("closed", None)


async def test_a_handler_may_close_its_client(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    events = Events(client)
    calls: list[str] = []

    @client.on("stop")
    async def stop() -> None:
        await client.close()
        await asyncio.sleep(0)
        calls.append("stopped")

    client.on("more")(lambda: calls.append("more"))
    peer = await connect(client, hub)
    await peer.call("stop")
    await peer.call("more")

    assert await peer.message() == Close()
    assert await events.next() == ("closed", None)
    assert calls == ["stopped"]
    assert client.state == "Disconnected"
    assert len(hub.negotiations) == 1


async def test_a_client_that_a_handler_has_closed_does_not_come_back(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    events = Events(client)

    @client.on("stop")
    async def stop() -> None:
        await client.close()
        while client.state != "Disconnected" and len(hub.negotiations) == 1:  # noqa: ASYNC110
            await asyncio.sleep(0)  # the handlers that are told come after this one

    peer = await connect(client, hub)
    await peer.call("stop")
    assert await peer.message() == Close()
    peer.cut()

    assert await events.next() == ("closed", None)
    assert len(hub.negotiations) == 1


async def test_a_handler_for_reconnecting_may_close_its_client(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=Backoff(delays=(3600,)))
    events = Events(client)

    @client.on_reconnecting
    async def stop(error: Exception) -> None:
        await client.close()

    (await connect(client, hub)).cut()

    assert (await events.next())[0] == "reconnecting"
    assert await events.next() == ("closed", None)


async def test_a_handler_for_the_end_may_open_its_client_again(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=None)
    opened = asyncio.Event()

    @client.on_closed
    async def again(error: Exception | None) -> None:
        if not opened.is_set():
            await client.open()
            opened.set()

    (await connect(client, hub)).cut()
    peer = await hub.connected()
    await soon(opened.wait())

    await client.send("hello")
    assert (await peer.invocation())[0] == "hello"
    await client.close()


async def test_a_handler_for_reconnected_may_ask_the_hub(hub: ScriptedHub) -> None:
    client = HubClient(hub.url, reconnect=AT_ONCE)
    answers: asyncio.Queue[Any] = asyncio.Queue()

    @client.on_reconnected
    async def join(connection_id: str) -> None:
        answers.put_nowait(await client.invoke("join", connection_id))

    (await connect(client, hub)).cut()
    peer = await hub.connected()
    target, arguments, invocation_id = await peer.invocation()
    await peer.complete(invocation_id, "joined")

    assert (target, arguments) == ("join", ["id2"])
    assert await soon(answers.get()) == "joined"
    await client.close()
