"""Clients behind a balancer without memory: each of their requests lands on the next node."""

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.service.clusters import Nodes, backplane_of, cluster_of
from tests.service.conftest import StartCluster
from tests.service.running import PATIENCE, Answer, HttpClient, Raw
from websockets.exceptions import InvalidStatus

from hubbub.protocol.codec import CODECS
from hubbub.protocol.messages import Invocation
from hubbub.service.cluster.visits import Visits


@dataclass
class Roaming(HttpClient):
    """A client whose every request goes to the next node."""

    nodes: Nodes
    turns: "itertools.cycle[int]" = field(default_factory=lambda: itertools.cycle(range(3)))

    async def request(self, method: str, body: bytes | None = None) -> Answer:
        service = self.nodes[next(self.turns)]
        return await service.request(method, self.path, token=self.token, body=body)

    async def events(self, receive_buffer: int | None = None) -> Raw:
        self.service = self.nodes[next(self.turns)]
        return await super().events(receive_buffer)


async def roaming(nodes: Nodes, **claims: Any) -> Roaming:
    """A client that has negotiated with the first node."""
    first = await nodes[0].http_client(**claims)
    client = Roaming(nodes[0], first.id, first.path, first.token, nodes)
    next(client.turns)
    return client


async def polling(nodes: Nodes, protocol: str = "json", **claims: Any) -> Roaming:
    """One that has opened its connection at the second node, and done its handshake."""
    client = await roaming(nodes, **claims)
    assert await said(client.poll()) == (200, b"")
    handshake = b'{"protocol":"%b","version":1}\x1e' % protocol.encode()
    assert await said(client.post(handshake)) == (200, b"")
    assert await said(client.poll()) == (200, b"{}\x1e")
    return client


async def said(answering: Any) -> tuple[int, bytes]:
    answer = await answering
    return answer.status, answer.body


@pytest.fixture
async def nodes(cluster: StartCluster) -> Nodes:
    nodes: Nodes = await cluster(3)
    return nodes


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_long_polling_goes_on_wherever_polls_and_posts_land(
    nodes: Nodes, protocol: str
) -> None:
    client = await polling(nodes, protocol)
    codec = CODECS[protocol]
    for number in range(9):
        await nodes[number % 3].send("t", number)
        status, body = await said(client.poll())
        (record,) = codec.reader(65536).feed(body)
        message = codec.decode(record)
        assert isinstance(message, Invocation)
        assert codec.decode_value(message.arguments) == [number]
        assert await said(client.post(codec.ping)) == (200, b"")
        assert status == 200

    assert await said(client.request("DELETE")) == (202, b"")
    assert [await said(client.poll()) for _ in range(3)] == [
        (404, b"No Connection with that ID")
    ] * 3


async def test_a_poll_that_waits_elsewhere_is_answered_as_soon_as_there_is_something(
    nodes: Nodes,
) -> None:
    client = await polling(nodes)
    assert next(client.turns) == 1  # where its connection is
    poll = asyncio.ensure_future(client.poll())
    async with asyncio.timeout(PATIENCE):
        while "polls=1" not in repr(visits_of(nodes, 1)):  # noqa: ASYNC110
            await asyncio.sleep(0)
    await nodes[0].send("t")
    answer = await poll
    assert (answer.status, b'"t"' in answer.body) == (200, True)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "no-cache, no-store"


def visits_of(nodes: Nodes, at: int) -> Visits:
    return cluster_of(nodes[at]).visits


async def test_a_poll_elsewhere_whose_client_goes_takes_nothing_with_it(nodes: Nodes) -> None:
    client = await polling(nodes)
    assert next(client.turns) == 1  # where its connection is; the next is at the third
    raw = await nodes[2].raw()
    raw.send(client.head("GET"))
    async with asyncio.timeout(PATIENCE):
        while "polls=1" not in repr(visits_of(nodes, 1)):  # noqa: ASYNC110
            await asyncio.sleep(0)
        raw.writer.transport.abort()
        while "polls=0" not in repr(visits_of(nodes, 1)):  # noqa: ASYNC110
            await asyncio.sleep(0)

    await nodes[0].send("t")

    assert b'"t"' in (await client.poll()).body


