"""What every backplane guarantees while all is well, whatever it is made of."""

import asyncio
import random
from typing import Any

import pytest
from tests.conformance.conftest import Join

from hubbub.service.backplane.backplane import BackplaneError

NAMES = [
    "h:chat",
    "g:chat:ümläut 🎈",
    "u:chat:{a}:{b}",
    "c:}{",
    "line\nbreak",
    "*",
    "",
    " ",
    "{}",
    "\ud800",
]


async def test_a_message_reaches_everybody_who_listens_and_its_sender(join: Join) -> None:
    sender, other, deaf = await join(), await join(), await join()
    await asyncio.gather(sender.backplane.listen("x"), other.backplane.listen("x"))

    reached = await sender.backplane.publish("x", b"hello")

    assert reached == 2
    await sender.has(("x", b"hello"))
    await other.has(("x", b"hello"))
    assert deaf.received == []


async def test_what_nobody_listens_to_reaches_nobody(join: Join) -> None:
    sender = await join()

    assert await sender.backplane.publish("x", b"hello") == 0
    assert await sender.backplane.listeners(["x"]) == [0]


async def test_listeners_are_counted_for_each_channel(join: Join) -> None:
    one, two = await join(), await join()
    await asyncio.gather(
        *(one.backplane.listen(f"c{number}") for number in range(20)),
        *(two.backplane.listen(f"c{number}") for number in range(10)),
    )

    counts = await one.backplane.listeners([f"c{number}" for number in range(30)])

    assert counts == [2] * 10 + [1] * 10 + [0] * 10
    assert await one.backplane.listeners([]) == []


async def test_what_is_asked_for_in_one_turn_takes_effect_in_that_order(join: Join) -> None:
    node = await join()
    plane = node.backplane

    results: list[asyncio.Future[Any]] = [
        plane.publish("x", b"too early"),
        plane.listen("x"),
        plane.publish("x", b"1"),
        plane.publish("x", b"2"),
    ]

    assert await asyncio.gather(*results) == [0, None, 1, 1]
    await node.has(("x", b"1"), ("x", b"2"))


async def test_a_node_that_is_expelled_listens_to_nothing_until_it_connects_again(
    join: Join,
) -> None:
    node, other = await join(), await join()
    name = f"node-{id(node)}"
    node.backplane.call_itself(name)
    other.backplane.call_itself("another")
    await node.backplane.listen("x")
    await other.backplane.listen("x")

    await node.backplane.expel("unknown")
    assert await node.backplane.publish("x", b"1") == 2
    await other.backplane.expel(name)
    node.backplane.publish("nobody", b"")  # it lives
    await node.until(lambda: node.states == [False, True])
    assert await other.backplane.publish("x", b"2") == 2
    await node.has(("x", b"1"), ("x", b"2"))
    assert other.states == []

    await other.backplane.expel(name)  # which it is called still
    node.backplane.publish("nobody", b"")
    await node.until(lambda: node.states == [False, True] * 2)


async def test_what_is_ignored_does_not_come_any_more(join: Join) -> None:
    node, sender = await join(), await join()
    await node.backplane.listen("x")
    await node.backplane.listen("end")

    under_way = sender.backplane.publish("x", b"perhaps")
    await under_way
    received = len(node.received)
    node.backplane.ignore("x")
    node.backplane.ignore("never listened to")

    # Ignoring is asked for before this, on the same way.
    assert await node.backplane.publish("x", b"no") == 0
    await sender.backplane.publish("end", b"end")
    await node.until(lambda: node.received[-1:] == [("end", b"end")])
    assert len(node.received) == received + 1
    assert await sender.backplane.listeners(["x"]) == [0]


async def test_what_is_under_way_when_it_is_ignored_does_not_come(join: Join) -> None:
    node = await join()
    await asyncio.gather(node.backplane.listen("x"), node.backplane.listen("end"))

    node.backplane.publish("x", b"too late")
    node.backplane.ignore("x")
    node.backplane.publish("end", b"end")

    await node.has(("end", b"end"))


