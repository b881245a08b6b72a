"""The outbox: order, joined writes, and what may go wrong with one message or one connection."""

import asyncio
import logging
import random
import time

import pytest
from tests.service.fakes import WIRES, FakeClient, join

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import JSON, MESSAGEPACK
from hubbub.protocol.messages import Close, Invocation
from hubbub.service import outbox
from hubbub.service.node import Node
from hubbub.service.router import Address, Envelope, Everyone, Group, One, User
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import EncodedMessage, Sendable, Wire

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture
async def node() -> Node:
    return Node(ServiceSettings())


def deliver(node: Node, address: Address, message: Sendable | str, *excluded: str) -> None:
    sent = EncodedMessage(message) if isinstance(message, str) else message
    node.router.deliver(Envelope(address, sent, frozenset(excluded)))


async def turn() -> None:
    """Let the loop's turn end, and a flush with it, also one that a busy machine cuts in slices."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_nothing_is_written_before_the_loops_turn_ends(node: Node) -> None:
    client = FakeClient(node)
    deliver(node, Everyone("chat"), "a")
    assert client.writes == 0
    assert repr(node.registry.hub("chat").outbox) == "Outbox(pending=1)"  # type: ignore[union-attr]
    await turn()
    assert client.calls() == ["a"]
    assert repr(node.registry.hub("chat").outbox) == "Outbox(pending=0)"  # type: ignore[union-attr]


async def test_a_run_to_the_same_audience_is_one_write_to_each_connection(node: Node) -> None:
    clients = [FakeClient(node) for _ in range(3)]
    for target in "abcde":
        deliver(node, Everyone("chat"), target)
    await turn()
    assert [(client.writes, client.calls()) for client in clients] == [(1, [*"abcde"])] * 3


async def test_another_turn_is_another_write(node: Node) -> None:
    client = FakeClient(node)
    for target in "ab":
        deliver(node, Everyone("chat"), target)
        await turn()
    assert (client.writes, client.calls()) == (2, ["a", "b"])


async def test_runs_with_other_exclusions_are_not_joined(node: Node) -> None:
    first, second = FakeClient(node), FakeClient(node)
    deliver(node, Everyone("chat"), "a", first.connection.id)
    deliver(node, Everyone("chat"), "b")
    deliver(node, Everyone("chat"), "c", second.connection.id)
    await turn()
    assert (first.calls(), second.calls()) == (["b", "c"], ["a", "b"])


@pytest.mark.parametrize("seed", range(20))
async def test_the_order_for_one_connection_is_that_of_acceptance(node: Node, seed: int) -> None:
    dice = random.Random(seed)
    clients = [
        FakeClient(node, user=dice.choice(["ann", "bob"]), codec=dice.choice([JSON, MESSAGEPACK]))
        for _ in range(6)
    ]
    for client in clients:
        for group in ("g", "h"):
            if dice.random() < 0.5:
                join(node, client, group)
    expected: dict[str, list[str]] = {client.connection.id: [] for client in clients}

    for number in range(60):
        one = dice.choice(clients).connection
        choices: list[tuple[Address, list[FakeClient]]] = [
            (Everyone("chat"), clients),
            (Group("chat", "g"), [c for c in clients if "g" in c.connection.groups]),
            (Group("chat", "h"), [c for c in clients if "h" in c.connection.groups]),
            (User("chat", "ann"), [c for c in clients if c.connection.user_id == "ann"]),
            (One("chat", one.id), [c for c in clients if c.connection is one]),
        ]
        address, reached = dice.choice(choices)
        excluded = [one.id] if dice.random() < 0.2 else []
        deliver(node, address, str(number), *excluded)
        for client in reached:
            if client.connection.id not in excluded:
                expected[client.connection.id].append(str(number))
        if dice.random() < 0.1:
            await turn()
    await turn()

    assert {client.connection.id: client.calls() for client in clients} == expected


class CountedMessage:
    """A message that counts how often it is framed. Satisfies `Sendable`."""

    count = 1

    def __init__(self) -> None:
        self.asked: list[str] = []

    def framed(self, wire: Wire) -> bytes:
        self.asked.append(wire.name)
        return wire.codec.encode(Invocation(target="t", arguments=wire.codec.encode_value([])))


async def test_a_message_is_framed_once_for_each_wire_however_many_get_it(node: Node) -> None:
    clients = [FakeClient(node, codec=codec) for codec in (JSON, MESSAGEPACK) * 100]
    message = CountedMessage()
    deliver(node, Everyone("chat"), message)
    await turn()
    assert sorted(message.asked) == ["fake/json", "fake/messagepack"]
    assert all(client.calls() == ["t"] for client in clients)


async def test_a_message_is_not_framed_for_wires_that_nobody_has(node: Node) -> None:
    FakeClient(node)
    message = CountedMessage()
    deliver(node, Everyone("chat"), message)
    await turn()
    assert message.asked == ["fake/json"]


UNSAYABLE = [
    b'["\\ud800"]',
    b"[18446744073709551616]",
    b"[-9223372036854775809]",
    b"[" * 10_000 + b"]" * 10_000,
    b"[1e999]",
]


@pytest.mark.parametrize("arguments", UNSAYABLE, ids=lambda value: value[:20].decode())
async def test_what_messagepack_cannot_say_is_lost_alone_and_logged(
    node: Node, arguments: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    text, binary = FakeClient(node), FakeClient(node, codec=MESSAGEPACK)

    deliver(node, Everyone("chat"), "before")
    deliver(node, Everyone("chat"), EncodedMessage("bad", arguments))
    deliver(node, Everyone("chat"), "after")
    await turn()
    deliver(node, Everyone("chat"), "later")
    await turn()

    assert binary.calls() == ["before", "after", "later"]
    assert b'"bad"' in b"".join(text.transport.writes)
    assert b'"later"' in b"".join(text.transport.writes)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "EncodedMessage('bad') was not delivered" in record.getMessage()


async def test_a_message_that_only_some_encodings_have_reaches_those(node: Node) -> None:
    text, binary = FakeClient(node), FakeClient(node, codec=MESSAGEPACK)
    message = Invocation(target="t", arguments=MESSAGEPACK.encode_value([b"bytes"]))
    deliver(node, Everyone("chat"), EncodedMessage.of(message, MESSAGEPACK))
    await turn()
    assert (text.calls(), binary.calls()) == ([], ["t"])
    assert text.writes == 0


async def test_a_message_that_cannot_be_said_at_all_costs_itself_and_no_more(node: Node) -> None:
    # A target is text from JSON, from an upstream or from an app; half a character is no text.
    client = FakeClient(node)
    deliver(node, Everyone("chat"), "\ud800")
    deliver(node, Everyone("chat"), "same turn")
    await turn()
    deliver(node, Everyone("chat"), "later")
    await turn()
    assert client.calls() == ["same turn", "later"]


def test_an_encoded_message_says_why_a_wire_cannot_have_it() -> None:
    with pytest.raises(ProtocolError, match="cannot be said in messagepack"):
        EncodedMessage("t", b"[18446744073709551616]").framed(WIRES["messagepack"])
    message = Invocation(target="t", arguments=JSON.encode_value([]))
    with pytest.raises(ProtocolError, match="was not sent for messagepack clients"):
        EncodedMessage.of(message, JSON).framed(WIRES["messagepack"])


def test_json_arguments_pass_as_the_bytes_they_are() -> None:
    arguments = b'[1.0, 1e3,"\\u00e9" ,{"b":1,"a":2},123456789012345678901234567890]'
    framed = EncodedMessage("t", arguments).framed(WIRES["json"])
    assert framed == b'{"type":1,"target":"t","arguments":' + arguments + b"}\x1e"


def test_json_arguments_become_the_same_values_in_messagepack() -> None:
    framed = EncodedMessage("t", b'[1,1.5,"a",null,true,{"b":[]}]').framed(WIRES["messagepack"])
    (record,) = MESSAGEPACK.reader(1000).feed(framed)
    message = MESSAGEPACK.decode(record)
    assert isinstance(message, Invocation)
    assert MESSAGEPACK.decode_value(message.arguments) == [1, 1.5, "a", None, True, {"b": []}]


async def test_who_joins_after_a_message_was_accepted_does_not_get_it(node: Node) -> None:
    early = FakeClient(node)
    deliver(node, Everyone("chat"), "a")
    late = FakeClient(node)
    deliver(node, Everyone("chat"), "b")
    await turn()
    assert (early.calls(), late.calls()) == (["a", "b"], ["b"])


async def test_who_closes_before_the_flush_is_written_nothing_after_its_close(node: Node) -> None:
    stays, goes = FakeClient(node), FakeClient(node)
    deliver(node, Everyone("chat"), "a")
    goes.connection.close(Close(error="bye"))
    await turn()
    assert stays.calls() == ["a"]
    assert goes.messages() == [Close(error="bye")]


async def test_who_closes_during_a_flush_is_written_nothing_more_and_the_rest_are(
    node: Node,
) -> None:
    first, second, third = (FakeClient(node) for _ in range(3))
    first.transport.on_write = lambda data: second.connection.close(Close(error="bye"))
    third.transport.on_write = lambda data: third.connection.lost()

    deliver(node, Everyone("chat"), "a")
    deliver(node, One("chat", third.connection.id), "b")
    deliver(node, Everyone("chat"), "c")
    await turn()

    assert first.calls() == ["a", "c"]
    assert second.messages() == [Close(error="bye")]
    assert third.calls() == ["a"]
    assert [c.id for c in node.registry.hub("chat").connections] == [first.connection.id]  # type: ignore[union-attr]


async def test_the_last_client_may_go_during_a_flush(node: Node) -> None:
    client, last = FakeClient(node), FakeClient(node)
    client.transport.on_write = lambda data: client.connection.lost()
    last.transport.on_write = lambda data: last.connection.lost()
    deliver(node, Everyone("chat"), "a")
    deliver(node, One("chat", client.connection.id), "b")
    await turn()
    assert (client.calls(), last.calls()) == (["a"], ["a"])
    again = FakeClient(node)
    deliver(node, Everyone("chat"), "c")
    await turn()
    assert again.calls() == ["c"]


async def test_what_is_accepted_during_a_flush_comes_after_it(node: Node) -> None:
    first, second = FakeClient(node), FakeClient(node)

    def answer(data: bytes) -> None:
        first.transport.on_write = lambda data: None
        deliver(node, Everyone("chat"), "answer")

    first.transport.on_write = answer
    deliver(node, Everyone("chat"), "a")
    deliver(node, Group("chat", "nobody"), "b")
    deliver(node, One("chat", second.connection.id), "c")
    await turn()
    assert (first.calls(), second.calls()) == (["a", "answer"], ["a", "c", "answer"])


async def test_a_long_flush_lets_the_loop_have_its_turn_and_keeps_the_order(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_SLICE", 0.004)
    clients = [FakeClient(node) for _ in range(300)]
    # What makes a flush long is the time that a write takes.
    clients[0].transport.on_write = lambda data: time.sleep(0.01)
    reached_when_the_loop_had_its_turn: list[int] = []

    def look() -> None:
        reached_when_the_loop_had_its_turn.append(sum(client.writes > 0 for client in clients))
        deliver(node, One("chat", clients[0].connection.id), "between")

    deliver(node, Everyone("chat"), "a")
    asyncio.get_running_loop().call_soon(look)
    deliver(node, One("chat", clients[0].connection.id), "b")
    await turn()
    while not clients[-1].writes or clients[0].calls()[-1] != "between":
        await turn()

    assert 0 < reached_when_the_loop_had_its_turn[0] < 300
    assert clients[0].calls() == ["a", "b", "between"]
    assert all(client.calls() == ["a"] for client in clients[1:])


async def test_hubs_do_not_wait_for_each_other(node: Node) -> None:
    chat, news = FakeClient(node, "chat"), FakeClient(node, "news")
    deliver(node, Everyone("chat"), "a")
    deliver(node, Everyone("news"), "b")
    await turn()
    assert (chat.calls(), news.calls()) == (["a"], ["b"])
