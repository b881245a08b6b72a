"""Connections that are silent, and connections that are slow. Time is what a test says it is."""

import asyncio

import pytest
from tests.service.conftest import Start
from tests.service.fakes import FakeClient, FakeTransport, access_of
from tests.service.running import PATIENCE, Client, Service

from hubbub.protocol.codec import MESSAGEPACK
from hubbub.protocol.messages import Close, Ping
from hubbub.service.node import Node
from hubbub.service.router import Envelope, Everyone
from hubbub.service.session import Connection, State
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import EncodedMessage

SILENT = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."


@pytest.fixture
async def node() -> Node:
    return Node(ServiceSettings())


def after(connection: Connection, seconds: float) -> None:
    """Tick as the node would, so long after the connection was last heard and written to."""
    connection.tick(max(connection.received_at, connection.sent_at) + seconds)


async def test_a_ping_is_sent_when_nothing_was_sent_for_the_interval(node: Node) -> None:
    client = FakeClient(node)
    after(client.connection, 14.9)
    assert client.messages() == []
    after(client.connection, 15)
    assert client.messages() == [Ping()]


async def test_a_messagepack_client_gets_its_own_ping(node: Node) -> None:
    client = FakeClient(node, codec=MESSAGEPACK)
    after(client.connection, 15)
    assert client.transport.writes == [b"\x02\x91\x06"]


async def test_a_ping_counts_as_something_sent(node: Node) -> None:
    client = FakeClient(node)
    started = client.connection.sent_at
    for seconds in (15, 16, 29.9):
        client.connection.tick(started + seconds)
    assert client.messages() == [Ping()]
    client.connection.received_at = started + 20
    client.connection.tick(started + 30)
    assert client.messages() == [Ping(), Ping()]


async def test_a_message_makes_a_ping_unnecessary(node: Node) -> None:
    client = FakeClient(node)
    started = client.connection.sent_at
    client.connection.sent_at = started - 10  # it has been silent for a while

    node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("t")))
    await asyncio.sleep(0)
    client.connection.tick(started + 14)

    assert client.calls() == ["t"]
    assert client.messages()[1:] == []


async def test_a_client_that_says_nothing_for_the_timeout_is_let_go(node: Node) -> None:
    client = FakeClient(node)
    started = client.connection.received_at
    client.connection.tick(started + 29.9)
    assert client.messages() == [Ping()]
    client.connection.tick(started + 30)
    assert client.messages()[1:] == [Close(error=SILENT, allow_reconnect=True)]
    assert client.transport.is_closed
    assert node.registry.hub("chat") is None


@pytest.mark.parametrize("data", [b'{"type":6}\x1e', b'{"type":99}\x1e', b'{"ty'])
async def test_any_byte_of_a_client_is_a_sign_of_life(node: Node, data: bytes) -> None:
    client = FakeClient(node)
    client.connection.received_at -= 29
    before = client.connection.received_at
    client.connection.receive(data)
    client.connection.tick(before + 31)
    assert not client.transport.is_closed


async def test_a_handshake_has_its_time_and_no_more(node: Node) -> None:
    transport = FakeTransport()
    connection = node.connect(access_of(), transport)
    connection.tick(connection.received_at + 14.9)
    assert transport.writes == []
    connection.tick(connection.received_at + 15)
    assert transport.writes == [b'{"error":"Handshake was canceled."}\x1e']
    assert transport.is_closed


async def test_an_app_may_set_how_long_a_handshake_takes(node: Node) -> None:
    transport = FakeTransport()
    connection = node.connect(access_of(**{"asrs.s.cht": "3"}), transport)
    connection.tick(connection.received_at + 2.9)
    assert transport.writes == []
    connection.tick(connection.received_at + 3)
    assert transport.writes == [b'{"error":"Handshake was canceled."}\x1e']


async def test_nothing_is_due_after_the_end(node: Node) -> None:
    client = FakeClient(node)
    client.connection.close(Close())
    after(client.connection, 1000)
    client.connection.lost()
    after(client.connection, 1000)
    assert client.messages() == [Close()]


