"""Stateful reconnect: what is kept for whom and for how long, and what comes after coming back."""

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest
from tests.service.conftest import Start
from tests.service.fakes import FakeTransport, access_of
from tests.service.running import Client, Service

from hubbub.protocol.codec import JSON
from hubbub.protocol.messages import Ack, Close, Completion, Invocation, Message, Sequence
from hubbub.service.access import ClientAccess, Refusal
from hubbub.service.node import Node
from hubbub.service.router import Envelope, Everyone
from hubbub.service.session import Connection, State
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import EncodedMessage

pytestmark = pytest.mark.usefixtures("unhurried")

HANDSHAKE = b'{"protocol":"json","version":2}\x1e'
EXPIRED = "The access token has expired."


class Returning:
    """A client of a node with stateful reconnect; each time it comes it has a new transport."""

    def __init__(self, node: Node, **claims: Any) -> None:
        self.node = node
        self.token = node.tickets.issue(access_of(**claims), version=1, stateful=True).token
        self.transport = FakeTransport()
        self.connection: Connection = node.connect(self.access(**claims), self.transport)
        self.connection.receive(HANDSHAKE)
        assert self.transport.writes.pop() == b"{}\x1e"

    def access(self, **claims: Any) -> ClientAccess:
        return msgspec.structs.replace(access_of(**claims), connection_token=self.token)

    def come_back(self, **claims: Any) -> None:
        """As the upgrade of a WebSocket does it."""
        access = self.access(**claims)
        self.node.check(access)
        self.transport = FakeTransport()
        assert self.node.connect(access, self.transport) is self.connection

    def refused(self) -> tuple[int, str]:
        """The answer to coming back where it is not possible."""
        with pytest.raises(Refusal) as refusal:
            self.node.check(self.access())
        return refusal.value.status, str(refusal.value)

    def ack(self, count: int) -> None:
        self.connection.receive(JSON.encode(Ack(count)))

    def messages(self) -> list[Message]:
        """What this transport was given."""
        decoded = map(JSON.decode, JSON.reader(2**31 - 1).feed(b"".join(self.transport.writes)))
        return [message for message in decoded if message is not None]

    def calls(self) -> list[str]:
        return [message.target for message in self.messages() if isinstance(message, Invocation)]

    @property
    def kept(self) -> int:
        assert self.connection.replay is not None
        return self.connection.replay.pending


@pytest.fixture
async def node() -> Node:
    return Node(ServiceSettings(replay_buffer_size=1000))


async def deliver(node: Node, *targets: str, arguments: bytes = b"[]") -> None:
    """Send to everyone, and let the loop's turn end."""
    for target in targets:
        node.router.deliver(Envelope(Everyone("chat"), EncodedMessage(target, arguments)))
    await asyncio.sleep(0)


BIG = b'["%b"]' % (b"x" * 300)


async def test_for_a_client_that_never_acks_no_more_than_the_limit_is_kept(node: Node) -> None:
    client = Returning(node)
    for _ in range(100):
        await deliver(node, "t", arguments=BIG)
        assert client.kept <= 1000

    assert client.connection.state is State.OPEN
    assert client.calls() == ["t"] * 100
    client.connection.detach()
    assert not client.connection.is_live
    assert client.refused() == (404, "No Connection with that ID")


async def test_a_client_that_comes_back_to_what_was_given_up_begins_anew_at_once(
    node: Node,
) -> None:
    client = Returning(node)
    for _ in range(10):
        await deliver(node, "t", arguments=BIG)

    # Its old socket is half open: the service has not heard of its end.
    assert client.refused() == (404, "No Connection with that ID")

    assert client.transport.is_closed
    assert client.connection.state is State.CLOSED
    assert node.registry.hub("chat") is None
    assert client.refused() == (404, "No Connection with that ID")


async def test_a_client_that_acks_may_come_back_however_much_was_sent(node: Node) -> None:
    client = Returning(node)
    for number in range(1, 101):
        await deliver(node, "t", arguments=BIG)
        client.ack(number)
    assert client.kept == 0

    client.connection.detach()
    await deliver(node, "missed")
    client.come_back()

    assert client.messages()[0] == Sequence(101)
    assert client.calls() == ["missed"]


