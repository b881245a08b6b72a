"""The end of a service: its clients are told to connect again."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from tests.service.fakes import ENDPOINT
from tests.service.running import PATIENCE, Client
from websockets.asyncio.client import connect

from hubbub.protocol.messages import Close
from hubbub.protocol.tokens import issue_client_token
from hubbub.service.server import serve
from hubbub.service.settings import ServiceSettings


@pytest.fixture
def harmless_signal() -> Iterator[None]:
    """SIGTERM ends a service, which passes it on; it must not end the tests too."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    yield
    signal.signal(signal.SIGTERM, before)


async def connected(port: int) -> Client:
    token = issue_client_token(ENDPOINT, "chat", now=int(time.time()))
    opened = await connect(
        f"ws://127.0.0.1:{port}/client/?hub=chat",
        additional_headers={"Authorization": f"Bearer {token}"},
        compression=None,
        proxy=None,
    )
    client = Client(opened)
    assert await client.handshake() == b"{}\x1e"
    return client


@pytest.mark.usefixtures("harmless_signal")
async def test_a_service_that_is_stopped_lets_its_clients_connect_again() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ready = asyncio.Event()
    settings = ServiceSettings(drain_window=0)
    serving = asyncio.ensure_future(serve(settings, listener, ready=lambda _: ready.set()))
    async with asyncio.timeout(PATIENCE):
        await ready.wait()
        clients = [await connected(listener.getsockname()[1]) for _ in range(3)]

        os.kill(os.getpid(), signal.SIGTERM)

        ends = [await client.end() for client in clients]
        await serving
    assert ends == [(Close(allow_reconnect=True), 1000)] * 3
