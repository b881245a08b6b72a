"""Last wills of connections: what another node needs to do what a dead node would have done.

A will moves from the dead node to its heir in one step, so that exactly one node has it. If the
heir dies too, it is among the heir's. What a will says is not known here.
"""

from asyncio import Future
from binascii import crc32
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from hubbub.service.redis.redis import Redis

__all__ = ["MemoryWills", "RedisWills", "Wills"]

_PARTS: Final = 16  # of a node's wills, so that a cluster spreads them
_MOST: Final = 1000  # that move at once


class Wills(Protocol):
    """What is to be done when a node has died. `BackplaneError` where it cannot be kept or had."""

    async def write(self, node_id: str, connection_id: str, will: bytes) -> None:
        """Keep a connection's will, in place of an earlier one."""

    async def erase(self, node_id: str, connection_id: str) -> None:
        """Forget a will: the connection has ended, or what its will says is done."""

    async def take(self, owner_id: str, node_id: str, connection_id: str, will: bytes) -> None:
        """Keep a connection's will with a node, in place of one that another node has written."""

    async def claim(self, dead_id: str, heir_id: str) -> dict[str, bytes]:
        """Move wills of a dead node to a living one; return them by connection, or none at the end.

        Where this fails, some may have moved: `of` has them.
        """

    async def of(self, node_id: str) -> dict[str, bytes]:
        """All the wills of a node, those that it has inherited included."""


class MemoryWills:
    """Wills of the nodes of one process, which share it. Satisfies `Wills`."""

    def __init__(self) -> None:
        self._wills: dict[str, dict[str, bytes]] = {}

    def __repr__(self) -> str:
        return f"MemoryWills({ {node: len(wills) for node, wills in self._wills.items()} })"

    async def write(self, node_id: str, connection_id: str, will: bytes) -> None:
        """Keep a connection's will."""
        self._wills.setdefault(node_id, {})[connection_id] = will

    async def erase(self, node_id: str, connection_id: str) -> None:
        """Forget a will."""
        self._wills.get(node_id, {}).pop(connection_id, None)

    async def take(self, owner_id: str, node_id: str, connection_id: str, will: bytes) -> None:
        """Keep a will in place of another node's."""
        await self.erase(owner_id, connection_id)
        await self.write(node_id, connection_id, will)

    async def claim(self, dead_id: str, heir_id: str) -> dict[str, bytes]:
        """Move wills of a dead node to a living one."""
        wills = self._wills.pop(dead_id, {})
        self._wills.setdefault(heir_id, {}).update(wills)
        return wills

    async def of(self, node_id: str) -> dict[str, bytes]:
        """All the wills of a node."""
        return dict(self._wills.get(node_id, {}))


_CLAIM: Final = """
local found = redis.call('HRANDFIELD', KEYS[1], ARGV[1], 'WITHVALUES')
for i = 1, #found, 2 do
  redis.call('HSET', KEYS[2], found[i], found[i + 1])
  redis.call('HDEL', KEYS[1], found[i])
end
return found
"""

_TAKE: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
"""


class RedisWills:
    """Wills of the nodes that share a Redis: a few hashes for each node. Satisfies `Wills`."""

    def __init__(self, redis: "Redis", prefix: str = "hubbub") -> None:
        """`redis` is open while this is in use."""
        self._redis = redis
        self._prefix = f"{prefix}:wills"

    def __repr__(self) -> str:
        return f"RedisWills({self._redis!r})"

    async def write(self, node_id: str, connection_id: str, will: bytes) -> None:
        """Keep a connection's will."""
        await self._call(b"HSET", node_id, connection_id, will)

    async def erase(self, node_id: str, connection_id: str) -> None:
        """Forget a will."""
        await self._call(b"HDEL", node_id, connection_id)

    async def take(self, owner_id: str, node_id: str, connection_id: str, will: bytes) -> None:
        """Keep a will in place of another node's, in one step."""
        part = _part(connection_id)
        key, slot = self._key(node_id, part)
        owner, _ = self._key(owner_id, part)
        await self._redis.call(slot, b"EVAL", _TAKE, 2, owner, key, connection_id, will)

    async def claim(self, dead_id: str, heir_id: str) -> dict[str, bytes]:
        """Move up to a thousand wills of a dead node to a living one."""
        if dead_id == heir_id:
            raise ValueError("a node cannot inherit from itself")
        for part in range(_PARTS):
            key, slot = self._key(dead_id, part)
            heir, _ = self._key(heir_id, part)
            found = await self._redis.call(slot, b"EVAL", _CLAIM, 2, key, heir, _MOST)
            if found:
                return _wills(found)
        return {}

    async def of(self, node_id: str) -> dict[str, bytes]:
        """All the wills of a node."""
        wills: dict[str, bytes] = {}
        for part in range(_PARTS):
            key, slot = self._key(node_id, part)
            for connection_id, will in (await self._redis.call(slot, b"HGETALL", key)).items():
                wills[connection_id.decode()] = will
        return wills

    def _key(self, node_id: str, part: int) -> tuple[bytes, int]:
        # In braces what decides the slot: a part of all nodes is in one place, so that it can move.
        key = f"{self._prefix}:{{{part}}}:{node_id}".encode()
        return key, self._redis.slot(key)

    def _call(self, command: bytes, node_id: str, connection_id: str, *will: bytes) -> Future[None]:
        key, slot = self._key(node_id, _part(connection_id))
        return self._redis.call(slot, command, key, connection_id, *will)


def _part(connection_id: str) -> int:
    return crc32(connection_id.encode()) % _PARTS


def _wills(found: list[bytes]) -> dict[str, bytes]:
    """Read fields and values that follow each other."""
    pairs = zip(found[::2], found[1::2], strict=True)
    return {connection_id.decode(): will for connection_id, will in pairs}
