"""What outlives a function host: when each timer fired last, and which host fires them.

In memory it ends with the process; in SQLite it survives, and hosts that share the file agree on
one of them. It knows no schedule and no function.
"""

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hubbub.errors import ConfigError

FILE_NAME = "functions.sqlite3"
_BUSY = 2.0  # seconds to wait for another host that writes
_TABLES = """
CREATE TABLE IF NOT EXISTS timers (
    name TEXT PRIMARY KEY, last TEXT, next TEXT NOT NULL, updated TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Status:
    """What is remembered of one timer. Moments are in UTC."""

    last: datetime | None  # the occurrence that it fired for last; None: it never has
    next: datetime
    updated: datetime


class TimerStore(Protocol):
    """Where schedules are kept. Its methods block for a moment; call them in a thread."""

    def read(self, name: str) -> Status | None:
        """What is remembered of a timer, or None."""

    def write(self, name: str, status: Status) -> None:
        """Remember it."""

    def lead(self, name: str, owner: str, now: float, seconds: float) -> bool:
        """Take the lease `name` or keep it for some more seconds; False: another owner has it."""

    def resign(self, name: str, owner: str) -> None:
        """Give the lease up, if it is one's own."""

    def close(self) -> None:
        """End the use of the store."""


class MemoryStore:
    """A store that only this process knows. Satisfies `TimerStore`."""

    def __init__(self) -> None:
        self._timers: dict[str, Status] = {}

    def read(self, name: str) -> Status | None:
        """What is remembered of a timer, or None."""
        return self._timers.get(name)

    def write(self, name: str, status: Status) -> None:
        """Remember it."""
        self._timers[name] = status

    def lead(self, name: str, owner: str, now: float, seconds: float) -> bool:
        """Always: nobody else knows of this store."""
        return True

    def resign(self, name: str, owner: str) -> None:
        """Nothing to give up."""

    def close(self) -> None:
        """Nothing to end."""


class SqliteStore:
    """A store in a file of the data folder, shared by hosts. Satisfies `TimerStore`."""

    def __init__(self, folder: Path) -> None:
        """Open the file or make it. Raises ConfigError where it cannot be had."""
        self._lock = threading.Lock()
        path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"The timers' schedules cannot be kept in {path}: {error}. Pass --data with a "
                "folder that can be written, or move a broken file away."
            ) from error

    def read(self, name: str) -> Status | None:
        """What is remembered of a timer, or None."""
        row = self._one("SELECT last, next, updated FROM timers WHERE name = ?", name)
        if row is None:
            return None
        last, following, updated = row
        return Status(
            None if last is None else datetime.fromisoformat(last),
            datetime.fromisoformat(following),
            datetime.fromisoformat(updated),
        )

    def write(self, name: str, status: Status) -> None:
        """Remember it."""
        self._one(
            "INSERT INTO timers VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
            "SET last = excluded.last, next = excluded.next, updated = excluded.updated",
            name,
            None if status.last is None else status.last.isoformat(),
            status.next.isoformat(),
            status.updated.isoformat(),
        )

    def lead(self, name: str, owner: str, now: float, seconds: float) -> bool:
        """Take the lease or keep it: one statement, so that two hosts cannot both have it."""
        row = self._one(
            "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
            "SET owner = excluded.owner, until = excluded.until "
            "WHERE owner = excluded.owner OR until < ? RETURNING owner",
            name, owner, now + seconds, now,
        )  # fmt: skip
        return row is not None

    def resign(self, name: str, owner: str) -> None:
        """Give the lease up, if it is one's own."""
        self._one("DELETE FROM leases WHERE name = ? AND owner = ?", name, owner)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _one(self, statement: str, *values: object) -> tuple[str, ...] | None:
        with self._lock, closing(self._database.execute(statement, values)) as cursor:
            row: tuple[str, ...] | None = cursor.fetchone()
            return row


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY, check_same_thread=False)
    try:
        database.isolation_level = None  # transactions are said where they are meant
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_TABLES)
    except BaseException:
        database.close()
        raise
    return database
