"""Users in groups, kept in Redis, where every node of a service sees them. Redis forgets what ends.

A user's groups are one sorted set, by their ends, and one by the time of adding for those without
a time of their own. Time is that of Redis.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.memberships import MAX_UNTIMED, NO_LIMIT_SECONDS, Membership
from hubbub.service.store import StoreError

if TYPE_CHECKING:
    from hubbub.service.redis.redis import Redis

__all__ = ["RedisStore"]

# A name may have half a surrogate pair, which JSON can write.
_ERRORS: Final = "surrogatepass"
_NOW: Final = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "
# KEYS: groups by end, untimed groups by when they were added. The keys live as long as what they
# hold. ARGV: group, seconds, whether these are a time of its own, how many others are kept.
_ADD: Final = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[2]), ARGV[1])
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or 0
  redis.call('ZADD', KEYS[2], string.format('%.0f', last + 1), ARGV[1])
  for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - ARGV[4])) do
    redis.call('ZREM', KEYS[1], old)
    redis.call('ZREM', KEYS[2], old)
  end
end
local last = math.ceil(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
redis.call('EXPIREAT', KEYS[1], last)
redis.call('EXPIREAT', KEYS[2], last)
"""
)
_REMOVE: Final = "redis.call('ZREM', KEYS[1], ARGV[1]) redis.call('ZREM', KEYS[2], ARGV[1])"
_OF: Final = (
    _NOW
    + """
return {
  redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.6f', now), '+inf', 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[2], 0, -1),
}
"""
)


class RedisStore:
    """Keeps everything in Redis. Satisfies `Store`."""

    def __init__(self, redis: "Redis", prefix: str = "hubbub") -> None:
        """`redis` is open while this is in use, and its opener's to close."""
        self._redis = redis
        self._prefix = f"{prefix}:groups"

    def __repr__(self) -> str:
        return f"RedisStore({self._redis!r})"

    def known_groups_of(self, hub: str, user: str) -> None:
        """Nothing is known without asking."""
        return

    async def groups_of(self, hub: str, user: str) -> Mapping[str, Membership]:
        """The groups that a user is in now, by name."""
        ends, untimed = await self._run(_OF, hub, user)
        expires = {name: float(end) for name, end in zip(ends[::2], ends[1::2], strict=True)}
        found = {
            name.decode(errors=_ERRORS): Membership(expires[name], is_timed=True)
            for name in expires.keys() - set(untimed)
        }
        for name in untimed:
            if name in expires:
                found[name.decode(errors=_ERRORS)] = Membership(expires[name], is_timed=False)
        return found

    async def add(self, hub: str, user: str, group: str, ttl: int | None) -> None:
        """Put a user into a group for `ttl` seconds; return when Redis has it."""
        if ttl == 0:
            await self.remove(hub, user, group)
            return
        seconds, is_timed = (NO_LIMIT_SECONDS, 0) if ttl is None else (ttl, 1)
        await self._run(
            _ADD, hub, user, group.encode(errors=_ERRORS), seconds, is_timed, MAX_UNTIMED
        )

    async def remove(self, hub: str, user: str, group: str) -> None:
        """Take a user out of a group; return when Redis has it."""
        await self._run(_REMOVE, hub, user, group.encode(errors=_ERRORS))

    async def remove_all(self, hub: str, user: str) -> None:
        """Take a user out of all groups of a hub; return when Redis has it."""
        await self._run("redis.call('DEL', KEYS[1], KEYS[2])", hub, user)

    def expire(self) -> None:
        """Redis does that."""

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def _run(self, script: str, hub: str, user: str, *arguments: Any) -> Any:
        # In braces what decides the slot: both keys of a user are in one place.
        key = f"{self._prefix}:{{{hub}:{user}}}:".encode(errors=_ERRORS)
        keys = (key + b"ends", key + b"untimed")
        try:
            return await self._redis.call(
                self._redis.slot(key), b"EVAL", script, 2, *keys, *arguments
            )
        except BackplaneError as error:
            raise StoreError(f"The store cannot be reached: {error}") from None
