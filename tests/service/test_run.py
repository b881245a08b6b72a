"""Messages that are accepted while a run to the same connections is written: they join it."""

import asyncio
import random
from contextlib import ExitStack

import pytest
from tests.service.fakes import FakeClient
from tests.service.test_audience import SocketClient, record

from hubbub.protocol.codec import JSON, MESSAGEPACK
from hubbub.service import outbox, run
from hubbub.service.node import Node
from hubbub.service.router import Address, Envelope, Everyone, One
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import EncodedMessage

STRIDE = run._STRIDE  # connections that are written to before anything may join


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    """One whose flushes let the loop have its turn as often as they can."""
    monkeypatch.setattr(outbox, "_SLICE", -1.0)
    return Node(ServiceSettings())


def deliver(node: Node, target: str, address: Address | None = None, *excluded: str) -> None:
    message = EncodedMessage(target)
    to = address or Everyone("chat")
    node.router.deliver(Envelope(to, message, frozenset(excluded)))


async def flush() -> None:
    """Let the loop turn until nothing is left to be written: once for each stride, or oftener."""
    for _ in range(500):
        await asyncio.sleep(0)


async def test_what_comes_meanwhile_goes_along_to_those_who_are_still_to_be_written_to(
    node: Node,
) -> None:
    clients = [FakeClient(node) for _ in range(3 * STRIDE)]
    deliver(node, "a")
    await asyncio.sleep(0)  # the first stride
    assert [client.writes for client in clients] == [1] * STRIDE + [0] * 2 * STRIDE

    deliver(node, "b")
    deliver(node, "c")
    await flush()

    assert [client.writes for client in clients] == [2] * STRIDE + [1] * 2 * STRIDE
    assert all(client.calls() == ["a", "b", "c"] for client in clients)


async def test_what_is_written_by_sockets_is_joined_in_the_same_way(node: Node) -> None:
    with ExitStack() as stack:
        clients = [SocketClient(node, stack) for _ in range(3 * STRIDE)]
        expected = record("a") + record("b")
        deliver(node, "a")
        await asyncio.sleep(0)
        first = [client.read() for client in clients]
        assert first == [record("a")] * STRIDE + [b""] * 2 * STRIDE

        deliver(node, "b")
        await flush()

        assert [one + client.read() for one, client in zip(first, clients, strict=True)] == (
            [expected] * 3 * STRIDE
        )


async def test_nothing_overtakes_what_was_accepted_before_it(node: Node) -> None:
    clients = [FakeClient(node) for _ in range(2 * STRIDE)]
    last = clients[-1]
    deliver(node, "a")
    await asyncio.sleep(0)

    deliver(node, "between", One("chat", last.connection.id))
    deliver(node, "b")
    await flush()

    assert last.calls() == ["a", "between", "b"]
    assert [client.calls() for client in clients[:-1]] == [["a", "b"]] * (2 * STRIDE - 1)


async def test_what_waits_for_the_messages_before_it_does_not_wait_for_more(node: Node) -> None:
    clients = [FakeClient(node) for _ in range(2 * STRIDE)]
    hub = node.registry.hub("chat")
    assert hub is not None
    seen: list[list[str]] = []
    deliver(node, "a")
    hub.outbox.after(lambda: seen.append(clients[0].calls()))
    await asyncio.sleep(0)
    deliver(node, "b")
    await flush()

    assert seen == [["a"]]
    assert [client.calls() for client in clients] == [["a", "b"]] * 2 * STRIDE


async def test_a_run_ends_however_much_there_is_to_join_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_LONGEST_RUN", 3)
    clients = [FakeClient(node) for _ in range(2 * STRIDE)]
    left = [*"bcdefgh"]

    def send_more(_data: bytes) -> None:
        if left:
            deliver(node, left.pop(0))

    clients[0].transport.on_write = send_more
    deliver(node, "a")
    await flush()

    assert [client.calls() for client in clients] == [[*"abcdefgh"]] * 2 * STRIDE
    assert clients[0].writes > 3


