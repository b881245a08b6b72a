"""The access keys that all nodes of a service share: kept in one place, changed in one place.

Both keys are good at any time, so that one can be replaced while clients use the other. What a node
does with new ones is not known here.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from hubbub.service.backplane.backplane import BackplaneError

if TYPE_CHECKING:
    from hubbub.service.redis.redis import Redis

__all__ = [
    "KEYS_CHANGED",
    "MemorySharedSettings",
    "RedisSharedSettings",
    "SharedKeys",
    "SharedSettings",
    "Watching",
    "Which",
    "new_key",
]

_logger = logging.getLogger("hubbub.service.backplane")
_KEY_BYTES: Final = 33  # 44 characters of base64, as long as the original's keys
_LOOK: Final = 5.0  # seconds between two looks, for whoever misses the news
# What is published to the nodes' common channel when keys change, by the one who changes them.
KEYS_CHANGED: Final = b"keys"

Which = Literal["primary", "secondary"]


def new_key() -> str:
    """An access key that nobody can guess."""
    return secrets.token_urlsafe(_KEY_BYTES)


class SharedKeys(msgspec.Struct, frozen=True):
    """The access keys of a service. Never part of a log: its `repr` has no keys."""

    primary: str
    secondary: str
    version: int = 1

    def __repr__(self) -> str:
        return f"SharedKeys(version={self.version})"

    def __str__(self) -> str:
        return repr(self)

    @property
    def access_keys(self) -> tuple[str, str]:
        """As settings have them: the primary, which signs, first."""
        return self.primary, self.secondary

    def rotated(self, which: Which) -> "SharedKeys":
        """These with a new key in one place."""
        primary, secondary = self.access_keys
        if which == "primary":
            return SharedKeys(new_key(), secondary, self.version + 1)
        return SharedKeys(primary, new_key(), self.version + 1)


class SharedSettings(Protocol):
    """Where the keys are kept. `BackplaneError` where that cannot be reached."""

    async def load(self) -> SharedKeys | None:
        """What is kept, if anything is."""

    async def begin(self, keys: SharedKeys) -> SharedKeys:
        """Keep `keys` unless some are kept that are as new; return what is kept then."""

    async def rotate(self, which: Which) -> SharedKeys | None:
        """Replace one key by a new one; nothing where nothing is kept."""


class MemorySharedSettings:
    """Keys of the nodes of one process, which share it. Satisfies `SharedSettings`."""

    def __init__(self) -> None:
        self._keys: SharedKeys | None = None

    def __repr__(self) -> str:
        return f"MemorySharedSettings({self._keys!r})"

    async def load(self) -> SharedKeys | None:
        """What is kept, if anything is."""
        return self._keys

    async def begin(self, keys: SharedKeys) -> SharedKeys:
        """Keep `keys` unless some are kept that are as new."""
        if self._keys is None or self._keys.version < keys.version:
            self._keys = keys
        return self._keys

    async def rotate(self, which: Which) -> SharedKeys | None:
        """Replace one key by a new one."""
        self._keys = self._keys.rotated(which) if self._keys is not None else None
        return self._keys


# Changes only what is still as it was read; nothing kept is read as no text.
_REPLACE: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisSharedSettings:
    """Keys of the nodes that share a Redis, in one key of it. Satisfies `SharedSettings`."""

    def __init__(self, redis: "Redis", prefix: str = "hubbub") -> None:
        """`redis` is open while this is in use."""
        self._redis = redis
        self._key = f"{prefix}:access-keys".encode()
        self._slot = redis.slot(self._key)

    def __repr__(self) -> str:
        return f"RedisSharedSettings({self._redis!r})"

    async def load(self) -> SharedKeys | None:
        """What is kept, if anything is."""
        return _read(await self._redis.call(self._slot, b"GET", self._key))

    async def begin(self, keys: SharedKeys) -> SharedKeys:
        """Keep `keys` unless some are kept that are as new."""
        text = msgspec.json.encode(keys)
        while True:
            kept = await self._redis.call(self._slot, b"GET", self._key)
            found = _read(kept)
            if found is not None and found.version >= keys.version:
                return found
            if await self._redis.call(
                self._slot, b"EVAL", _REPLACE, 1, self._key, kept or b"", text
            ):
                return keys

    async def rotate(self, which: Which) -> SharedKeys | None:
        """Replace one key by a new one, whoever else does so at the same time."""
        while True:
            kept = await self._redis.call(self._slot, b"GET", self._key)
            keys = _read(kept)
            if keys is None:
                return None
            keys = keys.rotated(which)
            text = msgspec.json.encode(keys)
            if await self._redis.call(self._slot, b"EVAL", _REPLACE, 1, self._key, kept, text):
                return keys


def _read(text: bytes | None) -> SharedKeys | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=SharedKeys)
    except msgspec.MsgspecError:
        # Without what it says: that may hold a key.
        raise BackplaneError(
            "What is kept as access keys is not what Hubbub has written."
        ) from None


class Watching:
    """Tells a node which keys are good, when it begins and whenever they change."""

    def __init__(
        self,
        settings: SharedSettings,
        changed: Callable[[SharedKeys], None],
        *,
        interval: float = _LOOK,
    ) -> None:
        """`changed` is called with every new version. `interval` is in seconds."""
        self._settings = settings
        self._changed = changed
        self._interval = interval
        self._keys: SharedKeys | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Watching({self._keys!r}, {self._settings!r})"

    async def open(self, access_keys: tuple[str, ...]) -> None:
        """Take the keys that are kept; where none are, keep those of this node.

        Raises `BackplaneError`.
        """
        primary, secondary = access_keys[0], access_keys[1] if access_keys[1:] else new_key()
        self._take(await self._settings.begin(SharedKeys(primary, secondary)))
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def look(self) -> None:
        """Look now: somebody has said that keys have changed."""
        self._news.set()

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._news.wait()
            self._news.clear()
            try:
                # Redis may have lost them, or come back with keys that have been replaced since.
                assert self._keys is not None
                self._take(await self._settings.begin(self._keys))
            except BackplaneError:
                pass  # while it cannot be reached, the keys that are known stay good
            except Exception:  # what the node does with keys may fail, the watch goes on
                _logger.exception("access keys could not be taken over")

    def _take(self, keys: SharedKeys) -> None:
        if keys != self._keys:
            self._keys = keys
            self._changed(keys)
