"""A node that shares its port with others and leaves it to them."""

import asyncio
import socket

import pytest
from tests.service.running import PATIENCE

from hubbub.service.node import Node
from hubbub.service.server import _Server
from hubbub.service.settings import ServiceSettings

HEALTH = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
SEND = b"POST /api/hubs/chat/:send HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def serving() -> tuple[_Server, socket.socket]:
    """A server as `serve` makes it, whose loop is the test's."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = _Server(Node(ServiceSettings()), listener, lambda: None, lambda _: None)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup([listener])
    return server, listener


async def answer(client: socket.socket) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await asyncio.get_running_loop().sock_recv(client, 65_536)


async def test_who_waits_to_be_accepted_is_served_and_nobody_after_that() -> None:
    server, listener = await serving()
    address = listener.getsockname()
    waiting = [socket.create_connection(address) for _ in range(5)]  # the loop does not turn
    server.leave_port()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for client in waiting:
        client.setblocking(False)
        client.sendall(HEALTH)
        assert (await answer(client)).startswith(b"HTTP/1.1 200 OK")
        client.close()
    server.leave_port()  # once more changes nothing
    await server.shutdown()


async def test_a_process_that_goes_on_with_the_socket_takes_who_comes_next() -> None:
    server, listener = await serving()
    with listener.dup() as inherited:
        server.leave_port()
        with socket.create_connection(inherited.getsockname()):
            inherited.accept()[0].close()
    await server.shutdown()


async def test_nobody_waits_at_a_socket_that_is_left_for_good() -> None:
    server, listener = await serving()
    with listener.dup() as inherited:
        server.leave_port(is_for_good=True)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(inherited.getsockname())
    await server.shutdown()


@pytest.mark.parametrize("request_bytes", [HEALTH, SEND], ids=["asgi", "direct"])
async def test_connections_that_are_kept_end_with_their_next_answer(request_bytes: bytes) -> None:
    server, listener = await serving()
    with socket.create_connection(listener.getsockname()) as client:
        client.setblocking(False)
        client.sendall(HEALTH)
        assert b"connection: close" not in await answer(client)

        server.leave_port()
        client.sendall(request_bytes)
        assert (await answer(client)).count(b"connection: close") == 1
        assert await answer(client) == b""
    await server.shutdown()


async def test_who_came_last_is_heard_before_the_end() -> None:
    server, listener = await serving()
    with socket.create_connection(listener.getsockname()) as client:
        client.setblocking(False)
        server.leave_port()
        ending = asyncio.create_task(server.shutdown())
        for _ in range(100):  # nobody else has to be waited for
            await asyncio.sleep(0)
        client.sendall(SEND)
        assert (await answer(client)).startswith(b"HTTP/1.1 401")
        await ending
