"""Users in groups: how long they last by a clock, and what survives the process.

What every store does is in tests/conformance.
"""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.service.running import PATIENCE

from hubbub.errors import ConfigError
from hubbub.service.memberships import MAX_UNTIMED, NO_LIMIT_SECONDS, Membership, Memberships
from hubbub.service.store import FILE_NAME, MemoryStore, SqliteStore, Store, StoreError

YEAR = 365 * 24 * 3600


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Store]:
    made: Store = MemoryStore(clock) if request.param == "memory" else SqliteStore(tmp_path, clock)
    await made.open()
    yield made
    await made.close()


async def test_a_user_is_in_a_group_until_its_time_is_over(store: Store, clock: Clock) -> None:
    await store.add("chat", "ada", "red", 10)

    clock.now += 9
    assert set(await store.groups_of("chat", "ada")) == {"red"}
    clock.now += 1
    assert set(await store.groups_of("chat", "ada")) == set()
    store.expire()
    assert set(await store.groups_of("chat", "ada")) == set()


async def test_without_a_time_it_is_a_year(store: Store, clock: Clock) -> None:
    await store.add("chat", "ada", "red", None)

    clock.now += YEAR - 1
    assert set(await store.groups_of("chat", "ada")) == {"red"}
    clock.now += 1
    assert set(await store.groups_of("chat", "ada")) == set()


async def test_adding_again_replaces_the_end(store: Store, clock: Clock) -> None:
    await store.add("chat", "ada", "red", 1000)
    await store.add("chat", "ada", "red", 10)
    await store.add("chat", "ada", "blue", 10)
    await store.add("chat", "ada", "blue", 1000)

    clock.now += 11
    store.expire()

    assert set(await store.groups_of("chat", "ada")) == {"blue"}


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    store = SqliteStore(tmp_path / "made" / "here", clock)
    await store.open()
    for number in range(MAX_UNTIMED + 5):
        await store.add("chat", "ada", f"g{number}", None)
    await store.add("chat", "bob", "short", 10)
    await store.add("chat", "bob", "long", 100)
    await store.add("chat", "eve", "red", None)
    await store.remove_all("chat", "eve")
    await store.remove("chat", "ada", "g7")
    before = await store.groups_of("chat", "ada")
    await store.close()
    clock.now += 11

    again = SqliteStore(tmp_path / "made" / "here", clock)
    await again.open()

    assert list((await again.groups_of("chat", "ada")).items()) == list(before.items())
    assert len(before) == MAX_UNTIMED - 1
    assert set(await again.groups_of("chat", "bob")) == {"long"}
    assert await again.groups_of("chat", "eve") == {}
    # What was the oldest is still the first to make room.
    await again.add("chat", "ada", "new 1", None)
    await again.add("chat", "ada", "new 2", None)
    assert "g5" not in await again.groups_of("chat", "ada")
    assert "g6" in await again.groups_of("chat", "ada")
    await again.close()


async def test_many_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    users = [f"u{number}" for number in range(500)]

    await asyncio.gather(*(store.add("chat", user, "red", None) for user in users))
    await asyncio.gather(*(store.remove("chat", user, "red") for user in users[:100]))
    await store.close()

    again = SqliteStore(tmp_path)
    await again.open()
    assert [user for user in users if await again.groups_of("chat", user)] == users[100:]
    await again.close()


async def test_a_caller_that_goes_away_stops_nobody_else(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    gone = asyncio.ensure_future(store.add("chat", "ada", "red", None))
    other = asyncio.ensure_future(store.add("chat", "bob", "red", None))
    await asyncio.sleep(0)
    gone.cancel()

    await other
    await store.close()

    assert gone.cancelled()
    again = SqliteStore(tmp_path)
    await again.open()
    assert set(await again.groups_of("chat", "bob")) == {"red"}
    await again.close()


async def test_what_cannot_be_written_is_an_error_and_the_next_may_succeed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    assert store._database is not None
    store._database.execute("PRAGMA query_only = 1")

    with pytest.raises(StoreError, match="could not be written: attempt to write a readonly"):
        await store.add("chat", "ada", "red", None)
    store._database.execute("PRAGMA query_only = 0")
    await store.add("chat", "ada", "blue", None)
    await store.close()


async def test_what_no_database_takes_is_an_error_too_and_the_next_succeeds(
    tmp_path: Path,
) -> None:
    store = SqliteStore(tmp_path)
    await store.open()

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StoreError, match=r"could not be written: .*surrogates"):
            await store.add("chat", "\ud800", "red", None)
        await store.add("chat", "ada", "blue", None)
    await store.close()


def rows(path: Path) -> list[str]:
    """The groups in the file of a store that is closed."""
    with closing(sqlite3.connect(path / FILE_NAME)) as database:
        return [name for (name,) in database.execute("SELECT name FROM user_group")]


async def test_what_has_ended_leaves_the_file_while_the_service_runs(
    tmp_path: Path, clock: Clock
) -> None:
    store = SqliteStore(tmp_path, clock)
    await store.open()
    for group, ttl in (("over", 10), ("soon", 20), ("later", 1000)):
        await store.add("chat", "ada", group, ttl)

    clock.now += 10
    store.expire()
    clock.now += 10
    store.expire()
    await store.close()
    assert sorted(rows(tmp_path)) == ["later", "soon"]  # once a minute is enough


