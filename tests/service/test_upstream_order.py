"""In which order events reach an app, how many at once, and what a client that floods it gets."""

import asyncio
from collections import defaultdict

import pytest
from aiohttp import web
from tests.service.running import Client
from tests.service.upstream_app import (
    Received,
    completion,
    echo,
    invoke,
    result,
    until,
    until_full,
    until_idle,
    upstream,
)

from hubbub.protocol.messages import Close, Invocation
from hubbub.service.session import State
from hubbub.service.upstream.inbox import Ended, Inbox, Opened


async def test_one_connection_is_served_strictly_in_order() -> None:
    under_way: set[str] = set()

    async def answer(received: Received) -> web.StreamResponse:
        assert not under_way, "the next may not be sent before the app has answered"
        under_way.add(received.event)
        await asyncio.sleep(0)
        under_way.clear()
        return await echo(received)

    async with upstream(answer) as (service, app):
        client = await service.connect()
        for number in range(20):
            await invoke(client, f"call {number}", number, id_=str(number))
        answers = [(await completion(client)).invocation_id for _ in range(20)]
        await client.socket.close()

    events = [request.event for request in app.received]
    assert answers == [str(number) for number in range(20)]
    assert events == ["connected", *(f"call {number}" for number in range(20)), "disconnected"]


async def test_what_was_said_while_connected_is_under_way_waits_for_it() -> None:
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        if received.event == "connected":
            await gate.wait()
        return await echo(received)

    async with upstream(answer) as (service, app):
        client = await service.connect()
        await invoke(client, "early", id_=None)
        await client.socket.close()
        await app.next()
        assert len(app.received) == 1
        gate.set()

        assert await app.next_events(2) == ["early", "disconnected"]


async def test_connections_do_not_wait_for_each_other() -> None:
    gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def answer(received: Received) -> web.StreamResponse:
        if received.event == "wait":
            await gates["wait"].wait()
        return await echo(received)

    async with upstream(answer) as (service, _app):
        slow, quick = await service.connect(), await service.connect()
        await invoke(slow, "wait")
        assert await result(quick, "hello") == []
        gates["wait"].set()
        assert (await completion(slow)).error is None


async def test_no_more_requests_are_under_way_than_allowed() -> None:
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        await gate.wait()
        return await echo(received)

    async with upstream(answer, max_upstream_deliveries=2) as (service, app):
        clients = [await service.connect() for _ in range(5)]
        await app.next_events(2)
        upstream_ = service.node.upstream
        assert (upstream_.under_way, len(app.received)) == (2, 2)
        gate.set()

        assert [await result(client, "hello") for client in clients] == [[]] * 5


async def test_a_client_that_floods_its_app_is_not_listened_to_until_there_is_room() -> None:
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        if received.event != "connected":
            await gate.wait()
        return await echo(received)

    async with upstream(answer, max_upstream_backlog=4) as (service, app):
        client = await service.connect()
        await app.next()
        flood = asyncio.create_task(_flood(client, 1000, size=10_000))
        await app.next()
        connection = service.only_connection()
        await until_full(connection)
        waiting = repr(connection.inbox)
        assert connection.inbox is not None
        assert connection.inbox.is_full
        gate.set()
        answers = [(await completion(client)).invocation_id for _ in range(1000)]
        await flood

    assert answers == [str(number) for number in range(1000)]
    # One read of the socket is all that goes past the limit.
    assert int(waiting.removeprefix("Inbox(").partition(",")[0]) < 100


async def _flood(client: Client, count: int, size: int) -> None:
    for number in range(count):
        await invoke(client, "flood", "x" * size, id_=str(number))


async def test_a_post_waits_while_the_inbox_is_full() -> None:
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        if received.event == "blocked":
            await gate.wait()
        return await echo(received)

    async with upstream(answer, max_upstream_backlog=1) as (service, app):
        negotiated = await service.negotiate()
        path = f"/client/?hub=chat&id={negotiated['connectionToken']}"
        token = service.token()

        async def post(record: str) -> int:
            answered = await service.request("POST", path, token=token, body=record.encode())
            return answered.status

        await service.request("GET", path, token=token)
        poll = asyncio.create_task(service.request("GET", path, token=token))
        await post('{"protocol":"json","version":1}\x1e')
        assert (await poll).body == b"{}\x1e"
        await app.next()
        await post('{"type":1,"target":"blocked","arguments":[]}\x1e')
        await app.next()
        waiting = asyncio.create_task(post('{"type":1,"target":"second","arguments":[]}\x1e'))
        connection = service.only_connection()
        assert connection.inbox is not None
        inbox = connection.inbox
        await until(lambda: bool(inbox._waiting))
        assert not waiting.done()
        gate.set()

        assert await waiting == 200
        assert (await app.next()).event == "second"