async def test_an_event_stream_stays_and_its_posts_go_anywhere(nodes: Nodes) -> None:
    client = await roaming(nodes)
    events = await client.events()
    assert await said(client.post(b'{"protocol":"json",')) == (200, b"")
    assert await said(client.post(b'"version":1}\x1e')) == (200, b"")
    await events.until(b"data: {}\x1e")
    await nodes[0].send("t")
    assert b'"t"' in await events.until(b"\x1e")


async def test_the_connection_of_another_user_is_403_on_every_node(nodes: Nodes) -> None:
    client = await polling(nodes, user="ann")
    client.token = nodes[0].token(user="bob")
    for method in ("GET", "POST", "DELETE"):
        for _ in range(3):
            assert (await client.request(method)).status == 403
    client.token = nodes[0].token("other", user="ann")
    client.path = client.path.replace("hub=chat", "hub=other")
    for _ in range(3):
        assert (await client.poll()).status == 404


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("at", range(3))
async def test_a_connection_token_opens_one_websocket_on_one_node(
    nodes: Nodes, stateful: bool, at: int
) -> None:
    token = nodes[0].token()
    path = "/client/negotiate?hub=chat&negotiateVersion=1"
    path += "&useStatefulReconnect=true" if stateful else ""
    negotiated = (await nodes[0].request("POST", path, token=token)).json
    query = {"hub": "chat", "id": negotiated["connectionToken"], "access_token": token}
    client = await nodes[1].open(query=query)
    assert await refusal(nodes, at, query) == 409

    assert await client.handshake() == b"{}\x1e"
    assert await refusal(nodes, at, query) == 409
    await nodes[2].send("t", to=f"/connections/{negotiated['connectionId']}")
    assert await client.call() == ("t", [])

    await client.socket.close()
    while nodes[1].node.registry.hub("chat"):  # noqa: ASYNC110  the service says so nowhere
        await asyncio.sleep(0)
    assert await refusal(nodes, at, query) == 404


async def refusal(nodes: Nodes, at: int, query: dict[str, str]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await nodes[at].open(query=query)
    status: int = refused.value.response.status_code
    return status


async def test_two_sockets_at_the_same_time_on_two_nodes_are_not_one_connection(
    nodes: Nodes,
) -> None:
    nodes.bus.delay = 0.01
    negotiated = await nodes[0].negotiate()
    query = {"hub": "chat", "id": negotiated["connectionToken"], "access_token": nodes[0].token()}

    async def status(at: int) -> int:
        try:
            await nodes[at].open(query=query)
        except InvalidStatus as refused:
            return refused.response.status_code
        return 101

    statuses = await asyncio.gather(*(status(at) for at in (0, 1, 2, 0)))

    assert sorted(statuses) == [101, 409, 409, 409]


async def test_other_ways_to_a_connection_that_is_elsewhere_are_refused(nodes: Nodes) -> None:
    polls = await polling(nodes)
    stream = await roaming(nodes)
    await stream.events()
    get = "GET", "Accept: text/event-stream"
    assert await status_of(nodes, polls.head(*get)) == 400
    assert await status_of(nodes, stream.head("GET")) == 400
    assert await status_of(nodes, stream.head(*get)) == 409
    assert await status_of(nodes, stream.head("DELETE")) == 400


async def status_of(nodes: Nodes, head: bytes) -> int:
    """What a request to the last node, where neither connection is, is answered with."""
    raw = await nodes[2].raw()
    raw.send(head)
    return await raw.status()


async def test_while_the_others_are_away_new_websockets_are_let_in(nodes: Nodes) -> None:
    negotiated = await nodes[0].negotiate()
    query = {"hub": "chat", "id": negotiated["connectionToken"], "access_token": nodes[0].token()}
    backplane_of(nodes[1]).disconnect()
    client = await nodes[1].open(query=query)
    assert await client.handshake() == b"{}\x1e"


async def test_while_the_others_are_away_a_poll_is_503(nodes: Nodes) -> None:
    client = await polling(nodes)
    backplane_of(nodes[2]).disconnect()
    answer = await nodes[2].request("GET", client.path, token=client.token)
    assert answer.status == 503
    backplane_of(nodes[2]).reconnect()
    await nodes[0].send("t")
    assert b'"t"' in (await client.poll()).body