async def test_what_ended_since_the_file_was_purged_leaves_it_a_minute_later(
    tmp_path: Path, clock: Clock
) -> None:
    store = SqliteStore(tmp_path, clock)
    await store.open()
    for group, ttl in (("over", 10), ("soon", 20), ("later", 1000)):
        await store.add("chat", "ada", group, ttl)

    for seconds in (10, 10, 60):
        clock.now += seconds
        store.expire()
    await store.close()
    store.expire()
    assert rows(tmp_path) == ["later"]


async def test_what_has_ended_leaves_the_file_later_where_it_could_not_be_written(
    tmp_path: Path, clock: Clock
) -> None:
    store = SqliteStore(tmp_path, clock)
    await store.open()
    await store.add("chat", "ada", "over", 10)
    clock.now += 10
    store.expire()
    with pytest.raises(StoreError):
        await store.add("chat", "\ud800", "red", None)  # in the same transaction

    clock.now += 60
    store.expire()
    await store.close()
    assert rows(tmp_path) == []


async def test_a_folder_serves_one_process(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path), SqliteStore(tmp_path)
    await first.open()

    with pytest.raises(ConfigError, match=r"locked.*another service.*--data"):
        await second.open()

    await first.close()
    await second.close()


@pytest.mark.parametrize("content", [b"not a database at all, but quite long" * 100, None])
async def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, content: Any) -> None:
    path = tmp_path / FILE_NAME
    if content is not None:
        path.write_bytes(content)
    else:
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 77")
        database.close()
    before = path.read_bytes()
    store = SqliteStore(tmp_path)

    with pytest.raises(ConfigError, match="is not what this service has written"):
        await store.open()

    await store.close()
    assert path.read_bytes() == before


async def test_a_folder_that_cannot_be_made_is_the_operators_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqliteStore(tmp_path / "file" / "folder")

    with pytest.raises(ConfigError, match=r"cannot be made: .*--data"):
        await store.open()
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from hubbub.service.store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()

    async def keep(number):
        await store.add("chat", f"u{number}", "red", None)
        print(number, flush=True)  # it is answered with success from here on

    for start in range(0, 1_000_000, 7):
        await asyncio.gather(*(keep(number) for number in range(start, start + 7)))

asyncio.run(main())
"""


def test_what_was_answered_survives_a_process_that_is_killed(tmp_path: Path) -> None:
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(200)]
        process.kill()
        answered += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        process.stdout.close()

        kept = asyncio.run(users_kept(tmp_path))

        assert len(answered) >= 200
        assert {f"u{number}" for number in answered} <= kept


async def users_kept(folder: Path) -> set[str]:
    store = SqliteStore(folder)
    await store.open()
    users = {user for (_, user) in store._memberships._groups}
    await store.close()
    return users


def test_renewals_take_no_more_room_than_memberships() -> None:
    memberships = Memberships()
    for number in range(10_000):
        memberships.add("chat", "ada", "red", Membership(1000 + number, is_timed=True))

    assert len(memberships._ends) < 500
    assert len(memberships) == 1


class MembershipsModel(RuleBasedStateMachine):
    """Memberships beside a list of what was done last, looked through from the end."""

    hubs = st.sampled_from(["h", "i"])
    users = st.sampled_from(["u", "v"])
    groups = st.sampled_from(["a", "b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.memberships = Memberships()
        self.expected: dict[tuple[str, str, str], float] = {}

    @rule(hub=hubs, user=users, group=groups, ttl=st.none() | st.integers(1, 20))
    def add(self, hub: str, user: str, group: str, ttl: int | None) -> None:
        expires = self.now + (NO_LIMIT_SECONDS if ttl is None else ttl)
        self.memberships.add(hub, user, group, Membership(expires, ttl is not None))
        self.expected[hub, user, group] = expires

    @rule(hub=hubs, user=users, group=groups)
    def remove(self, hub: str, user: str, group: str) -> None:
        self.memberships.remove(hub, user, group)
        self.expected.pop((hub, user, group), None)

    @rule(hub=hubs, user=users)
    def remove_all(self, hub: str, user: str) -> None:
        self.memberships.remove_all(hub, user)
        for key in [key for key in self.expected if key[:2] == (hub, user)]:
            del self.expected[key]

    @rule(seconds=st.integers(1, 15), sweep=st.booleans())
    def wait(self, seconds: int, sweep: bool) -> None:
        self.now += seconds
        if sweep:
            self.memberships.expire(self.now)
            self.expected = {k: v for k, v in self.expected.items() if v > self.now}
            assert len(self.memberships) == len(self.expected)

    @invariant()
    def same(self) -> None:
        for hub in ("h", "i"):
            for user in ("u", "v"):
                found = self.memberships.of(hub, user, self.now)
                assert {group: each.expires for group, each in found.items()} == {
                    key[2]: expires
                    for key, expires in self.expected.items()
                    if key[:2] == (hub, user) and expires > self.now
                }


MembershipsModel.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestMemberships = MembershipsModel.TestCase


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=6))
@settings(max_examples=10, deadline=None)
def test_any_text_is_a_name(names: list[tuple[str, str]]) -> None:
    async def keep() -> None:
        store = MemoryStore()
        for user, group in names:
            await store.add("chat", user, group, None)
            assert group in await store.groups_of("chat", user)

    asyncio.run(keep())
