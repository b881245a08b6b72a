"""Long polling: what each poll, post and delete is answered with."""

import asyncio
import json
from typing import Any

import pytest
from tests.service.conftest import Start
from tests.service.fakes import FakeTransport, access_of
from tests.service.running import Answer, HttpClient, Service

from hubbub.protocol.codec import MESSAGEPACK
from hubbub.protocol.messages import Completion, Invocation
from hubbub.service.node import Node
from hubbub.service.session import Connection
from hubbub.service.settings import ServiceSettings
from hubbub.service.transports.longpolling import LongPolling

UNKNOWN = (404, "No Connection with that ID")


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.text


def records(answer: Answer) -> list[Any]:
    """The messages of an answer."""
    return [json.loads(record) for record in answer.body.split(b"\x1e")[:-1]]


async def waiting(service: Service, client: HttpClient) -> asyncio.Task[Answer]:
    """A poll that the service has begun to answer."""
    transport = transport_of(service, client)
    before = transport._polls
    poll = asyncio.ensure_future(client.poll())
    while transport._polls == before:  # noqa: ASYNC110  the service says so nowhere else
        await asyncio.sleep(0)
    return poll


def transport_of(service: Service, client: HttpClient) -> LongPolling:
    connection = service.hub().connections.find(client.id)
    assert connection is not None
    assert isinstance(connection.transport, LongPolling)
    return connection.transport


async def test_a_poll_is_answered_with_all_that_came_since_the_last(service: Service) -> None:
    client = await service.polling()
    for target in "abc":
        await service.send(target, 1)

    answer = await client.poll()

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    assert answer.headers["Cache-Control"] == "no-cache, no-store"
    assert [record["target"] for record in records(answer)] == ["a", "b", "c"]


async def test_a_poll_that_waits_is_answered_as_soon_as_there_is_something(
    service: Service,
) -> None:
    client = await service.polling()
    poll = await waiting(service, client)
    await service.send("now")
    assert [record["target"] for record in records(await poll)] == ["now"]


async def test_a_poll_that_another_displaces_is_204_and_the_other_gets_the_messages(
    service: Service,
) -> None:
    client = await service.polling()
    first = await waiting(service, client)
    second = await waiting(service, client)

    displaced = await first
    await service.send("t")

    assert said(displaced) == (204, "")
    assert [record["target"] for record in records(await second)] == ["t"]


async def test_a_poll_to_which_nothing_is_said_is_an_empty_200(start: Start) -> None:
    service = await start(poll_timeout=0)
    client = await service.http_client()
    await client.poll()

    answer = await client.poll()

    assert said(answer) == (200, "")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await client.post(b'{"protocol":"json","version":1}\x1e')).status == 200


async def test_a_connection_that_is_closed_is_204_once_and_unknown_then(service: Service) -> None:
    client = await service.polling()
    path = f"/api/hubs/chat/connections/{client.id}?reason=enough"
    assert (await service.rest("DELETE", path)).status == 200

    (end,) = records(await client.poll())
    assert (end["type"], end["error"]) == (7, "enough")
    assert said(await client.poll()) == (204, "")
    assert said(await client.poll()) == UNKNOWN
    assert said(await client.post(b"x")) == UNKNOWN


async def test_a_post_to_a_connection_that_is_closing_is_unknown(service: Service) -> None:
    client = await service.polling()
    await service.rest("DELETE", f"/api/hubs/chat/connections/{client.id}?reason=enough")
    assert said(await client.post(b'{"type":6}\x1e')) == UNKNOWN


async def test_a_post_whose_connection_ends_before_its_body_does_is_unknown(
    service: Service,
) -> None:
    client = await service.polling()
    raw = await service.raw()
    raw.send(client.head("POST", "Content-Length: 11", "Expect: 100-continue"))
    assert await raw.status() == 100  # it reads the body now

    await client.request("DELETE")
    raw.send(b'{"type":6}\x1e')

    assert await raw.status() == 404


async def test_a_delete_ends_the_connection(service: Service) -> None:
    client = await service.polling()
    poll = await waiting(service, client)

    assert said(await client.request("DELETE")) == (202, "")

    assert said(await poll) == (204, "")
    assert said(await client.poll()) == UNKNOWN
    assert said(await client.request("DELETE")) == UNKNOWN
    assert service.node.registry.hub("chat") is None


async def test_a_delete_is_not_how_other_transports_end(service: Service) -> None:
    streaming, _events = await service.streaming()
    socket, path, token = await _socket(service)

    text = "Cannot terminate this connection using the DELETE endpoint."
    assert said(await streaming.request("DELETE")) == (400, text)
    assert said(await service.request("DELETE", path, token=token)) == (400, text)
    await service.send("still here")
    assert await socket.call() == ("still here", [])


async def test_a_websocket_connection_takes_no_posts(service: Service) -> None:
    _client, path, token = await _socket(service)
    answer = await service.request("POST", path, token=token, body=b'{"type":6}\x1e')
    text = "POST requests are not allowed for WebSocket connections."
    assert said(answer) == (405, text)


