"""Many connections written to at once, socket by socket: order, whole frames, whom it spares."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from tests.service.conftest import Start
from tests.service.fakes import FakeClient, join
from tests.service.running import Client, Raw, Service
from websockets.exceptions import ConnectionClosed

from hubbub.protocol.codec import JSON, MESSAGEPACK
from hubbub.protocol.messages import Close
from hubbub.service.audience import Audience
from hubbub.service.node import Node
from hubbub.service.router import Envelope, Everyone, Group, One
from hubbub.service.settings import ServiceSettings
from hubbub.service.transports.websocket import WebSocketTransport
from hubbub.service.wire import EncodedMessage

pytestmark = pytest.mark.usefixtures("unhurried")

MANY = 20  # more than are written to one by one


def deliver(node: Node, target: str, arguments: bytes = b"[]", *excluded: str) -> None:
    message = EncodedMessage(target, arguments)
    node.router.deliver(Envelope(Everyone("chat"), message, frozenset(excluded)))


class SocketClient(FakeClient):
    """A client whose connection has a socket besides its transport, as WebSockets have."""

    def __init__(self, node: Node, stack: ExitStack, room: int | None = None) -> None:
        super().__init__(node)
        ours, self.socket = socket.socketpair()
        for end in (ours, self.socket):
            end.setblocking(False)
            stack.enter_context(end)
        if room is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        self.ours = ours
        self.connection.descriptor = ours.fileno()

    def read(self) -> bytes:
        """What has come through the socket."""
        data = b""
        with suppress(BlockingIOError):
            while piece := self.socket.recv(1 << 20):
                data += piece
        return data


@pytest.fixture
async def node() -> Node:
    return Node(ServiceSettings())


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def audience(node: Node) -> Audience:
    hub = node.registry.hub("chat")
    assert hub is not None
    return hub.connections.snapshot()


def record(target: str) -> bytes:
    return b'{"type":1,"target":"%b","arguments":[]}\x1e' % target.encode()


async def test_many_are_written_to_by_their_sockets_and_few_by_their_transports(
    node: Node, stack: ExitStack
) -> None:
    clients = [SocketClient(node, stack) for _ in range(15)]
    deliver(node, "a")
    await asyncio.sleep(0)
    assert [(client.calls(), client.read()) for client in clients] == [(["a"], b"")] * 15

    clients += [SocketClient(node, stack) for _ in range(5)]
    deliver(node, "b")
    await asyncio.sleep(0)
    assert [client.read() for client in clients] == [record("b")] * MANY


async def test_exclusions_encodings_and_transports_without_a_socket_are_heeded(
    node: Node, stack: ExitStack
) -> None:
    clients = [SocketClient(node, stack) for _ in range(MANY)]
    plain, binary = FakeClient(node), FakeClient(node, codec=MESSAGEPACK)
    deliver(node, "a", b"[]", clients[3].connection.id)
    deliver(node, "b")
    await asyncio.sleep(0)
    assert (plain.calls(), binary.calls()) == (["a", "b"], ["a", "b"])
    assert (clients[3].read(), clients[3].calls()) == (record("b"), [])
    assert (clients[4].read(), clients[4].calls()) == (record("b"), ["a"])


async def test_what_a_socket_does_not_take_goes_to_the_transport_and_nobody_else_misses_it(
    node: Node, stack: ExitStack
) -> None:
    small = (0, 7, MANY - 1)
    clients = [
        SocketClient(node, stack, room=4096 if number in small else None) for number in range(MANY)
    ]
    big = b'["%b"]' % (b"x" * 60_000)
    deliver(node, "big", big)
    await asyncio.sleep(0)
    for number, client in enumerate(clients):
        rest = b"".join(client.transport.writes)
        assert bool(rest) == (number in small)
        assert client.read() + rest == b'{"type":1,"target":"big","arguments":%b}\x1e' % big


async def test_a_socket_that_is_broken_is_left_to_its_transport(
    node: Node, stack: ExitStack
) -> None:
    clients = [SocketClient(node, stack) for _ in range(MANY)]
    clients[5].socket.close()
    deliver(node, "a")
    await asyncio.sleep(0)
    assert clients[5].calls() == ["a"]
    assert [client.read() for client in clients[6:]] == [record("a")] * (MANY - 6)


@pytest.mark.parametrize("event", ["ends", "falls behind", "fails"])
async def test_who_ends_or_falls_behind_meanwhile_is_not_written_to_by_its_socket(
    node: Node, stack: ExitStack, event: str
) -> None:
    clients = [SocketClient(node, stack) for _ in range(200)]
    last = clients[-1]

    def act(_data: bytes) -> None:
        if event == "ends":
            last.connection.close(Close())
        elif event == "fails":
            last.connection.fail()
        else:
            last.connection.descriptor = -1
            node.registry.refresh(last.connection)

    first = clients[0]  # whose socket is full, so that its transport is written to
    first.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with suppress(BlockingIOError):
        while True:
            first.ours.send(b"x" * 1000)
    first.transport.on_write = act

    deliver(node, "a")
    await asyncio.sleep(0)

    assert last.read() == b""
    assert last.calls() == (["a"] if event == "falls behind" else [])
    assert clients[-2].read() + b"".join(clients[-2].transport.writes) == record("a")


async def test_a_snapshot_is_current_until_somebody_joins_leaves_ends_or_is_refreshed(
    node: Node,
) -> None:
    clients = [FakeClient(node, user="u") for _ in range(MANY)]
    for client in clients:
        join(node, client, "g")
    hub = node.registry.hub("chat")
    assert hub is not None
    all_members = (hub.connections, hub.users["u"], hub.groups["g"])

    def changed(action: object) -> bool:
        before = [members.snapshot() for members in all_members]
        assert all(snapshot.is_current for snapshot in before)
        assert callable(action)
        action()
        return not any(snapshot.is_current for snapshot in before)

    assert changed(lambda: node.registry.refresh(clients[0].connection))
    assert changed(lambda: clients[0].connection.lost())
    assert changed(lambda: join(node, FakeClient(node, user="u"), "g"))


async def test_who_receives_broadcasts_is_not_pinged(node: Node, stack: ExitStack) -> None:
    clients = [SocketClient(node, stack) for _ in range(MANY)]
    now = asyncio.get_running_loop().time()
    for client in clients:
        client.connection.sent_at = now - 100
    deliver(node, "a")
    await asyncio.sleep(0)
    for client in clients:
        client.connection.tick(now + 14)
        assert client.transport.writes == []
        client.connection.tick(now + 16.1)
        assert client.transport.writes == [JSON.ping]


# The same with sockets of a real service.


async def raw_client(service: Service, receive_buffer: int | None = None) -> Raw:
    """A WebSocket that is read by hand, so that it can be left unread."""
    raw = await service.raw(receive_buffer)
    raw.send(
        f"GET /client/?hub=chat&access_token={service.token()} HTTP/1.1\r\nHost: service\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert await raw.status() == 101
    handshake = b'{"protocol":"json","version":1}\x1e'
    raw.send(bytes((0x81, 0x80 | len(handshake), 0, 0, 0, 0)) + handshake)
    assert await raw.until(b"\x1e") == b"\x81\x03{}\x1e"
    return raw


async def crowd(service: Service) -> list[Client]:
    return [await service.connect() for _ in range(MANY)]


async def test_what_is_written_in_one_turn_arrives_in_its_order(service: Service) -> None:
    clients = await crowd(service)
    connection = next(iter(service.hub().connections))
    service.node.registry.add_to_group(service.hub(), "g", connection)
    for number in range(0, 60, 3):
        deliver(service.node, str(number))
        for address in (One("chat", connection.id), Group("chat", "g")):
            number += 1
            service.node.router.deliver(Envelope(address, EncodedMessage(str(number))))
    expected = [str(number) for number in range(60)]
    assert [target for target, _ in await clients[0].calls(60)] == expected
    assert [target for target, _ in await clients[1].calls(20)] == expected[::3]


async def test_a_client_that_pauses_and_reads_on_misses_nothing(start: Start) -> None:
    service = await start(max_pending_bytes=100_000_000)
    others = await crowd(service)
    raw = await raw_client(service, receive_buffer=4096)
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    filler = b'["%b"]' % (b"x" * 50_000)
    for number in range(100):
        deliver(service.node, str(number), filler)
        await others[0].call()
    for connection in service.hub().connections:
        connection.send(Close())  # by the transport, after what waits there

    raw.writer.transport.resume_reading()  # type: ignore[attr-defined]

    for number in range(100):
        body = b'{"type":1,"target":"%d","arguments":%b}\x1e' % (number, filler)
        assert await raw.until(b"\x1e") == b"\x81\x7e" + len(body).to_bytes(2) + body
    assert (await raw.until(b"\x1e")).endswith(b'{"type":7}\x1e')


async def test_a_client_that_reads_slowly_hears_everything_in_order(start: Start) -> None:
    service = await start(max_pending_bytes=100_000_000)
    others = await crowd(service)
    raw = await raw_client(service, receive_buffer=4096)
    filler = b'["%b"]' % (b"x" * 3000)
    for first in range(0, 1000, 50):
        for number in range(first, first + 50):
            deliver(service.node, str(number), filler)
            await asyncio.sleep(0)
        for number in range(first // 2, first // 2 + 25):  # half of it
            assert b'"target":"%d"' % number in await raw.until(b"\x1e")
    for number in range(500, 1000):
        assert b'"target":"%d"' % number in await raw.until(b"\x1e")
    assert await others[0].calls(1000)


async def test_a_client_that_has_caught_up_is_written_to_by_its_socket_again(
    start: Start,
) -> None:
    service = await start(max_pending_bytes=100_000_000)
    raw = await raw_client(service, receive_buffer=4096)
    connection = service.only_connection()
    assert connection.descriptor >= 0
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    transport = connection.transport
    assert isinstance(transport, WebSocketTransport)
    while connection.descriptor >= 0:
        assert transport._pending == 0  # or what is written to the socket would overtake it
        deliver(service.node, "big", b'["%b"]' % (b"x" * 3000))
        await asyncio.sleep(0)
    assert transport._pending > 0
    raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
    while connection.descriptor < 0:
        await raw.until(b"\x1e")
    os.fstat(connection.descriptor)
    connection.close(Close())
    assert connection.descriptor == -1


async def test_a_client_that_never_reads_is_closed_and_the_many_others_receive(
    start: Start,
) -> None:
    service = await start(max_pending_bytes=200_000)
    others = await crowd(service)
    raw = await raw_client(service, receive_buffer=4096)
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    sent = 0
    while len(service.hub().connections) > MANY:
        deliver(service.node, "big", b'["%b"]' % (b"x" * 50_000))
        sent += 1
        for client in others:
            await client.call()
    deliver(service.node, "after")
    assert [await client.call() for client in others] == [("after", [])] * MANY

    raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
    everything = (await raw.rest()).split(b"\x1e")
    assert [b'"target":"big"' in each for each in everything[:-2]] == [True] * sent
    assert (
        b'{"type":7,"error":"The client is too slow to receive.","allowReconnect":true}'
        in (everything[-2])
    )


async def test_nobody_receives_what_was_meant_for_a_socket_that_has_gone(service: Service) -> None:
    """Clients of one hub come and go while it is sent to; another hub's get their descriptors."""
    stayed = await crowd(service)
    heard: list[str] = []

    async def come_and_go(number: int) -> None:
        hub = "news" if number % 2 else "chat"
        client = await service.connect(hub)
        if number % 4 < 2:
            client.socket.transport.abort()
        else:
            await service.send("yours", hub="news")
            await client.socket.close()
        if hub == "news":
            with suppress(ConnectionClosed):
                while True:
                    heard.append((await client.call())[0])

    sent = 0
    for start in range(0, 120, 10):
        coming = [asyncio.create_task(come_and_go(start + each)) for each in range(10)]
        while not all(task.done() for task in coming):
            deliver(service.node, "theirs")
            sent += 1
            await asyncio.sleep(0)
        await asyncio.gather(*coming)
    assert "theirs" not in heard
    for client in stayed:
        assert await client.calls(sent) == [("theirs", [])] * sent
