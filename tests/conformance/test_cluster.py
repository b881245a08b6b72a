"""Redis Cluster in motion: slots that move, primaries that are replaced. Nothing comes twice."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from tests.conformance.backplanes import (
    LIMITS,
    TIMEOUT,
    Inbox,
    new_prefix,
    redis_at,
    redis_backplane,
)
from tests.conformance.conftest import Connect, opened
from tests.conformance.redisserver import (
    RedisCluster,
    RedisServer,
    redis_cluster,
    wait_until,
)

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.backplane.redis import RedisBackplane
from hubbub.service.redis.cluster import ClusterRedis, slot_of
from hubbub.service.redis.link import Link


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster whose shards these tests move about."""
    with redis_cluster(tmp_path_factory.mktemp("moving")) as cluster:
        yield cluster


def channel_at(cluster: RedisCluster, prefix: str, server: RedisServer, *, but: int = -1) -> str:
    """A channel whose slot `server` has, in another slot than `but`."""
    for number in range(10_000):
        name = f"c:{number}"
        slot = slot_of(f"{prefix}:{name}".encode())
        if slot != but and cluster.server_of(slot) is server:
            return name
    raise AssertionError("there is no such channel")


def move(cluster: RedisCluster, slot: int, source: RedisServer, target: RedisServer) -> None:
    """Give a slot without keys to another server."""
    name = target.ask("CLUSTER", "MYID")
    target.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
    source.ask("CLUSTER", "SETSLOT", slot, "NODE", name)


