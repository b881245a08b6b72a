"""Leases, last wills and shared keys: one suite for those in memory and those in Redis."""

import asyncio
from typing import NamedTuple

import msgspec
import pytest
from tests.conformance.backplanes import TIMEOUT, eventually, new_prefix
from tests.conformance.conftest import Connect
from tests.conformance.redisserver import RedisServer

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.backplane.sharedsettings import (
    MemorySharedSettings,
    RedisSharedSettings,
    SharedKeys,
    SharedSettings,
    Watching,
)
from hubbub.service.leases import Dead, Leases, MemoryLeases, NodeFacts, RedisLeases, Renewing
from hubbub.service.wills import MemoryWills, RedisWills, Wills

LEASE = 0.25  # seconds


class Shared(NamedTuple):
    leases: Leases
    wills: Wills
    settings: SharedSettings


@pytest.fixture(params=["memory", "redis", "cluster"])
async def shared(request: pytest.FixtureRequest, connect: Connect) -> Shared:
    if request.param == "memory":
        return Shared(MemoryLeases(LEASE), MemoryWills(), MemorySharedSettings())
    redis = await connect(request.getfixturevalue(f"shared_{request.param}").url)
    prefix = new_prefix()
    return Shared(
        RedisLeases(redis, prefix, LEASE),
        RedisWills(redis, prefix),
        RedisSharedSettings(redis, prefix),
    )


async def until_dead(leases: Leases, *node_ids: str) -> None:
    async def are_dead() -> bool:
        return [each.id for each in await leases.dead()] == list(node_ids)

    await eventually(are_dead)


async def said(leases: Leases) -> list[NodeFacts]:
    """What the living nodes have said, whenever that was."""
    live = sorted(await leases.live(), key=lambda each: each.id)
    return [msgspec.structs.replace(each, lease=0.0, age=0.0) for each in live]


async def test_a_node_is_alive_while_it_renews_its_lease(shared: Shared) -> None:
    leases = shared.leases
    facts = NodeFacts("a", 1.5, "1.0", 7, is_draining=True)
    assert await leases.renew(NodeFacts("a"))
    assert await leases.renew(facts)
    assert await leases.renew(NodeFacts("b"))

    assert await said(leases) == [facts, NodeFacts("b")]
    assert await leases.dead() == []


async def test_a_node_whose_lease_runs_out_is_dead_and_stays_so(shared: Shared) -> None:
    leases = shared.leases
    await leases.renew(NodeFacts("a"))

    await until_dead(leases, "a")

    assert await leases.live() == []
    assert not await leases.renew(NodeFacts("a"))
    assert await leases.renew(NodeFacts("a again"))
    assert await leases.dead() == [Dead("a")]
    await leases.end("a")  # too late: it stays dead
    assert await leases.dead() == [Dead("a")]
    await leases.settle("a")
    assert await leases.dead() == []
    assert not await leases.renew(NodeFacts("a"))


async def test_a_lease_that_nobody_has_missed_can_be_renewed_late(shared: Shared) -> None:
    leases = shared.leases
    await leases.renew(NodeFacts("a"))

    async def has_run_out() -> bool:
        return await leases.live() == []

    await eventually(has_run_out)

    assert await leases.renew(NodeFacts("a"))

    assert await said(leases) == [NodeFacts("a")]
    assert await leases.dead() == []


async def test_what_a_node_has_said_has_an_age(shared: Shared) -> None:
    leases = shared.leases
    await leases.renew(NodeFacts("a"))

    async def is_older() -> bool:
        live = await leases.live()
        if not live:
            await leases.renew(NodeFacts("a"))  # this test was held up for longer than the lease
        return any(each.lease == LEASE and LEASE / 10 <= each.age < LEASE for each in live)

    await eventually(is_older)

    async def is_new() -> bool:
        await leases.renew(NodeFacts("a"))
        return any(each.age < LEASE / 10 for each in await leases.live())

    await eventually(is_new)


async def test_a_node_that_ends_is_dead_at_once(shared: Shared) -> None:
    await shared.leases.renew(NodeFacts("a"))

    await shared.leases.end("a")
    await shared.leases.end("unknown")

    assert await shared.leases.live() == []
    assert await shared.leases.dead() == [Dead("a", has_ended=True)]
    assert not await shared.leases.renew(NodeFacts("a"))
    await shared.leases.settle("a")
    assert await shared.leases.dead() == []


