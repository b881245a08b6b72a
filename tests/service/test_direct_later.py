"""Sends that other nodes may have to get: answered without ASGI when they have been taken for them,
and everything else on their connections in its turn.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from tests.service.clusters import backplane_of
from tests.service.conftest import StartCluster
from tests.service.fakesocket import Http, request, split_answers
from tests.service.running import Service
from tests.service.test_direct import (
    BODY,
    HEALTH,
    JSON,
    NEGOTIATE,
    SEND,
    bearer,
    client_bearer,
    sending,
)

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture
async def service(cluster: StartCluster) -> Service:
    """A node whose backplane takes a while."""
    nodes = await cluster(1)
    nodes.bus.delay = 0.005
    return nodes[0]


@pytest.fixture
async def http(service: Service) -> AsyncIterator[Http]:
    opened = Http(service.node)
    yield opened
    opened.end()
    await asyncio.gather(*opened.state.tasks)


async def test_a_send_is_answered_when_it_has_been_taken(service: Service, http: Http) -> None:
    client = await service.connect()
    held: list[Callable[[], None]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backplane_of(service)._bus, "later", held.append)
        http.send(sending())
        assert await client.call() == ("t", [1])  # who is here does not wait
        assert not http.socket.written
        while held:
            held.pop(0)()
    (answer,) = await http.answers(1)
    assert answer.status == 202
    assert http.protocol._uvicorn is None


@pytest.mark.parametrize("comes", ["together", "one by one"])
async def test_what_follows_is_answered_in_its_order(http: Http, comes: str) -> None:
    requests = [
        sending(),
        HEALTH,
        sending(body=b"{"),
        request("POST", NEGOTIATE, client_bearer()),
        request("POST", SEND, JSON, "Expect: 100-continue", body=BODY),
        sending(),
    ]
    http.send(*([b"".join(requests)] if comes == "together" else requests))
    answers = await http.answers(6)
    assert [answer.status for answer in answers] == [202, 200, 400, 200, 401, 202]
    http.send(sending() + sending(), sending())  # and the connection goes on
    assert [answer.status for answer in await http.answers(9)][6:] == [202, 202, 202]


async def test_two_sends_are_answered_without_asgi_where_the_first_is_waited_for(
    http: Http,
) -> None:
    http.send(sending())
    await http.answers(1)
    http.send(sending())
    await http.answers(2)
    assert http.protocol._uvicorn is None


async def test_a_send_that_could_not_be_taken_is_503(service: Service, http: Http) -> None:
    http.send(sending() + sending())
    backplane_of(service).disconnect()
    assert [answer.status for answer in await http.answers(2)] == [503, 503]


async def test_after_the_last_request_nothing_is_answered(service: Service, http: Http) -> None:
    client = await service.connect()
    last = request("POST", SEND, bearer(SEND), JSON, "Connection: close", body=BODY)
    http.send(last + sending(), sending())
    (answer,) = await http.answers(1)
    assert answer.status == 202
    assert ("connection", "close") in answer.headers
    assert http.socket.is_closed
    await service.send("end")
    assert await client.calls(2) == [("t", [1]), ("end", [])]


@pytest.mark.parametrize(
    "rest", [b"no HTTP\r\n\r\n", b"GET /client/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: "]
)
async def test_what_is_none_of_ours_is_refused_in_its_turn(http: Http, rest: bytes) -> None:
    http.send(sending() + rest + b"websocket\r\n\r\n", b"more")
    answered, refused = await http.answers(2)
    assert (answered.status, refused.status) == (202, 400)
    assert http.socket.is_closed


async def test_a_client_that_does_not_wait_costs_nothing(
    http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    http.send(sending() + HEALTH)
    http.end()
    later = http.protocol._later
    assert later is not None
    while http.protocol._later is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert not http.socket.written
    assert caplog.records == []


async def test_a_server_that_stops_answers_before(http: Http) -> None:
    http.send(sending())
    http.protocol.shutdown()
    assert not http.socket.is_closed
    assert [answer.status for answer in await http.answers(1)] == [202]
    assert http.socket.is_closed


async def test_the_time_to_stay_idle_begins_with_the_answer(http: Http) -> None:
    loop = asyncio.get_running_loop()
    http.send(sending())
    http.protocol.expire(loop.time() + 100)
    assert not http.socket.is_closed
    await http.answers(1)
    http.protocol.expire(loop.time() + 4)
    assert not http.socket.is_closed
    http.protocol.expire(loop.time() + 5.1)
    assert http.socket.is_closed


async def test_a_head_that_has_begun_meanwhile_keeps_its_own_time(http: Http) -> None:
    loop = asyncio.get_running_loop()
    http.send(sending() + b"POST /")
    await http.answers(1)
    http.protocol.expire(loop.time() + 6)
    assert not http.socket.is_closed
    assert split_answers(bytes(http.socket.written))[0][0].status == 202