async def test_settings_say_when_pings_and_timeouts_are_due() -> None:
    node = Node(ServiceSettings(keep_alive_interval=2, client_timeout=5, handshake_timeout=1))
    client = FakeClient(node)
    after(client.connection, 2)
    assert client.messages() == [Ping()]
    client.connection.tick(client.connection.received_at + 5)
    assert client.messages()[1:] == [Close(error=SILENT, allow_reconnect=True)]


async def test_a_service_looks_after_its_connections_by_itself(start: Start) -> None:
    service = await start(keep_alive_interval=0)
    client = await service.connect()
    assert await client.message() == Ping()


async def test_a_silent_client_is_told_and_its_socket_closed(start: Start) -> None:
    service = await start(client_timeout=0)
    client = await service.connect()
    assert await client.end() == (Close(error=SILENT, allow_reconnect=True), 1000)


async def test_a_client_without_a_handshake_is_told_and_its_socket_closed(start: Start) -> None:
    service = await start(handshake_timeout=0)
    client = await service.open()
    assert await client.frame() == b'{"error":"Handshake was canceled."}\x1e'
    assert await client.end() == (None, 1000)


BIG = 400_000  # bytes of one message; some of them fill what kernel and service keep for a socket


async def flood(service: Service, reader: Client, *, until_left: int) -> int:
    """Broadcast what one client reads and another does not; return how many it took."""
    big = EncodedMessage("big", b'["%b"]' % (b"x" * BIG))
    count = 0
    async with asyncio.timeout(PATIENCE):
        while len(service.hub().connections) > until_left:
            service.node.router.deliver(Envelope(Everyone("chat"), big))
            count += 1
            target, _ = await reader.call()
            assert target == "big"
    return count


async def test_a_slow_client_is_closed_and_the_rest_still_receive(start: Start) -> None:
    service = await start(max_pending_bytes=1_000_000)
    fast = await service.connect()
    # It never reads: its own library holds one message, the kernel what fits in its buffers.
    slow = await service.connect(receive_buffer=4096, max_queue=1)

    sent = await flood(service, fast, until_left=1)
    await service.send("after")

    assert await fast.call() == ("after", [])
    # What it finds when it reads at last: messages in order, then why it was closed.
    close, code = await slow.end()
    assert close == Close(error="The client is too slow to receive.", allow_reconnect=True)
    assert code == 1000
    assert sent >= 2


async def test_a_slow_client_that_never_reads_is_cut(start: Start) -> None:
    service = await start(max_pending_bytes=1_000_000, close_timeout=0)
    slow = await service.connect(receive_buffer=4096, max_queue=1)
    connection = service.only_connection()
    fast = await service.connect()

    await flood(service, fast, until_left=1)

    await service.send("after")
    assert await fast.call() == ("after", [])
    assert connection.state is State.CLOSED
    assert connection.close_reason == "The client is too slow to receive."
    assert await slow.end() == (None, None)


async def test_a_slow_client_is_named_in_the_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hubbub.service")
    service = await start(max_pending_bytes=1_000_000)
    slow = await service.connect(receive_buffer=4096, max_queue=1)
    connection = service.only_connection()
    fast = await service.connect()

    await flood(service, fast, until_left=1)

    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"connection {connection.id} is too slow and is closed"]
    slow.socket.transport.abort()


async def test_what_is_on_its_way_within_the_limit_slows_nobody_down(start: Start) -> None:
    service = await start(max_pending_bytes=20_000_000)
    fast = await service.connect()
    late = await service.connect(receive_buffer=4096, max_queue=1)
    big = EncodedMessage("big", b'["%b"]' % (b"x" * BIG))

    for _ in range(20):
        service.node.router.deliver(Envelope(Everyone("chat"), big))
        await fast.call()

    assert [target for target, _ in await late.calls(20)] == ["big"] * 20