async def test_a_node_renews_its_lease_and_learns_who_has_died(shared: Shared) -> None:
    dead: list[list[Dead]] = []
    has_died = asyncio.Event()
    lost: list[str] = []

    def died(nodes: list[Dead]) -> None:
        dead.append(nodes)
        if len(dead) == 1:
            raise ValueError("this node cannot do anything about it")
        has_died.set()

    renewing = Renewing(
        shared.leases,
        lambda: NodeFacts("a"),
        lost=lambda: lost.append("a"),
        died=died,
        interval=LEASE / 4,
    )
    await renewing.open()
    await shared.leases.renew(NodeFacts("b"))

    await asyncio.wait_for(has_died.wait(), TIMEOUT)

    assert dead == [[Dead("b")], [Dead("b")]]
    assert await said(shared.leases) == [NodeFacts("a")]
    await renewing.close()
    assert await shared.leases.live() == []
    assert lost == []


async def test_a_node_that_was_declared_dead_is_told_and_begins_anew(shared: Shared) -> None:
    node_id = "first"
    has_lost = asyncio.Event()

    def lost() -> None:
        nonlocal node_id
        node_id = "second"
        has_lost.set()

    renewing = Renewing(
        shared.leases,
        lambda: NodeFacts(node_id),
        lost=lost,
        died=lambda _: None,
        interval=LEASE / 4,
    )
    await renewing.open()
    assert await said(shared.leases) == [NodeFacts("first")]

    await shared.leases.end("first")

    await asyncio.wait_for(has_lost.wait(), TIMEOUT)

    async def has_begun() -> bool:
        return await said(shared.leases) == [NodeFacts("second")]

    await eventually(has_begun)
    await renewing.close()


async def test_a_will_moves_to_the_node_that_takes_its_connection(shared: Shared) -> None:
    wills = shared.wills
    await wills.write("first", "c", b"old")
    await wills.write("first", "other", b"stays")
    await wills.take("first", "second", "c", b"new")
    await wills.take("nobody", "second", "d", b"fresh")
    assert await wills.of("first") == {"other": b"stays"}
    assert await wills.of("second") == {"c": b"new", "d": b"fresh"}