async def test_the_transport_of_a_connection_stays_what_it_is(service: Service) -> None:
    polling = await service.polling()
    streaming, _events = await service.streaming()
    _client, path, token = await _socket(service)
    accept = {"Accept": "text/event-stream"}

    answers = [
        await service.request("GET", polling.path, token=polling.token, headers=accept),
        await streaming.poll(),
        await service.request("GET", path, token=token),
        await service.request("GET", path, token=token, headers=accept),
    ]

    expected = (400, "Cannot change transports mid-connection")
    assert [said(answer) for answer in answers] == [expected] * 4


async def _socket(service: Service) -> tuple[Any, str, str]:
    """A WebSocket client, and where its connection would be found over HTTP."""
    negotiated, token = await service.negotiate(), service.token()
    query = {"hub": "chat", "id": negotiated["connectionToken"], "access_token": token}
    client = await service.open(query=query)
    await client.handshake()
    return client, f"/client/?hub=chat&id={negotiated['connectionToken']}", token


async def test_messagepack_is_fine_over_polls(service: Service) -> None:
    client = await service.http_client()
    await client.poll()
    await client.post(b'{"protocol":"messagepack","version":1}\x1e')
    assert (await client.poll()).body == b"{}\x1e"
    await service.send("t", 1, "a")

    (record,) = MESSAGEPACK.reader(1000).feed((await client.poll()).body)

    message = MESSAGEPACK.decode(record)
    assert isinstance(message, Invocation)
    assert (message.target, MESSAGEPACK.decode_value(message.arguments)) == ("t", [1, "a"])


async def test_the_end_of_a_record_that_reads_like_a_ping_belongs_to_its_record() -> None:
    # The same bytes alone are a ping, which is answered before anything is decoded.
    node, ping = Node(ServiceSettings()), MESSAGEPACK.ping
    transport = FakeTransport()
    connection = node.connect(access_of(), transport)
    connection.receive(b'{"protocol":"messagepack","version":1}\x1e')
    completed: list[Completion] = []

    def note(connection: Connection, completion: Completion) -> None:
        completed.append(completion)

    node.completed = note  # type: ignore[method-assign]
    result = MESSAGEPACK.encode_value(ping)
    record = MESSAGEPACK.encode(Completion(invocation_id="1", result=result))
    assert record.endswith(ping)

    connection.receive(record.removesuffix(ping))
    connection.receive(ping)
    connection.receive(MESSAGEPACK.encode(Completion(invocation_id="2", result=result)))

    assert [completion.invocation_id for completion in completed] == ["1", "2"]
    assert connection.is_live


async def test_a_record_may_come_in_several_posts(start: Start) -> None:
    service = await start()
    client = await service.polling()
    invoke = asyncio.ensure_future(
        service.rest("POST", f"/api/hubs/chat/connections/{client.id}/:invoke", b'{"target":"t"}')
    )
    (call,) = records(await client.poll())
    answer = json.dumps({"type": 3, "invocationId": call["invocationId"], "result": 42}).encode()

    for piece in (answer[:10], answer[10:], b"\x1e"):
        assert (await client.post(piece)).status == 200

    assert (await invoke).json["result"] == 42


async def test_a_post_over_the_limit_is_413_and_the_connection_stays(start: Start) -> None:
    service = await start(max_message_size=1000)
    client = await service.polling()

    answer = await client.post(b" " * 1001)

    assert said(answer) == (413, "A message is at most 1000 bytes long.")
    await service.send("t")
    assert [record["target"] for record in records(await client.poll())] == ["t"]


@pytest.mark.parametrize(("claims", "seconds"), [({}, 5), ({"asrs.s.ttl": "60"}, 60)])
async def test_a_client_that_does_not_poll_again_in_time_is_gone(
    service: Service, claims: dict[str, str], seconds: int
) -> None:
    client = await service.polling(**claims)
    connection = service.only_connection()
    now = asyncio.get_running_loop().time()

    connection.tick(now + seconds - 1)
    assert list(service.hub().connections) == [connection]
    connection.tick(now + seconds)

    assert not connection.is_live
    assert service.node.registry.hub("chat") is None
    assert said(await client.poll()) == UNKNOWN


async def test_a_client_whose_poll_waits_is_there_however_long(service: Service) -> None:
    client = await service.polling()
    poll = await waiting(service, client)
    connection = service.only_connection()

    connection.tick(asyncio.get_running_loop().time() + 80)
    await service.send("t")

    assert [record["target"] for record in records(await poll)] == ["t"]


async def test_a_client_that_has_moved_on_to_another_poll_is_not_deserted(
    service: Service,
) -> None:
    # It breaks one poll off and makes the next; the service may see both in the same turn.
    client = await service.polling()
    raw = await service.raw()
    transport = transport_of(service, client)
    before = transport._polls
    raw.send(client.head("GET"))
    while transport._polls == before:  # noqa: ASYNC110  the service says so nowhere else
        await asyncio.sleep(0)

    second = await waiting(service, client)
    raw.writer.transport.abort()
    await service.send("t")
    connection = service.only_connection()
    assert [record["target"] for record in records(await second)] == ["t"]
    third = await waiting(service, client)
    connection.tick(asyncio.get_running_loop().time() + 60)

    assert connection.is_live
    await service.send("u")
    assert [record["target"] for record in records(await third)] == ["u"]


async def test_a_connection_that_fails_lets_its_poll_go(service: Service) -> None:
    client = await service.polling()
    poll = await waiting(service, client)
    service.only_connection().fail()
    assert said(await poll) == (204, "")