async def published(node: Inbox, channel: str, data: bytes) -> int:
    """Publish until that succeeds; return how many have got it."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                return await node.backplane.publish(channel, data)
            except BackplaneError:
                await asyncio.sleep(0.01)  # a turn of Redis Cluster's own clock


@pytest.mark.parametrize(
    "key",
    [b"123456789", b"foo{hash_tag}", b"a{}b{c}", b"{user1000}.x", b"{", b"}{", b"{a{b}c}", b""],
)
def test_slots_are_those_of_the_cluster(cluster: RedisCluster, key: bytes) -> None:
    assert slot_of(key) == cluster.servers[1].ask("CLUSTER", "KEYSLOT", key)


async def test_a_slot_that_moves_is_followed_in_order(
    cluster: RedisCluster, nodes: AsyncExitStack
) -> None:
    prefix = new_prefix()
    listener = await opened(redis_backplane(cluster.url, prefix), nodes)
    sender = await opened(redis_backplane(cluster.url, prefix), nodes)
    source, target = cluster.servers[1], cluster.servers[2]
    channel = channel_at(cluster, prefix, source)
    slot = slot_of(f"{prefix}:{channel}".encode())
    await listener.backplane.listen(channel)
    moving = asyncio.create_task(asyncio.to_thread(move, cluster, slot, source, target))
    results: list[asyncio.Future[int]] = []

    # A stream of messages over the whole move, and until everybody has followed.
    async with asyncio.timeout(TIMEOUT):
        while True:
            for _ in range(10):
                results.append(sender.backplane.publish(channel, b"%d" % len(results)))
            reached = await results[-1]
            if moving.done() and reached == 1 and listener.states[-1:] == [True]:
                break
    await moving

    counts = await asyncio.gather(*results)
    await listener.until(lambda: len(listener.received) >= sum(counts))
    numbers = [int(data) for _, data in listener.received]
    assert numbers == [number for number, count in enumerate(counts) if count]
    assert listener.states == [False, True]
    assert cluster.server_of(slot) is target


async def test_what_is_on_its_way_to_the_old_server_stays_before_what_follows(
    cluster: RedisCluster, nodes: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = new_prefix()
    listener = await opened(redis_backplane(cluster.url, prefix), nodes)
    redis = redis_at(cluster.url)
    assert isinstance(redis, ClusterRedis)
    with monkeypatch.context() as patch:
        # Who finds the new server by a look of its own, before it is refused, is not meant here.
        patch.setattr("hubbub.service.redis.cluster._LOOK", 3600.0)
        sender = await opened(RedisBackplane(redis, prefix), nodes)
        await asyncio.sleep(0)  # its first wait begins
    source, target = cluster.servers[1], cluster.servers[2]
    channel = channel_at(cluster, prefix, source)
    slot = slot_of(f"{prefix}:{channel}".encode())
    await listener.backplane.listen(channel)
    await asyncio.to_thread(move, cluster, slot, source, target)
    await listener.until(lambda: listener.states == [False, True])

    # So large that the first is refused long before the last is there; more follows all the time,
    # and the old server stands still until the new one is known.
    results = [
        sender.backplane.publish(channel, b"%d" % number + b" " * 1_000_000) for number in range(20)
    ]
    old, is_paused = redis.link(slot), False
    async with asyncio.timeout(TIMEOUT):
        while not results[19].done():
            results.append(sender.backplane.publish(channel, b"%d" % len(results)))
            await asyncio.sleep(0)  # one in each turn of the loop
            if redis._moving and not is_paused:
                source.pause()
                is_paused = True
            elif redis.link(slot) is not old:
                source.resume()

    assert is_paused
    assert set(await asyncio.gather(*results)) == {1}
    await listener.until(lambda: len(listener.received) == len(results))
    assert [int(data) for _, data in listener.received] == list(range(len(results)))


async def test_what_comes_from_a_server_that_has_lost_the_channel_would_come_twice(
    cluster: RedisCluster, nodes: AsyncExitStack
) -> None:
    prefix = new_prefix()
    plane = redis_backplane(cluster.url, prefix)
    node = await opened(plane, nodes)
    await plane.listen("x")
    # A replica goes on to send what it was asked for while it was the primary.
    other = Link(("127.0.0.1", 1), LIMITS, lambda *_: None, lambda _: None)

    plane.pushed(other, [b"smessage", f"{prefix}:x".encode(), b"from the old server"])

    await plane.publish("x", b"from the new one")
    await node.has(("x", b"from the new one"))


async def test_keys_are_found_while_they_move(cluster: RedisCluster, connect: Connect) -> None:
    redis = await connect(cluster.url)
    source, target = cluster.servers[2], cluster.servers[1]
    key = f"key:{channel_at(cluster, 'key', source)}".encode()
    slot = slot_of(key)
    await redis.call(slot, b"SET", key, b"value")

    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
    assert await redis.call(slot, b"GET", key) == b"value"
    source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    assert await redis.call(slot, b"GET", key) == b"value"
    move(cluster, slot, source, target)
    calls = [redis.call(slot, b"APPEND", key, b"%d" % number) for number in range(5)]

    assert await asyncio.gather(*calls) == [6, 7, 8, 9, 10]
    assert await redis.call(slot, b"GET", key) == b"value01234"


async def test_a_replica_that_is_promoted_in_order_is_followed(
    cluster: RedisCluster, nodes: AsyncExitStack
) -> None:
    prefix = new_prefix()
    node = await opened(redis_backplane(cluster.url, prefix), nodes)
    old, new = cluster.servers[0], cluster.servers[3]
    channel = channel_at(cluster, prefix, old)
    other = channel_at(cluster, prefix, cluster.servers[1])
    await asyncio.gather(node.backplane.listen(channel), node.backplane.listen(other))

    new.ask("CLUSTER", "FAILOVER")
    await asyncio.to_thread(wait_until, lambda: b"role:master" in new.ask("INFO", "replication"))
    node.backplane.publish(channel, b"which finds out")
    await node.until(lambda: node.states[:1] == [False] and node.backplane.is_connected)

    assert await published(node, channel, b"there") == 1
    assert await node.backplane.publish(other, b"here") == 1
    await node.until(lambda: node.received[-2:] == [(channel, b"there"), (other, b"here")])


async def test_a_primary_that_dies_is_replaced_and_the_others_go_on(
    cluster: RedisCluster, nodes: AsyncExitStack
) -> None:
    prefix = new_prefix()
    node = await opened(redis_backplane(cluster.url, prefix), nodes)
    primary, replica = cluster.servers[3], cluster.servers[0]
    await asyncio.to_thread(
        wait_until, lambda: b"master_link_status:up" in replica.ask("INFO", "replication")
    )
    lost, kept = (channel_at(cluster, prefix, each) for each in (primary, cluster.servers[1]))
    await asyncio.gather(node.backplane.listen(lost), node.backplane.listen(kept))

    primary.kill()
    await node.until(lambda: node.states == [False])

    with pytest.raises(BackplaneError):
        await node.backplane.publish(lost, b"nobody is there")
    assert await node.backplane.publish(kept, b"still here") == 1
    assert await published(node, lost, b"here again") >= 0
    await node.until(lambda: node.backplane.is_connected)
    assert await node.backplane.publish(lost, b"heard") == 1
    await node.until(lambda: node.received[-1:] == [(lost, b"heard")])
    assert (kept, b"still here") in node.received
    assert b"role:master" in replica.ask("INFO", "replication")