async def test_a_will_has_one_heir(shared: Shared) -> None:
    wills = shared.wills
    written = {f"connection {number}": b"will %d" % number for number in range(2500)}
    await asyncio.gather(*(wills.write("dead", *will) for will in written.items()))
    await wills.write("other", "elsewhere", b"")
    await wills.write("dead", "connection 1", b"newer")
    await wills.write("dead", "ended", b"")
    await wills.erase("dead", "ended")
    await wills.erase("dead", "unknown")

    async def claimed(heir: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        while part := await wills.claim("dead", heir):
            assert not part.keys() & found.keys()
            found |= part
        return found

    one, two = await asyncio.gather(claimed("one"), claimed("two"))

    assert not one.keys() & two.keys()
    assert one | two == written | {"connection 1": b"newer"}
    assert await wills.of("one") == one
    assert await wills.of("other") == {"elsewhere": b""}
    assert await wills.of("dead") == {}


async def test_what_an_heir_has_not_done_is_inherited_from_it(shared: Shared) -> None:
    wills = shared.wills
    for name in ("x", "y", "z"):
        await wills.write("dead", name, name.encode())
    await wills.write("heir", "own", b"own")
    while await wills.claim("dead", "heir"):
        pass
    await wills.erase("heir", "x")

    found: dict[str, bytes] = {}
    while part := await wills.claim("heir", "heir of the heir"):
        found |= part

    assert found == {"y": b"y", "z": b"z", "own": b"own"}


async def test_the_first_node_brings_the_keys_and_the_others_take_them(shared: Shared) -> None:
    settings = shared.settings
    assert await settings.load() is None
    assert await settings.rotate("primary") is None

    offered = [SharedKeys(f"p{number}", f"s{number}") for number in range(5)]
    kept = await asyncio.gather(*(settings.begin(each) for each in offered))

    assert len({each.access_keys for each in kept}) == 1
    assert kept[0] in offered
    assert await settings.load() == kept[0]


async def test_a_key_is_replaced_and_the_other_stays(shared: Shared) -> None:
    first = await shared.settings.begin(SharedKeys("one", "two"))

    second = await shared.settings.rotate("primary")
    assert second is not None
    third = await shared.settings.rotate("secondary")
    assert third is not None

    assert second.access_keys[1] == "two"
    assert third.access_keys[0] == second.access_keys[0]
    assert len({*first.access_keys, *third.access_keys}) == 4
    assert all(len(key) >= 32 for key in third.access_keys)
    assert (first.version, second.version, third.version) == (1, 2, 3)
    assert await shared.settings.load() == third
    assert third.access_keys[0] not in repr(third) + str(third)


async def test_keys_that_are_replaced_at_the_same_time_are_replaced_one_after_another(
    shared: Shared,
) -> None:
    await shared.settings.begin(SharedKeys("one", "two"))

    rotated = await asyncio.gather(*(shared.settings.rotate("primary") for _ in range(10)))

    assert sorted(each.version for each in rotated if each) == list(range(2, 12))


async def test_a_node_learns_new_keys_when_told_and_also_by_itself(shared: Shared) -> None:
    learnt: dict[str, list[SharedKeys]] = {"told": [], "untold": []}
    news = asyncio.Event()

    def changed(name: str, keys: SharedKeys) -> None:
        learnt[name].append(keys)
        news.set()

    told = Watching(shared.settings, lambda keys: changed("told", keys), interval=TIMEOUT * 10)
    untold = Watching(shared.settings, lambda keys: changed("untold", keys), interval=0.02)
    await told.open(("one", "two"))
    await untold.open(("other",))
    assert [keys.access_keys for each in learnt.values() for keys in each] == [("one", "two")] * 2

    rotated = await shared.settings.rotate("secondary")
    told.look()

    async with asyncio.timeout(TIMEOUT):
        while not all(keys[-1] == rotated for keys in learnt.values()):
            news.clear()
            await news.wait()
    await told.close()
    await untold.close()
    assert [len(keys) for keys in learnt.values()] == [2, 2]


@pytest.mark.parametrize("left", [None, SharedKeys("one", "two", 1)], ids=["nothing", "older"])
async def test_keys_that_redis_has_lost_are_put_back_as_the_nodes_know_them(
    own_redis: RedisServer, connect: Connect, left: SharedKeys | None
) -> None:
    settings = RedisSharedSettings(await connect(own_redis.url), "test")
    watching = Watching(settings, lambda _: None, interval=LEASE / 10)
    await settings.begin(SharedKeys("one", "two"))
    rotated = await settings.rotate("primary")
    await watching.open(("one", "two"))

    own_redis.ask("DEL", "test:access-keys")
    if left is not None:
        await settings.begin(left)

    async def are_back() -> bool:
        return await settings.load() == rotated

    await eventually(are_back)
    await watching.close()


async def test_a_node_with_one_key_brings_a_second(shared: Shared) -> None:
    learnt: list[SharedKeys] = []
    watching = Watching(shared.settings, learnt.append)

    await watching.open(("one",))

    primary, secondary = learnt[0].access_keys
    assert primary == "one"
    assert len(secondary) >= 32
    await watching.close()


async def test_without_redis_everything_fails_and_loops_go_on(
    own_redis: RedisServer, connect: Connect
) -> None:
    redis = await connect(own_redis.url)
    leases, wills = RedisLeases(redis, "test", LEASE), RedisWills(redis, "test")
    settings = RedisSharedSettings(redis, "test")
    lost: list[str] = []
    renewing = Renewing(
        leases,
        lambda: NodeFacts("a"),
        lost=lambda: lost.append("a"),
        died=lambda _: None,
        interval=LEASE / 10,
    )
    watching = Watching(settings, lambda _: None, interval=LEASE / 10)
    await renewing.open()
    await watching.open(("one",))

    own_redis.kill()

    for call in (leases.live(), wills.write("a", "b", b""), wills.of("a"), settings.load()):
        with pytest.raises(BackplaneError):
            await call
    own_redis.start()

    # It has kept nothing: the lease is begun again, and nobody has declared this node dead.
    async def has_begun() -> bool:
        return bool(own_redis.ask("EXISTS", "test:{nodes}:leases"))

    await eventually(has_begun)
    assert await said(leases) == [NodeFacts("a")]
    assert lost == []
    await watching.close()
    await renewing.close()


async def test_keys_that_somebody_else_has_written_are_not_shown(
    own_redis: RedisServer, connect: Connect
) -> None:
    redis = await connect(own_redis.url)
    own_redis.ask("SET", "test:access-keys", '{"primary": "s3cret"')

    with pytest.raises(BackplaneError, match="not what Hubbub has written") as raised:
        await RedisSharedSettings(redis, "test").load()

    assert "s3cret" not in str(raised.value)
