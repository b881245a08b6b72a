"""What every store does, whatever it keeps things in. Redis answers by a clock that nobody sets."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conformance.backplanes import TIMEOUT, eventually, new_prefix
from tests.conformance.conftest import Connect
from tests.conformance.redisserver import RedisServer

from hubbub.service.memberships import MAX_UNTIMED, NO_LIMIT_SECONDS
from hubbub.service.redisstore import RedisStore
from hubbub.service.store import MemoryStore, SqliteStore, Store, StoreError


@pytest.fixture(params=["memory", "sqlite", "redis", "cluster"])
async def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, nodes: AsyncExitStack, connect: Connect
) -> Callable[[], Store]:
    """Open the same store again and again; where one at a time may, it is the one that is open."""
    if request.param in {"memory", "sqlite"}:
        store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path)
        await store.open()
        nodes.push_async_callback(store.close)
        return lambda: store
    redis = await connect(request.getfixturevalue(f"shared_{request.param}").url)
    prefix = new_prefix()
    return lambda: RedisStore(redis, prefix)


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


async def test_a_user_is_in_the_groups_that_it_has_been_added_to(
    open_store: Callable[[], Store],
) -> None:
    one, two = open_store(), open_store()
    await one.add("chat", "ada", "red", 1000)
    await two.add("chat", "ada", "blue", None)

    for store in (one, two):
        groups = await store.groups_of("chat", "ada")
        assert {name: each.is_timed for name, each in groups.items()} == {
            "red": True,
            "blue": False,
        }
        difference = groups["blue"].expires - groups["red"].expires
        assert difference == pytest.approx(NO_LIMIT_SECONDS - 1000, abs=TIMEOUT)
        assert store.known_groups_of("chat", "ada") in (groups, None)


async def test_a_user_is_in_no_group_that_it_has_left(store: Store) -> None:
    for group in ("red", "blue", "green"):
        await store.add("chat", "ada", group, None)
    await store.add("chat", "ada", "gold", 1000)

    await store.remove("chat", "ada", "red")
    await store.remove("chat", "ada", "gold")
    await store.remove("chat", "ada", "none")

    assert list(await store.groups_of("chat", "ada")) == ["blue", "green"]
    await store.remove_all("chat", "ada")
    await store.remove_all("chat", "ada")
    assert await store.groups_of("chat", "ada") == {}


async def test_a_time_ends_and_the_rest_stays(store: Store) -> None:
    await store.add("chat", "ada", "short", 1)
    await store.add("chat", "ada", "shortened", 1000)
    await store.add("chat", "ada", "shortened", 1)
    await store.add("chat", "ada", "lengthened", 1)
    await store.add("chat", "ada", "lengthened", 1000)
    await store.add("chat", "ada", "untimed after all", 1)
    await store.add("chat", "ada", "untimed after all", None)
    assert len(await store.groups_of("chat", "ada")) == 4

    async def have_ended() -> bool:
        return len(await store.groups_of("chat", "ada")) <= 2

    await eventually(have_ended)
    store.expire()

    assert set(await store.groups_of("chat", "ada")) == {"lengthened", "untimed after all"}


async def test_a_time_of_zero_keeps_nothing(store: Store) -> None:
    await store.add("chat", "ada", "red", None)
    await store.add("chat", "ada", "red", 0)
    await store.add("chat", "ada", "blue", 0)

    assert await store.groups_of("chat", "ada") == {}


async def test_the_newest_hundred_groups_without_a_time_are_kept(store: Store) -> None:
    await store.add("chat", "ada", "timed", 1000)
    await store.add("chat", "ada", "timed by now", None)
    await store.add("chat", "ada", "timed by now", 1000)
    for number in range(MAX_UNTIMED):
        await store.add("chat", "ada", f"g{number}", None)
    await store.add("chat", "ada", "g0", None)  # which makes it the newest
    await store.add("chat", "ada", "one more", None)

    groups = await store.groups_of("chat", "ada")

    assert [name for name, each in groups.items() if not each.is_timed] == [
        *(f"g{n}" for n in range(2, MAX_UNTIMED)),
        "g0",
        "one more",
    ]
    assert {name for name, each in groups.items() if each.is_timed} == {"timed", "timed by now"}


async def test_changes_at_the_same_time_keep_the_rule(open_store: Callable[[], Store]) -> None:
    one, two = open_store(), open_store()

    await asyncio.gather(
        *(
            store.add("chat", "ada", f"{number}", None)
            for number in range(150)
            for store in (one, two)
        )
    )

    groups = await one.groups_of("chat", "ada")
    assert list(groups) == [str(number) for number in range(50, 150)]


async def test_hubs_users_and_groups_are_told_apart(store: Store) -> None:
    await store.add("chat", "ada", "red", None)
    await store.add("chat", "bob", "red", None)
    await store.add("shop", "ada", "blue", None)

    await store.remove("chat", "ada", "none")
    await store.remove_all("chat", "bob")
    await store.remove_all("chat", "nobody")

    assert set(await store.groups_of("chat", "ada")) == {"red"}
    assert set(await store.groups_of("chat", "bob")) == set()
    assert set(await store.groups_of("shop", "ada")) == {"blue"}


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=6))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_text_is_a_name(store: Store, names: list[tuple[str, str]]) -> None:
    for user, group in names:
        await store.add("chat", user, group, 1000)
        assert group in await store.groups_of("chat", user)
    for user, group in names:
        await store.remove("chat", user, group)
        assert await store.groups_of("chat", user) is not None
        assert group not in await store.groups_of("chat", user)


async def test_half_a_surrogate_pair_is_a_name_for_redis(
    shared_redis: RedisServer, connect: Connect
) -> None:
    store = RedisStore(await connect(shared_redis.url), new_prefix())

    await store.add("chat", "\ud800", "\udfff", None)

    assert list(await store.groups_of("chat", "\ud800")) == ["\udfff"]
    await store.remove("chat", "\ud800", "\udfff")
    assert await store.groups_of("chat", "\ud800") == {}


async def test_redis_forgets_users_by_itself(shared_redis: RedisServer, connect: Connect) -> None:
    redis, prefix = await connect(shared_redis.url), new_prefix()
    store = RedisStore(redis, prefix)

    await store.add("chat", "ada", "red", 1)
    await store.add("chat", "bob", "red", 1000)
    await store.add("chat", "eve", "red", None)

    keys = shared_redis.ask("KEYS", f"{prefix}:*")
    assert len(keys) == 4  # ends of all three, and the order of what has none
    assert all(shared_redis.ask("TTL", key) >= 0 for key in keys)

    async def is_forgotten() -> bool:
        return len(shared_redis.ask("KEYS", f"{prefix}:*")) == 3

    await eventually(is_forgotten)


async def test_what_redis_cannot_keep_is_an_error(own_redis: RedisServer, connect: Connect) -> None:
    redis = await connect(own_redis.url)
    store = RedisStore(redis, "test")
    await store.add("chat", "ada", "red", None)

    own_redis.kill()

    for call in (
        store.add("chat", "ada", "blue", None),
        store.remove("chat", "ada", "red"),
        store.remove_all("chat", "ada"),
        store.groups_of("chat", "ada"),
    ):
        with pytest.raises(StoreError, match="The store cannot be reached"):
            await call
