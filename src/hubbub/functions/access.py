"""Who may call what: authorisation levels and the keys that a request brings.

It compares and decides. Where keys are kept is `keys`'s affair. Easy Auth is something else: see
`principal`.
"""

import hmac
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from hubbub.functions.function import FunctionError
from hubbub.functions.keys import KeyStore


class Level(IntEnum):
    """What a key is good for; the numbers are the original's. Admin is enough for everything."""

    ANONYMOUS = 0
    FUNCTION = 2
    SYSTEM = 3
    ADMIN = 4


def parse_level(value: Any) -> Level:
    """The `authLevel` of an HTTP trigger: a name in any case or a number. Absent: function."""
    text = "function" if value is None else str(value).strip()
    for level in (Level.ANONYMOUS, Level.FUNCTION, Level.SYSTEM, Level.ADMIN):
        if text.upper() == level.name or text == str(level.value):
            return level
    raise FunctionError(f"'{value}' is not a valid authLevel; write anonymous, function or admin.")


class Access:
    """Checks the keys of requests. Without a store everybody may do everything, as locally."""

    def __init__(self, store: KeyStore | None) -> None:
        self._store = store

    @property
    def is_checked(self) -> bool:
        """Whether keys are asked for at all."""
        return self._store is not None

    def allows_function(
        self, name: str, needed: Level, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> bool:
        """Whether a request may call the HTTP function `name`."""
        if self._store is None or needed is Level.ANONYMOUS:
            return True
        given = _given(headers, query)
        host = self._store.host()
        if _is_one(given, [host.master]):
            return True
        if needed is Level.SYSTEM:
            return _is_one(given, host.system.values())
        if needed is Level.ADMIN:
            return False
        own = self._store.function(name).values()
        return _is_one(given, [*host.function.values(), *own])

    def allows_admin(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether a request may use the admin API."""
        if self._store is None:
            return True
        return _is_one(_given(headers, query), [self._store.host().master])

    def allows_webhook(
        self, key_name: str, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> bool:
        """Whether a request has the system key `key_name`, or the master key."""
        if self._store is None:
            return True
        host = self._store.host()
        keys = [host.system[key_name]] if key_name in host.system else []
        return _is_one(_given(headers, query), [host.master, *keys])


def _given(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The header counts before the query; an empty one is none."""
    if key := headers.get("x-functions-key"):
        return key
    return next((value for name, value in query.items() if name.lower() == "code"), "")


def _is_one(given: str, keys: Iterable[str]) -> bool:
    """Whether `given` is one of the keys; how long that takes says nothing about them."""
    if not given:
        return False
    text = given.encode()
    found = [hmac.compare_digest(text, key.encode(errors="surrogatepass")) for key in keys]
    return any(found)
