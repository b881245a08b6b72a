"""What outlives a node: users in groups. In memory, or in SQLite so that it survives a crash.

Look-ups of these two never wait: they are answered from memory, because every connection that
opens makes one.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from hubbub.errors import ConfigError, HubbubError
from hubbub.service.memberships import NO_LIMIT_SECONDS, Membership, Memberships

__all__ = ["FILE_NAME", "MemoryStore", "SqliteStore", "Store", "StoreError"]

FILE_NAME: Final = "service.sqlite3"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS user_group (
    hub TEXT NOT NULL, user TEXT NOT NULL, name TEXT NOT NULL,
    expires REAL NOT NULL, is_timed INTEGER NOT NULL, added INTEGER NOT NULL,
    PRIMARY KEY (hub, user, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS user_group_expires ON user_group (expires);
"""
_VERSION: Final = 1
_INSERT: Final = "INSERT OR REPLACE INTO user_group VALUES (?, ?, ?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM user_group WHERE hub = ? AND user = ? AND name = ?"
_DELETE_USER: Final = "DELETE FROM user_group WHERE hub = ? AND user = ?"
_DELETE_EXPIRED: Final = "DELETE FROM user_group WHERE expires <= ?"
_SELECT: Final = "SELECT hub, user, name, expires, is_timed FROM user_group ORDER BY added"
_PURGE_SECONDS: Final = 60.0  # between two times that what has ended is taken out of the file
_NEWEST: Final = "SELECT coalesce(max(added), 0) FROM user_group"


class StoreError(HubbubError):
    """What was to be kept could not be written. Whether it is kept is not known."""


class Store(Protocol):
    """Users in groups, by hub (in lower case), with an end each.

    A change is seen by look-ups at once. When the call that makes it returns, the change survives
    the end of this process, as far as the implementation keeps anything at all; changes are kept
    in the order in which they were asked for. `StoreError` says that this may not be so.
    """

    def known_groups_of(self, hub: str, user: str) -> Mapping[str, Membership] | None:
        """What `groups_of` answers, without waiting; `None` where that has to be waited for.

        A store answers every time, or never.
        """

    async def groups_of(self, hub: str, user: str) -> Mapping[str, Membership]:
        """The groups that a user is in now, by name. Raises `StoreError`.

        Those without an end of their own come in the order in which they make room.
        """

    async def add(self, hub: str, user: str, group: str, ttl: int | None) -> None:
        """Put a user into a group for `ttl` seconds, which replaces an earlier end.

        `None` is up to a year, and of these a user keeps the newest 100. With 0 nothing is kept.
        """

    async def remove(self, hub: str, user: str, group: str) -> None:
        """Take a user out of a group. It may not be in it."""

    async def remove_all(self, hub: str, user: str) -> None:
        """Take a user out of all groups of a hub."""

    def expire(self) -> None:
        """Forget what has ended. Called now and then."""

    async def open(self) -> None:
        """Begin. Raises `ConfigError` where what was kept cannot be had."""

    async def close(self) -> None:
        """End, when what has been asked for is kept."""


class MemoryStore:
    """Keeps nothing beyond this process. Satisfies `Store`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds."""
        self._clock = clock
        self._memberships = Memberships()

    def __repr__(self) -> str:
        return f"MemoryStore({self._memberships!r})"

    def known_groups_of(self, hub: str, user: str) -> Mapping[str, Membership]:
        """The groups that a user is in now, by name."""
        return self._memberships.of(hub, user, self._clock())

    async def groups_of(self, hub: str, user: str) -> Mapping[str, Membership]:
        """The groups that a user is in now, by name."""
        return self.known_groups_of(hub, user)

    async def add(self, hub: str, user: str, group: str, ttl: int | None) -> None:
        """Put a user into a group for `ttl` seconds."""
        if ttl == 0:
            self._memberships.remove(hub, user, group)
        else:
            self._memberships.add(hub, user, group, _membership(ttl, self._clock()))

    async def remove(self, hub: str, user: str, group: str) -> None:
        """Take a user out of a group."""
        self._memberships.remove(hub, user, group)

    async def remove_all(self, hub: str, user: str) -> None:
        """Take a user out of all groups of a hub."""
        self._memberships.remove_all(hub, user)

    def expire(self) -> None:
        """Forget what has ended."""
        self._memberships.expire(self._clock())

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""


class _Write(NamedTuple):
    """Statements that belong together, and who waits for them, if anybody does."""

    statements: list[tuple[str, tuple[object, ...]]]
    done: asyncio.Future[None] | None = None


