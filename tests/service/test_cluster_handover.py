"""Connections with stateful reconnect whose clients come back to another node."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.service.clusters import Nodes, backplane_of, cluster_of
from tests.service.conftest import StartCluster
from tests.service.running import PATIENCE, Client, Service
from tests.service.upstream_app import answering, running_app
from websockets.exceptions import InvalidStatus

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import CODECS, Codec
from hubbub.protocol.messages import (
    Ack,
    Close,
    Completion,
    Invocation,
    Ping,
    Sequence,
    StreamInvocation,
)
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.cluster.channel import node_channel
from hubbub.service.cluster.parcel import Drain, Kind, Visit, encode_parcel

PATH = "/api/hubs/chat"


@dataclass
class Stateful:
    """A client that comes back, and drops by counting what it has had."""

    query: dict[str, str]
    id: str
    codec: Codec
    client: Client
    node: Service
    latest: int = 0
    received: list[Any] = field(default_factory=list)

    async def come_back(self, service: Service) -> None:
        """Cut the socket, and go on at a node."""
        self.client.socket.transport.abort()
        opened = await service.open(query=self.query)
        opened.codec = self.codec
        self.client, self.node = opened, service
        await self.say(Sequence(1))
        first = await opened.message()
        assert isinstance(first, Sequence), first
        assert first.sequence_id <= self.latest + 1
        self._next = first.sequence_id

    _next: int = 1

    async def say(self, message: Any) -> None:
        data = self.codec.encode(message)
        await self.client.socket.send(data if self.codec.is_binary else data.decode())

    async def call(self) -> Any:
        """The arguments of the next invocation that is new."""
        while True:
            message = await self.client.message()
            if isinstance(message, (Ping, Ack)):
                continue
            assert isinstance(message, Invocation), message
            number, self._next = self._next, self._next + 1
            if number > self.latest:
                self.latest = number
                arguments = self.codec.decode_value(message.arguments)
                self.received.append(arguments)
                return arguments

    async def until(self, target: Any) -> list[Any]:
        """Everything up to an invocation with these arguments."""
        while (await self.call()) != target:
            pass
        return self.received


async def stateful(service: Service, protocol: str = "json", user: str = "ann") -> Stateful:
    """A client at `service`."""
    path = "/client/negotiate?hub=chat&negotiateVersion=1&useStatefulReconnect=true"
    token = service.token(user=user)
    negotiated = (await service.request("POST", path, token=token)).json
    query = {"hub": "chat", "id": negotiated["connectionToken"], "access_token": token}
    client = await service.open(query=query)
    assert await client.handshake(protocol, version=2) == b"{}\x1e"
    return Stateful(query, negotiated["connectionId"], CODECS[protocol], client, service)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_client_comes_back_to_another_node_and_misses_nothing(
    cluster: StartCluster, protocol: str
) -> None:
    nodes = await cluster(3)
    client = await stateful(nodes[0], protocol)
    await nodes[2].rest("PUT", f"{PATH}/users/ann/groups/g")
    await nodes[2].rest("PUT", f"{PATH}/groups/h/connections/{client.id}")
    await nodes[1].send("t", 1)
    assert await client.call() == [1]
    client.client.socket.transport.abort()
    for number, to in enumerate(("", "/groups/g", "/groups/h", "/users/ann"), 2):
        await nodes[number % 3].send("t", number, to=to)

    await client.come_back(nodes[1])
    await nodes[0].send("t", 6, to=f"/connections/{client.id}")
    await nodes[0].send("t", 7, to="/groups/h")

    assert await client.until([7]) == [[number] for number in range(1, 8)]
    listing = (await nodes[2].rest("GET", f"{PATH}/connections")).json["value"]
    assert listing == [{"connectionId": client.id, "userId": "ann", "groups": ["g", "h"]}]
    assert nodes[0].node.registry.hub("chat") is None
    assert nodes[1].only_connection().id == client.id


@pytest.mark.parametrize("seed", range(6))
async def test_with_messages_flying_nothing_is_lost_or_comes_twice_or_out_of_order(
    cluster: StartCluster, seed: int
) -> None:
    choose = random.Random(seed)
    nodes = await cluster(3)
    client = await stateful(nodes[0])
    await nodes[0].rest("PUT", f"{PATH}/users/ann/groups/g")
    await nodes[0].connect(user="bob")  # nodes that listen anyway, and others
    nodes.bus.delay = choose.choice([0.0, 0.001, 0.003])
    targets = ["", "/groups/g", "/users/ann", f"/connections/{client.id}"]
    sent = 0

    async def publish(at: int) -> None:
        nonlocal sent
        for number in range(120):
            to = choose.randrange(4)
            await nodes[at].send("t", at, to, number, to=targets[to])
            sent += 1
            if choose.random() < 0.2:
                await asyncio.sleep(choose.random() * 0.01)

    publishing = asyncio.gather(*(publish(at) for at in range(3)))
    while not publishing.done():
        for _ in range(choose.randrange(1, 30)):
            reading = asyncio.ensure_future(client.call())
            await asyncio.wait((reading, publishing), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                break
        await client.come_back(nodes[choose.randrange(3)])
    await publishing
    await nodes[1].send("t", "end", to=f"/connections/{client.id}")
    received = (await client.until(["end"]))[:-1]

    assert len(received) == sent
    assert len({tuple(each) for each in received}) == sent
    for at in range(3):
        for to in range(4):
            numbers = [each[2] for each in received if each[:2] == [at, to]]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("seed", range(3))
async def test_groups_that_change_while_a_connection_moves_are_right_at_the_end(
    cluster: StartCluster, seed: int
) -> None:
    choose = random.Random(seed)
    nodes = await cluster(3)
    client = await stateful(nodes[0])
    nodes.bus.delay = 0.002
    changes = [
        ("PUT", f"/groups/a/connections/{client.id}"),
        ("PUT", "/users/ann/groups/b"),
        ("PUT", f"/groups/c/connections/{client.id}"),
        ("DELETE", "/users/ann/groups/b"),
        ("DELETE", f"/groups/a/connections/{client.id}"),
        ("PUT", f"/groups/d/connections/{client.id}"),
    ]

    async def change() -> None:
        for method, path in changes:
            answer = await nodes[choose.randrange(3)].rest(method, PATH + path)
            assert answer.status < 300, (method, path, answer)

    changing = asyncio.ensure_future(change())
    at = 0
    while not changing.done():
        at = (at + choose.randrange(1, 3)) % 3
        await client.come_back(nodes[at])
    await changing

    listing = (await nodes[2].rest("GET", f"{PATH}/connections")).json["value"]
    assert listing[0]["groups"] == ["c", "d"]
    for number, group in enumerate("abcd"):
        await nodes[number % 3].send("t", group, to=f"/groups/{group}")
    await nodes[0].send("t", "end")
    assert await client.until(["end"]) == [["c"], ["d"], ["end"]]


async def test_a_node_that_is_drained_gives_its_connections_to_others(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2)
    client = await stateful(nodes[0])
    plain = await nodes[0].connect()
    await nodes[1].rest("PUT", f"{PATH}/users/ann/groups/g")

    cluster_of(nodes[1]).backplane.publish(node_channel(nodes[0].node.id), encode_parcel(Drain()))
    assert await client.client.end() == (None, None)  # no Close message, and no close frame
    close, _code = await plain.end()
    assert close == Close(allow_reconnect=True)
    await nodes[0].send("t", 1, to="/groups/g")
    await client.come_back(nodes[1])
    await nodes[0].send("t", 2, to="/groups/g")
    assert await client.until([2]) == [[1], [2]]
    health = await nodes[0].request("GET", "/api/health")
    assert (health.status, health.json) == (503, {"status": "draining"})


async def test_without_other_nodes_a_drain_lets_stateful_clients_go(cluster: StartCluster) -> None:
    (node,) = await cluster(1)
    client = await stateful(node)
    cluster_of(node).backplane.publish(node_channel(node.node.id), encode_parcel(Drain()))
    close, _code = await client.client.end()
    assert close == Close(allow_reconnect=True)


async def test_what_no_other_node_takes_ends_with_the_drain(cluster: StartCluster) -> None:
    nodes = await cluster(2, drain_window=0.2)
    await stateful(nodes[0])
    cluster_of(nodes[1]).backplane.publish(node_channel(nodes[0].node.id), encode_parcel(Drain()))
    async with asyncio.timeout(PATIENCE):
        while nodes[0].node.registry.hub("chat") is not None:  # noqa: ASYNC110  it says so nowhere
            await asyncio.sleep(0.001)


async def test_the_app_hears_nothing_of_a_move_and_goes_on_hearing_the_client(
    cluster: StartCluster,
) -> None:
    async with running_app() as app:
        nodes = await cluster(2, upstream_templates=(Template(url_template=app.url + "/hook"),))
        client = await stateful(nodes[0])
        assert (await app.next()).event == "connected"
        await client.come_back(nodes[1])
        call = Invocation(target="said", arguments=client.codec.encode_value([]))
        await client.say(call)
        assert (await app.next()).event == "said"
        assert await wills(nodes[0]) == []
        assert await wills(nodes[1]) == [client.id]

        await client.client.socket.close()
        assert (await app.next()).event == "disconnected"
        for service in nodes:
            await service.node.upstream.close(PATIENCE)


async def test_a_stream_ends_with_an_error_when_its_connection_moves(
    cluster: StartCluster,
) -> None:
    async with running_app(answering(status=202)) as app:
        nodes = await cluster(2, upstream_templates=(Template(url_template=app.url + "/hook"),))
        client = await stateful(nodes[0])
        assert (await app.next()).event == "connected"
        arguments = client.codec.encode_value([])
        await client.say(StreamInvocation(target="s", arguments=arguments, invocation_id="1"))
        assert (await app.next()).event == "s"
        await client.come_back(nodes[1])
        ended = await client.client.message()
        assert ended == Completion(
            invocation_id="1",
            error="The stream has ended, as its connection has moved to another node.",
        )
        for service in nodes:
            service.node.close()
            await service.node.upstream.close(PATIENCE)


async def wills(service: Service) -> list[str]:
    """Which connections a node would leave to others."""
    await asyncio.sleep(0)
    return list(await cluster_of(service).life.legacy._wills.of(service.node.id))


async def test_a_client_that_is_not_the_same_user_moves_nothing(cluster: StartCluster) -> None:
    nodes = await cluster(2)
    client = await stateful(nodes[0])
    query = {**client.query, "access_token": nodes[1].token(user="bob")}
    with pytest.raises(InvalidStatus) as refused:
        await nodes[1].open(query=query)
    assert refused.value.response.status_code == 403
    await nodes[1].send("t", 1)
    assert await client.call() == [1]


async def test_a_connection_that_cannot_move_stays_for_who_comes_back_to_its_node(
    cluster: StartCluster,
) -> None:
    nodes = await cluster(2, answer_timeout=0.5)
    client = await stateful(nodes[0])
    backplane_of(nodes[1]).disconnect()
    client.client.socket.transport.abort()
    # It is let in, as nobody can be asked, but its client does not begin anew.
    with pytest.raises(ProtocolError):
        await client.come_back(nodes[1])
    await client.come_back(nodes[0])
    await nodes[0].rest("POST", f"{PATH}/connections/{client.id}/:send", b'{"target":"t"}')
    assert await client.call() == []


async def test_what_nobody_comes_for_is_not_offered_for_ever(cluster: StartCluster) -> None:
    nodes: Nodes = await cluster(2)
    client = await stateful(nodes[0])
    handover = cluster_of(nodes[0]).handover
    connection = nodes[0].only_connection()
    handover.offer(Visit("gone", 1, connection.id, "chat", "ann", Kind.SOCKET), connection)
    assert "leaving=1" in repr(handover)
    handover.sweep(asyncio.get_running_loop().time() + 60)
    assert "leaving=0" in repr(handover)
    await client.come_back(nodes[1])
