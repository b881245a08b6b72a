"""What fails for one connection costs that one, and completions and ends keep their place."""

import asyncio
from typing import NoReturn

import pytest
from tests.service.fakes import FakeClient
from tests.service.running import PATIENCE

from hubbub.protocol.codec import JSON
from hubbub.protocol.messages import Close, Completion, Invocation, Ping
from hubbub.service.node import Node
from hubbub.service.router import Envelope, Everyone, One
from hubbub.service.session import State
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import EncodedMessage, Wire

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture
async def node() -> Node:
    return Node(ServiceSettings())


def deliver(node: Node, target: str, *, to: FakeClient | None = None) -> None:
    address = Everyone("chat") if to is None else One("chat", to.connection.id)
    node.router.deliver(Envelope(address, EncodedMessage(target)))


async def turn() -> None:
    """Let the loop's turn end, and a flush with it, also one that a busy machine cuts in slices."""
    for _ in range(50):
        await asyncio.sleep(0)


def fail(*_: object) -> NoReturn:
    raise RuntimeError("broken")


async def test_a_write_that_fails_costs_one_connection_and_its_transport(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    before, broken, behind = (FakeClient(node) for _ in range(3))
    broken.transport.on_write = fail
    done: list[str] = []

    deliver(node, "a")
    node.registry.hub("chat").outbox.after(lambda: done.append("after"))  # type: ignore[union-attr]
    deliver(node, "b", to=behind)
    await turn()
    deliver(node, "c")
    await turn()

    assert before.calls() == ["a", "c"]
    assert behind.calls() == ["a", "b", "c"]
    assert done == ["after"]
    assert broken.connection.state is State.CLOSED
    assert broken.transport.is_closed
    (record,) = caplog.records
    assert record.getMessage() == "a write failed"


async def test_a_transport_that_cannot_even_be_closed_costs_nobody_else(node: Node) -> None:
    broken, other = FakeClient(node), FakeClient(node)
    broken.transport.on_write = fail
    broken.transport.close = fail  # type: ignore[method-assign]

    deliver(node, "a")
    await turn()
    deliver(node, "b")
    await turn()

    assert other.calls() == ["a", "b"]
    assert broken.connection.state is State.CLOSED


async def test_each_connection_whose_write_fails_is_lost_and_no_other(node: Node) -> None:
    clients = [FakeClient(node) for _ in range(200)]
    for client in clients[::3]:
        client.transport.on_write = fail

    deliver(node, "a")
    await turn()

    while not all(client.calls() for client in clients[1::3]):
        await turn()  # 200 may take more than one
    assert all(client.connection.state is State.CLOSED for client in clients[::3])
    assert [c.calls() for i, c in enumerate(clients) if i % 3] == [["a"]] * (200 * 2 // 3)


async def test_what_fails_after_a_delivery_stops_no_later_one(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeClient(node)
    done: list[str] = []

    deliver(node, "a")
    outbox = node.registry.hub("chat").outbox  # type: ignore[union-attr]
    outbox.after(fail)
    outbox.after(lambda: done.append("next"))
    deliver(node, "b")
    await turn()
    deliver(node, "c")
    await turn()

    assert client.calls() == ["a", "b", "c"]
    assert done == ["next"]
    (record,) = caplog.records
    assert record.getMessage() == "what was to be done after a delivery failed"


class BrokenMessage:
    """A message that cannot be had for a reason of our own. Satisfies `Sendable`."""

    count = 1

    def framed(self, wire: Wire) -> bytes:
        raise RuntimeError("broken")


async def test_a_message_that_cannot_be_framed_costs_itself(node: Node) -> None:
    client = FakeClient(node)
    deliver(node, "a")
    node.router.deliver(Envelope(Everyone("chat"), BrokenMessage()))
    deliver(node, "b")
    await turn()
    assert client.calls() == ["a", "b"]
    assert client.connection.state is State.OPEN


async def heard(client: FakeClient) -> None:
    """Wait for the next write."""
    written = asyncio.Event()
    client.transport.on_write = lambda data: written.set()
    async with asyncio.timeout(PATIENCE):
        await written.wait()


async def test_a_tick_that_fails_costs_one_connection_and_the_sweep_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = Node(ServiceSettings(keep_alive_interval=0))
    broken, other = FakeClient(node), FakeClient(node)
    broken.transport.is_deserted = fail  # type: ignore[assignment]
    node.open()
    try:
        await heard(other)
        await heard(other)
    finally:
        node.close()
        await node.upstream.close(0)

    assert other.messages()[:2] == [Ping(), Ping()]
    assert broken.connection.state is State.CLOSED
    assert broken.transport.is_closed
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "looking after Connection(" in record.getMessage()


async def test_a_completion_keeps_its_place_among_what_is_sent(node: Node) -> None:
    client = FakeClient(node)
    deliver(node, "before")
    client.connection.send(Completion(invocation_id="1", error="no"))
    deliver(node, "between", to=client)
    client.connection.pass_on(JSON.encode(Completion(invocation_id="2", error="no")), 1)
    deliver(node, "after")
    await turn()

    found = [
        message.target if isinstance(message, Invocation) else message.invocation_id
        for message in client.messages()
        if isinstance(message, Invocation | Completion)
    ]
    assert found == ["before", "1", "between", "2", "after"]


async def test_a_refused_call_is_answered_and_closed_after_what_was_accepted(node: Node) -> None:
    client = FakeClient(node)
    deliver(node, "before")
    client.connection.receive(b'{"type":1,"invocationId":"7","target":"t","arguments":[]}\x1e')
    await turn()

    first, answer, end = client.messages()
    assert isinstance(first, Invocation)
    assert isinstance(answer, Completion)
    assert answer.invocation_id == "7"
    assert isinstance(end, Close)
    assert client.transport.is_closed


async def test_nothing_is_sent_to_one_that_has_ended(node: Node) -> None:
    client, _stays = FakeClient(node), FakeClient(node)
    client.connection.close(Close())
    client.connection.send(Completion(invocation_id="1", error="late"))
    await turn()
    assert client.messages() == [Close()]