async def test_a_client_that_is_away_is_given_up_when_too_much_is_sent(node: Node) -> None:
    client = Returning(node)
    client.connection.detach()
    for _ in range(3):
        await deliver(node, "t", arguments=BIG)

    assert client.connection.state is State.CLOSED
    assert client.refused() == (404, "No Connection with that ID")
    assert node.registry.hub("chat") is None


async def test_the_time_to_come_back_begins_when_the_transport_is_lost(node: Node) -> None:
    client = Returning(node)
    client.connection.received_at -= 29  # long since it said anything
    client.connection.detach()
    lost = asyncio.get_running_loop().time()

    client.connection.tick(lost + 29)
    assert client.connection.state is State.DETACHED
    client.connection.tick(lost + 31)
    assert not client.connection.is_live
    assert client.refused() == (404, "No Connection with that ID")


async def test_what_was_sent_while_away_comes_once_and_in_order_and_live_sends_after_it(
    node: Node,
) -> None:
    client = Returning(node)
    await deliver(node, "a", "b")
    client.ack(1)
    client.connection.detach()
    await deliver(node, "c")
    await deliver(node, "d", "e")
    node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("f")))  # waits for this turn

    client.come_back()
    await deliver(node, "g")

    # `a` and `b` were one write, of which the client counts what it has had already.
    assert client.messages()[0] == Sequence(1)
    assert client.calls() == ["a", "b", "c", "d", "e", "f", "g"]


async def test_what_was_acknowledged_does_not_come_again(node: Node) -> None:
    client = Returning(node)
    await deliver(node, "a")
    await deliver(node, "b")
    client.ack(1)
    client.connection.detach()
    await deliver(node, "c")
    client.come_back()
    assert client.messages()[0] == Sequence(2)
    assert client.calls() == ["b", "c"]


async def test_several_records_of_an_app_count_as_several(node: Node) -> None:
    client = Returning(node)
    answer = [JSON.encode(Completion(invocation_id=str(n), error="no")) for n in range(3)]
    client.connection.pass_on(b"".join(answer), 3)
    await asyncio.sleep(0)
    await deliver(node, "t")
    client.ack(3)
    client.connection.detach()
    client.come_back()
    assert client.messages()[0] == Sequence(4)
    assert client.calls() == ["t"]


async def test_a_client_that_is_cut_in_the_middle_of_a_flush_misses_nothing(node: Node) -> None:
    client, other = Returning(node), FakeOther(node)
    client.transport.on_write = lambda data: client.connection.detach()

    node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("a")))
    node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("b"), frozenset([other.id])))
    node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("c")))
    await asyncio.sleep(0)
    assert client.connection.state is State.DETACHED
    client.come_back()
    await deliver(node, "d")

    assert client.messages()[0] == Sequence(1)
    assert client.calls() == ["a", "b", "c", "d"]
    assert other.client.calls() == ["a", "c", "d"]


class FakeOther:
    """Somebody else on the hub, so that runs differ."""

    def __init__(self, node: Node) -> None:
        self.client = Returning(node)
        self.id = self.client.connection.id


async def test_a_client_may_come_back_while_its_old_socket_is_open_and_again(node: Node) -> None:
    client = Returning(node)
    await deliver(node, "a")
    first = client.transport

    client.come_back()
    second = client.transport
    await deliver(node, "b")
    client.come_back()
    await deliver(node, "c")

    assert (first.is_closed, second.is_closed, client.transport.is_closed) == (True, True, False)
    assert first.writes[1:] == []  # nothing after `a`
    assert client.messages()[0] == Sequence(1)
    assert client.calls() == ["a", "b", "c"]


async def test_the_end_of_an_old_transport_is_not_that_of_the_connection(service: Service) -> None:
    first, query = await connect(service)
    connection = service.only_connection()
    second = await service.open(query=query)
    assert isinstance(await second.message(), Sequence)

    close, code = await first.end()
    await service.send("t")

    assert (close, code) == (None, 1000)
    assert await second.call() == ("t", [])
    assert connection.state is State.OPEN
    assert service.only_connection() is connection


async def test_a_client_whose_socket_broke_comes_back_to_its_connection(service: Service) -> None:
    first, query = await connect(service)
    await service.send("a")
    assert await first.call() == ("a", [])
    connection = service.only_connection()
    first.socket.transport.abort()
    while connection.state is not State.DETACHED:  # noqa: ASYNC110  the service says so nowhere
        await asyncio.sleep(0)
    await service.send("b")

    second = await service.open(query=query)
    await service.send("c")

    assert await second.message() == Sequence(1)
    assert await second.calls(3) == [("a", []), ("b", []), ("c", [])]
    assert service.only_connection() is connection


