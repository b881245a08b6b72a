"""A service that stops: who is told what, in which order, and what a second signal does."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from tests.cli.programs import running
from tests.service.conftest import Start
from tests.service.fakes import FakeClient, FakeTransport, access_of
from tests.service.running import PATIENCE, Service
from tests.service.upstream_app import until
from websockets.exceptions import InvalidStatus

from hubbub.protocol.messages import Close, Invocation
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.node import Node
from hubbub.service.router import Envelope, Everyone, One
from hubbub.service.session import State
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import EncodedMessage

AGAIN = Close(allow_reconnect=True)


def closed(clients: list[FakeClient]) -> int:
    return sum(client.transport.is_closed for client in clients)


def paced(node: Node, clients: list[FakeClient]) -> Iterator[int]:
    """How many clients have been let go after each step of a drain."""
    for _pause in node.drain():
        yield closed(clients)
    yield closed(clients)


async def test_what_was_accepted_arrives_before_the_end() -> None:
    node = Node(ServiceSettings())
    clients = [FakeClient(node) for _ in range(3)]
    for target in ("a", "b"):
        node.router.deliver(Envelope(Everyone("chat"), EncodedMessage(target)))
    to_one = One("chat", clients[0].connection.id)
    node.router.deliver(Envelope(to_one, EncodedMessage("c")))

    assert list(node.drain()) == []
    await asyncio.sleep(0)

    for client, calls in zip(clients, (["a", "b", "c"], ["a", "b"], ["a", "b"]), strict=True):
        *before, last = client.messages()
        assert [m.target for m in before if isinstance(m, Invocation)] == calls
        assert last == AGAIN
        assert client.transport.is_closed


@pytest.mark.parametrize(
    ("clients", "window", "steps"),
    [
        (3, 5.0, [3]),
        (50, 5.0, [50]),
        (120, 5.0, [50, 100, 120]),  # so many at least go at once
        (1000, 1.0, list(range(100, 1001, 100))),
        (300, 0.0, [300]),
    ],
)
async def test_many_clients_are_let_go_over_the_window(
    clients: int, window: float, steps: list[int]
) -> None:
    node = Node(ServiceSettings(drain_window=window))
    assert list(paced(node, [FakeClient(node) for _ in range(clients)])) == steps


async def test_those_who_go_later_still_receive_meanwhile() -> None:
    node = Node(ServiceSettings())
    clients = [FakeClient(node) for _ in range(60)]
    steps = node.drain()
    next(steps)

    node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("meanwhile")))
    assert next(steps, None) is None
    await asyncio.sleep(0)

    assert all(client.messages() == [AGAIN] for client in clients[:50])
    assert all(client.calls() == ["meanwhile"] for client in clients[50:])
    assert all(client.messages()[-1] == AGAIN for client in clients[50:])


async def test_who_has_no_handshake_yet_and_who_has_gone_are_no_hindrance() -> None:
    node = Node(ServiceSettings())
    transport = FakeTransport()
    early = node.connect(access_of(), transport)
    stays, gone = FakeClient(node), FakeClient(node)
    gone.connection.lost()

    assert list(node.drain()) == []

    assert early.state is State.CLOSING
    assert transport.is_closed
    assert transport.writes == []
    assert stays.messages() == [AGAIN]
    assert gone.messages() == []


async def test_over_every_transport_what_was_accepted_arrives_before_the_end(
    start: Start,
) -> None:
    service = await start()
    socket = await service.connect()
    polling = await service.polling()
    _streaming, events = await service.streaming()
    service.node.router.deliver(Envelope(Everyone("chat"), EncodedMessage("last")))

    assert list(service.node.drain()) == []

    end = b'{"type":7,"allowReconnect":true}\x1e'
    assert await socket.call() == ("last", [])
    assert await socket.end() == (AGAIN, 1000)
    assert (await polling.poll()).body.endswith(b'"target":"last","arguments":[]}\x1e' + end)
    assert (await polling.poll()).status == 204
    heard = await events.until(b"\r\n0\r\n\r\n")
    assert heard.index(b'"target":"last"') < heard.index(end)


async def test_clients_over_http_are_let_go_when_the_process_is_told_to_stop(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        options = ("service", "--port", "0")
        process, facts = stack.enter_context(running(*options, cwd=tmp_path, log=tmp_path / "log"))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        clients = await stack.enter_async_context(AsyncExitStack())
        # The node is not served here: it only says with which key tokens are signed.
        service = Service(Node(ServiceSettings()), facts["service"]["url"], http, clients)
        polling = await service.polling()
        poll = asyncio.ensure_future(polling.poll())
        _streaming, events = await service.streaming()

        process.send_signal(signal.SIGTERM)

        end = {"type": 7, "allowReconnect": True}
        heard = await events.until(b"\r\n0\r\n\r\n")
        assert json.dumps(end, separators=(",", ":")).encode() in heard
        assert json.loads((await poll).body[:-1]) == end
        await asyncio.to_thread(process.wait, PATIENCE)


STUBBORN = """
import asyncio
import socket

from hubbub.service.server import serve
from hubbub.service.settings import ServiceSettings

listener = socket.create_server(("127.0.0.1", 0))
settings = ServiceSettings(close_timeout=100_000)
asyncio.run(serve(settings, listener, ready=lambda _: print(listener.getsockname()[1], flush=True)))
"""


async def test_a_second_signal_ends_a_service_that_waits_for_a_client() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STUBBORN, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.wait)
        stack.callback(lambda: process.kill() if process.returncode is None else None)
        port = await process.stdout.readline()
        http = await stack.enter_async_context(aiohttp.ClientSession())
        clients = await stack.enter_async_context(AsyncExitStack())
        service = Service(Node(ServiceSettings()), f"http://127.0.0.1:{int(port)}", http, clients)
        client = await service.polling()
        raw = await service.raw()
        raw.send(client.head("POST", "Content-Length: 100", "Expect: 100-continue"))
        assert await raw.status() == 100  # it waits for a body that does not come
        poll = asyncio.ensure_future(client.poll())

        process.send_signal(signal.SIGTERM)
        assert b'"type":7' in (await poll).body  # so the first signal has been heard
        process.send_signal(signal.SIGTERM)

        async with asyncio.timeout(PATIENCE):
            await process.wait()


async def test_a_service_that_lets_clients_go_takes_no_new_ones_and_answers_calls(
    start: Start,
) -> None:
    service = await start()
    await service.connect()
    negotiated = await service.http_client()

    assert list(service.node.drain()) == []

    with pytest.raises(InvalidStatus) as refused:
        await service.open()
    assert refused.value.response.status_code == 503
    path = "/client/negotiate?hub=chat&negotiateVersion=1"
    assert (await service.request("POST", path, token=service.token())).status == 503
    assert (await negotiated.poll()).status == 503
    await service.send("still answered")


async def test_a_service_is_drained_when_the_app_has_heard_of_everybody() -> None:
    app = socket.create_server(("127.0.0.1", 0))
    app.setblocking(False)
    url = f"http://127.0.0.1:{app.getsockname()[1]}/"
    node = Node(ServiceSettings(upstream_templates=(Template(url_template=url),)))
    with app:
        client = FakeClient(node)
        assert not node.is_drained  # it is told of a client that has come

        assert list(node.drain()) == []
        await asyncio.sleep(0)
        assert client.transport.is_closed
        assert not node.is_drained
    await until(lambda: node.is_drained)
    await node.upstream.close()
