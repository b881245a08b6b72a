"""Names in order for pages: which are given, what a page costs, and that nobody else waits."""

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.fakes import FakeClient

from hubbub.service.filter import Subject
from hubbub.service.node import Node
from hubbub.service.ordering import Order
from hubbub.service.registry import Members
from hubbub.service.selection import first_after, first_members
from hubbub.service.settings import ServiceSettings

MANY = [f"{number:05}" for number in range(20_000)]


async def turns_during(work: Awaitable[object]) -> int:
    """How often the loop turns for others until `work` is done."""
    count = 0

    async def turn() -> None:
        nonlocal count
        while True:
            count += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(turn())
    await work
    others.cancel()
    return count


@pytest.fixture
async def many() -> Members:
    """The members of a hub with many connections."""
    node = Node(ServiceSettings())
    for _ in range(3000):
        FakeClient(node)
    hub = node.registry.hub("chat")
    assert hub is not None
    return hub.connections


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)), st.text(max_size=3))
def test_names_come_in_order_and_once(first: list[str], second: list[str], position: str) -> None:
    order = Order(first)
    asyncio.run(order.sort())
    for name in second:
        order.add(name)
    asyncio.run(order.sort())

    assert list(order.after(position)) == sorted({n for n in first + second if n > position})


async def test_a_long_order_is_made_of_few_runs() -> None:
    order = Order(reversed(MANY))
    await order.sort()
    for name in ("a", "b", "c"):
        order.add(name)
        await order.sort()

    assert list(order.after("")) == [*MANY, "a", "b", "c"]
    assert repr(order) == "Order(20003, runs=5, unsorted=0)"


async def test_sorting_and_looking_through_many_names_lets_others_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hubbub.service.slices._SECONDS", -1)

    assert await turns_during(Order(MANY).sort()) >= 5
    assert await turns_during(first_after(MANY, "", 3)) >= 5
    assert await first_after(reversed(MANY), "19990", 3) == ["19991", "19992", "19993"]


async def test_a_page_costs_what_it_has_however_many_connections_there_are(many: Members) -> None:
    asked: list[str] = []

    def accepts(subject: Subject) -> bool:
        asked.append(subject.connection_id)
        return len(asked) % 2 == 0

    ids = sorted(connection.id for connection in many)
    found = await first_members(many, accepts, ids[999], 10)

    assert asked == ids[1000:1020]
    assert [connection.id for connection in found] == ids[1001:1020:2]


async def test_the_order_of_connections_knows_who_comes_and_goes(many: Members) -> None:
    async def listed() -> list[str]:
        return [connection.id for connection in await first_members(many, None, "", 10_000)]

    before = await listed()
    order = many.order()
    assert before == sorted(connection.id for connection in many)
    gone = many.find(before[0])
    assert gone is not None
    many.remove(gone)
    assert await listed() == before[1:]
    many.add(gone)
    assert await listed() == before
    assert many.order() is order


async def test_an_order_that_nobody_asks_for_does_not_grow(many: Members) -> None:
    order = many.order()
    one = next(iter(many))
    for _ in range(10_000):
        many.remove(one)
        many.add(one)

    assert len(order) <= 2 * len(many) + 1025
    assert many.order() is not order