async def test_a_client_that_comes_back_to_what_was_given_up_is_404(start: Start) -> None:
    service = await start(replay_buffer_size=10)
    first, query = await connect(service)
    await service.send("more than is kept")
    assert await first.call() == ("more than is kept", [])
    connection = service.only_connection()
    first.socket.transport.abort()
    while connection.state is not State.CLOSED:  # noqa: ASYNC110  the service says so nowhere
        await asyncio.sleep(0)

    answer = await service.request("GET", "/client/?hub=chat&id=" + query["id"], token=query["t"])

    assert (answer.status, answer.text) == (404, "No Connection with that ID")


async def connect(service: Service) -> tuple[Client, dict[str, str]]:
    """A client with stateful reconnect, and the query with which it may come back."""
    path = "/client/negotiate?hub=chat&negotiateVersion=1&useStatefulReconnect=true"
    token = service.token()
    negotiated = (await service.request("POST", path, token=token)).json
    assert negotiated["useStatefulReconnect"] is True
    query = {"hub": "chat", "id": negotiated["connectionToken"], "access_token": token, "t": token}
    client = await service.open(query=query)
    assert await client.handshake(version=2) == b"{}\x1e"
    return client, query


async def test_a_client_that_came_back_is_held_to_its_new_token(node: Node) -> None:
    now = int(time.time())
    client = Returning(node, **{"asrs.s.coae": "true", "asrs.s.aeo": str(now + 60)})
    client.connection.detach()
    client.come_back(**{"asrs.s.coae": "true", "asrs.s.aeo": str(now + 600)})
    clock = asyncio.get_running_loop().time()

    client.connection.received_at = clock + 100
    client.connection.tick(clock + 100)
    assert client.connection.state is State.OPEN
    client.connection.received_at = clock + 601
    client.connection.tick(clock + 601)

    assert client.messages()[-1] == Close(error=EXPIRED, allow_reconnect=True)
    assert client.transport.is_closed


async def test_a_client_whose_new_token_says_nothing_of_an_end_stays(node: Node) -> None:
    now = int(time.time())
    client = Returning(node, **{"asrs.s.coae": "true", "asrs.s.aeo": str(now + 60)})
    client.connection.detach()
    client.come_back()
    clock = asyncio.get_running_loop().time()
    client.connection.received_at = clock + 100
    client.connection.tick(clock + 100)
    assert client.connection.state is State.OPEN


@pytest.mark.parametrize(("diagnostic", "again"), [("false", True), ("true", False)])
async def test_a_connection_ends_with_its_token_where_the_app_wants_that(
    node: Node, diagnostic: str, again: bool
) -> None:
    end = str(int(time.time()) + 60)
    claims = {"asrs.s.coae": "true", "asrs.s.aeo": end, "asrs.s.dc": diagnostic}
    transport = FakeTransport()
    connection = node.connect(access_of(**claims), transport)
    connection.receive(b'{"protocol":"json","version":1}\x1e')
    clock = asyncio.get_running_loop().time()
    await deliver(node, "before")
    connection.received_at = clock + 61

    connection.tick(clock + 61)

    *_, last = b"".join(transport.writes).split(b"\x1e")[:-1]
    expected = {"type": 7, "error": EXPIRED} | ({"allowReconnect": True} if again else {})
    assert json.loads(last) == expected
    assert transport.is_closed


async def test_an_end_with_the_token_comes_after_what_was_accepted(node: Node) -> None:
    end = str(int(time.time()) + 60)
    client = Returning(node, **{"asrs.s.coae": "true", "asrs.s.aeo": end})
    clock = asyncio.get_running_loop().time()
    client.connection.received_at = clock + 61
    node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("before")))

    client.connection.tick(clock + 61)
    await asyncio.sleep(0)

    first, last = client.messages()
    assert isinstance(first, Invocation)
    assert last == Close(error=EXPIRED, allow_reconnect=True)


async def test_the_end_of_a_token_ends_no_connection_unless_the_app_wants_that(node: Node) -> None:
    client = Returning(node, **{"asrs.s.aeo": str(int(time.time()) + 60)})
    clock = asyncio.get_running_loop().time()
    client.connection.received_at = clock + 100
    client.connection.tick(clock + 100)
    assert client.connection.state is State.OPEN