@pytest.mark.parametrize("times", [2, 3])
async def test_a_channel_can_be_listened_to_and_ignored_in_turn(join: Join, times: int) -> None:
    node = await join()
    for _ in range(times):
        listening = node.backplane.listen("x")
        node.backplane.ignore("x")
        await listening
    await node.backplane.listen("x")

    assert await node.backplane.publish("x", b"here") == 1
    await node.has(("x", b"here"))
    await node.backplane.listen("x")
    node.backplane.ignore("x")
    assert await node.backplane.publish("x", b"gone") == 0


async def test_any_text_is_a_channel(join: Join) -> None:
    node, sender = await join(), await join()
    await asyncio.gather(*(node.backplane.listen(name) for name in NAMES))

    for name in NAMES:
        assert await sender.backplane.publish(name, repr(name).encode()) == 1
    await node.until(lambda: len(node.received) == len(NAMES))

    assert sorted(node.received) == sorted((name, repr(name).encode()) for name in NAMES)
    assert await sender.backplane.listeners(NAMES) == [1] * len(NAMES)


@pytest.mark.parametrize("data", [b"", bytes(range(256)), b"\r\n$-1\r\n", b"x" * 3_000_000])
async def test_any_bytes_are_a_message(join: Join, data: bytes) -> None:
    node, sender = await join(), await join()
    await node.backplane.listen("x")

    await sender.backplane.publish("x", data)

    await node.has(("x", data))


async def test_thousands_of_channels_are_listened_to_at_once(join: Join) -> None:
    node, sender = await join(), await join()
    names = [f"c:{number}" for number in range(3000)]

    await asyncio.gather(*(node.backplane.listen(name) for name in names))

    assert await sender.backplane.listeners(names) == [1] * len(names)
    for name in names:
        node.backplane.ignore(name)
    await node.backplane.publish(names[-1], b"")
    assert sum(await node.backplane.listeners(names[:1])) == 0


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_doubled_or_reordered_when_all_talk(join: Join, seed: int) -> None:
    choice = random.Random(seed)
    nodes = [await join() for _ in range(3)]
    channels = [f"g:{number}" for number in range(8)]
    listening = {number: set(choice.sample(channels, 5)) for number in range(len(nodes))}
    for number, node in enumerate(nodes):
        await asyncio.gather(*(node.backplane.listen(each) for each in listening[number]))
    sent: dict[tuple[str, int], list[int]] = {}

    for count in range(1500):
        sender, channel = choice.randrange(3), choice.choice(channels)
        sent.setdefault((channel, sender), []).append(count)
        done = nodes[sender].backplane.publish(channel, f"{sender} {count}".encode())
        if choice.random() < 0.02:
            await done

    for number, node in enumerate(nodes):
        expected = {key: counts for key, counts in sent.items() if key[0] in listening[number]}
        total = sum(map(len, expected.values()))
        await node.until(lambda: len(node.received) >= total)  # noqa: B023 (called here only)
        found: dict[tuple[str, int], list[int]] = {}
        for channel, data in node.received:
            publisher, count = map(int, data.split())
            found.setdefault((channel, publisher), []).append(count)
        assert found == expected


async def test_a_receiver_that_fails_loses_one_message(
    join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    node = await join()
    node.bad = b"bad"
    await node.backplane.listen("x")

    node.backplane.publish("x", b"bad")
    node.backplane.publish("x", b"good")

    await node.has(("x", b"good"))
    assert "could not be taken" in caplog.text
    assert node.states == []


async def test_what_has_been_asked_for_is_sent_before_it_ends(join: Join) -> None:
    node, sender = await join(), await join()
    await node.backplane.listen("x")

    for number in range(100):
        sender.backplane.publish("x", b"%d" % number)
    await sender.backplane.close()

    await node.has(*(("x", b"%d" % number) for number in range(100)))
    with pytest.raises(BackplaneError):
        await sender.backplane.publish("x", b"too late")
    assert not sender.backplane.is_connected
    assert sender.states == []
    await sender.backplane.close()