async def test_a_client_whose_call_is_under_way_does_not_time_out() -> None:
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        if received.event == "slow":
            await gate.wait()
        return await echo(received)

    async with upstream(answer) as (service, app):
        client = await service.connect()
        await app.next()
        await invoke(client, "slow")
        await app.next()
        connection = service.only_connection()
        later = connection.received_at + 1000
        connection.tick(later)
        assert connection.state is State.OPEN
        connection.received_at -= 1000  # nothing could be heard from it for so long
        gate.set()
        await completion(client)
        await until_idle(connection)
        connection.tick(asyncio.get_running_loop().time())
        assert connection.state is State.OPEN
        connection.tick(later)
        close, _code = await client.end()

    assert close is not None
    assert "ClientTimeoutInterval" in str(close.error)


async def test_a_connection_has_no_inbox_and_no_task_while_nothing_is_under_way() -> None:
    async with upstream() as (service, _app):
        client = await service.connect()
        await result(client, "hello")
        connection = service.only_connection()
        await until_idle(connection)

        assert repr(service.node.upstream) == (
            "Upstream(templates=1, connections=0, under_way=0, streams=0)"
        )


async def test_a_delivery_that_fails_in_an_unforeseen_way_costs_one_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with upstream() as (service, _app):
        client = await service.connect()
        assert await result(client, "first") == []
        courier = service.node.upstream.courier
        deliver = courier.deliver

        async def broken(*_: object) -> object:
            raise RuntimeError("unforeseen")

        courier.deliver = broken  # type: ignore[method-assign, assignment]
        assert await result(client, "second") == "Invocation failed, status code 500"
        courier.deliver = deliver  # type: ignore[method-assign]

        assert await result(client, "third") == []
    assert "a delivery failed" in caplog.text


async def test_a_client_that_leaves_is_let_go_at_once_while_its_calls_are_still_delivered() -> None:
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        await gate.wait()
        return await echo(received)

    # Only a client that is listened to can answer the close frame before the socket is cut.
    async with upstream(answer, max_upstream_backlog=2, close_timeout=60) as (service, app):
        client = await service.connect()
        for number in range(5):
            await invoke(client, f"call {number}", id_=None)
        connection = service.only_connection()
        await until_full(connection)
        connection.close(Close())
        await client.end()
        await until(lambda: "connections=0" in repr(service.node))
        gate.set()

        assert (await app.next_events(7))[-1] == "disconnected"


async def test_a_service_that_ends_says_how_many_events_the_app_has_not_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        await gate.wait()
        return await echo(received)

    async with upstream(answer) as (service, app):
        for _ in range(2):
            client = await service.connect()
            await invoke(client, "call", id_=None)
            await app.next()
        inboxes = [connection.inbox for connection in service.hub().connections]
        await until(lambda: [inbox and len(inbox) for inbox in inboxes] == [2, 2])
        await service.node.upstream.close()
        gate.set()
        await service.node.upstream.close()

    texts = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert texts == ["upstream: the service ends before the app has answered 4 of its events"]


def test_an_inbox_is_full_by_number_or_by_bytes() -> None:
    told = []
    few, large = Inbox(2, 10**6), Inbox(100, 1000)
    for inbox in (few, large):
        inbox.put(Opened())
        assert not inbox.is_full
    few.put(Ended(None))
    large.put(Invocation(target="t", arguments=b"x" * 1000))  # type: ignore[arg-type]
    for inbox in (few, large):
        assert inbox.is_full
        inbox.when_room(lambda: told.append(1))
        inbox.drop_first()
    assert not few.is_full
    assert large.is_full
    assert len(told) == 1

    large.drop_first()
    assert len(told) == 2
    assert repr(large) == "Inbox(0, bytes=0, full=False)"