class SqliteStore:
    """Keeps everything in one SQLite file, held by one process. Satisfies `Store`.

    Every answer waits for a commit that has reached the disk (WAL, synchronous=FULL). What is asked
    for while one commit is under way shares the next, so a second has room for many.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """The file is made in `folder`, which is made too. `clock` gives Unix seconds."""
        self._path = folder / FILE_NAME
        self._clock = clock
        self._memberships = Memberships()
        self._added = 0
        self._has_ended = False  # whether the file has rows that memory has forgotten
        self._purge_due = 0.0
        self._waiting: list[_Write] = []
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "store")
        self._database: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r}, {self._memberships!r})"

    def known_groups_of(self, hub: str, user: str) -> Mapping[str, Membership]:
        """The groups that a user is in now, by name."""
        return self._memberships.of(hub, user, self._clock())

    async def groups_of(self, hub: str, user: str) -> Mapping[str, Membership]:
        """The groups that a user is in now, by name."""
        return self.known_groups_of(hub, user)

    async def add(self, hub: str, user: str, group: str, ttl: int | None) -> None:
        """Put a user into a group for `ttl` seconds; return when that is on the disk."""
        if ttl == 0:
            await self.remove(hub, user, group)
            return
        membership = _membership(ttl, self._clock())
        displaced = self._memberships.add(hub, user, group, membership)
        self._added += 1
        row = (hub, user, group, membership.expires, membership.is_timed, self._added)
        await self._kept((_INSERT, row), *((_DELETE, (hub, user, name)) for name in displaced))

    async def remove(self, hub: str, user: str, group: str) -> None:
        """Take a user out of a group; return when that is on the disk."""
        # Written even where it is not in it: an earlier write of it may have failed.
        self._memberships.remove(hub, user, group)
        await self._kept((_DELETE, (hub, user, group)))

    async def remove_all(self, hub: str, user: str) -> None:
        """Take a user out of all groups of a hub; return when that is on the disk."""
        self._memberships.remove_all(hub, user)
        await self._kept((_DELETE_USER, (hub, user)))

    def expire(self) -> None:
        """Forget what has ended, at most a minute later in the file too."""
        now = self._clock()
        before = len(self._memberships)
        self._memberships.expire(now)
        self._has_ended |= len(self._memberships) < before
        if self._has_ended and now >= self._purge_due and self._database is not None:
            self._has_ended = False
            self._purge_due = now + _PURGE_SECONDS
            self._put(_Write([(_DELETE_EXPIRED, (now,))]))

    async def open(self) -> None:
        """Read what was kept. Raises `ConfigError` where the file is in use or is not ours."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _connect(self._path)
            self._load(self._database)
        except sqlite3.OperationalError as error:
            raise ConfigError(
                f"{self._path} cannot be used: {error}. Is another service using the same folder? "
                "Pass --data with a folder of its own."
            ) from None
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{self._path} is not what this service has written: {error}. Move it away, or "
                "pass --data with another folder."
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{self._path.parent} cannot be made: {error.strerror}. Pass --data with a folder "
                "that this user may write to."
            ) from None

    async def close(self) -> None:
        """Close the file when what has been asked for is in it."""
        if self._writer is not None:
            await self._writer
        if self._database is not None:
            self._database.close()
            self._database = None
        self._thread.shutdown()

    def _load(self, database: sqlite3.Connection) -> None:
        with database:
            database.execute(_DELETE_EXPIRED, (self._clock(),))
        for hub, user, group, expires, is_timed in database.execute(_SELECT):
            self._memberships.add(hub, user, group, Membership(expires, bool(is_timed)))
        (self._added,) = database.execute(_NEWEST).fetchone()

    async def _kept(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        """Write `statements` in one transaction, after those asked for earlier."""
        done = asyncio.get_running_loop().create_future()
        self._put(_Write(list(statements), done))
        await done

    def _put(self, write: _Write) -> None:
        self._waiting.append(write)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            statements = [statement for write in batch for statement in write.statements]
            try:
                await loop.run_in_executor(self._thread, self._commit, statements)
                failure = None
            except Exception as error:
                # Whoever waits must hear of it, and the next batch must be written.
                failure = StoreError(f"The store could not be written: {error}")
                self._has_ended = True  # that may have been among it
            for write in batch:
                # A caller that has gone away has cancelled it.
                if write.done is None or write.done.done():
                    continue
                if failure is None:
                    write.done.set_result(None)
                else:
                    write.done.set_exception(failure)
        self._writer = None

    def _commit(self, statements: list[tuple[str, tuple[object, ...]]]) -> None:
        assert self._database is not None
        with self._database:
            for statement, parameters in statements:
                self._database.execute(statement, parameters)


def _membership(ttl: int | None, now: float) -> Membership:
    return Membership(now + (NO_LIMIT_SECONDS if ttl is None else ttl), ttl is not None)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError(f"its version is {version}, expected {_VERSION}")
        # Memory mirrors the file, so nobody else may write it.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {_VERSION}")
        database.commit()
    except BaseException:
        database.close()
        raise
    return database