@pytest.mark.parametrize("seed", range(20))
async def test_everybody_gets_everything_once_and_in_order(node: Node, seed: int) -> None:
    dice = random.Random(seed)
    clients = [FakeClient(node, codec=dice.choice([JSON, MESSAGEPACK])) for _ in range(3 * STRIDE)]
    expected: dict[str, list[str]] = {client.connection.id: [] for client in clients}
    for number in range(40):
        target, one, kind = str(number), dice.choice(clients).connection.id, dice.random()
        if kind < 0.1:
            deliver(node, target, One("chat", one))
            expected[one].append(target)
        elif kind < 0.2:
            deliver(node, target, None, one)
            for connection_id in expected.keys() - {one}:
                expected[connection_id].append(target)
        else:
            deliver(node, target)
            for connection_id in expected:
                expected[connection_id].append(target)
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
    await flush()

    assert {client.connection.id: client.calls() for client in clients} == expected


async def test_who_ends_while_a_run_is_joined_costs_nobody_a_message(node: Node) -> None:
    with ExitStack() as stack:
        clients = [SocketClient(node, stack) for _ in range(3 * STRIDE)]
        deliver(node, "a")
        await asyncio.sleep(0)
        deliver(node, "b")
        await asyncio.sleep(0)
        clients[0].connection.lost()
        deliver(node, "c")
        await flush()

        # What is still to be written of the run goes through their transports from there on.
        for client in clients[1:]:
            written = client.read() + b"".join(client.transport.writes)
            assert sorted(written.split(b"\x1e")[:3]) == [record(t)[:-1] for t in "abc"]
            assert len(written) == 3 * len(record("a"))


async def test_nothing_joins_a_run_that_is_large_already(node: Node) -> None:
    clients = [FakeClient(node) for _ in range(2 * STRIDE)]
    big = EncodedMessage("big", b'["' + b"a" * run._MOST_BYTES + b'"]')
    node.router.deliver(Envelope(Everyone("chat"), big, frozenset()))
    await asyncio.sleep(0)
    deliver(node, "b")
    await flush()

    assert [client.writes for client in clients] == [2] * 2 * STRIDE
    assert all(client.calls() == ["big", "b"] for client in clients)


async def test_a_large_message_goes_to_fewer_at_once(node: Node) -> None:
    clients = [FakeClient(node) for _ in range(STRIDE + 1)]
    half = EncodedMessage("half", b'["' + b"a" * (run._STRIDE_BYTES // 2 - 100) + b'"]')
    node.router.deliver(Envelope(Everyone("chat"), half, frozenset()))
    await asyncio.sleep(0)
    assert [client.writes for client in clients] == [1] * 2 + [0] * (STRIDE - 1)
    await flush()
    assert [client.writes for client in clients] == [1] * (STRIDE + 1)


async def test_a_run_that_fails_keeps_nobody_from_the_next(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeClient(node)
    with monkeypatch.context() as broken:
        broken.setattr(run, "_write", None)
        deliver(node, "a")
        await flush()
    deliver(node, "b")
    await flush()

    assert client.calls() == ["b"]
    assert "messages to 1 clients were lost" in caplog.text


async def test_who_may_have_been_written_a_part_has_to_come_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[int]:
        raise OSError("io_getevents was refused")

    with ExitStack() as stack:
        clients = [SocketClient(node, stack) for _ in range(STRIDE)]
        with monkeypatch.context() as broken:
            broken.setattr("hubbub.service.audience.bulk_write", lambda: fail)
            deliver(node, "a")
            await flush()
        assert node.registry.hub("chat") is None
        assert all(client.transport.is_closed for client in clients)


async def test_who_could_be_told_nothing_is_pinged_in_time(node: Node) -> None:
    with ExitStack() as stack:
        clients = [SocketClient(node, stack) for _ in range(STRIDE)]
        now = asyncio.get_running_loop().time()
        for client in clients:
            client.connection.sent_at = now - 100
        only_messagepack = EncodedMessage(records={"messagepack": b"x"})
        node.router.deliver(Envelope(Everyone("chat"), only_messagepack, frozenset()))
        await flush()

        assert {client.connection.sent_at for client in clients} == {now - 100}
