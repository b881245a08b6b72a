"""Users in groups, kept in Redis, where every node of a service sees them. Redis forgets what ends.

A user's groups are one sorted set, by their ends, and one by the time of adding for those without
a time of their own. Time is that of Redis.
"""

from asyncio import Future
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.memberships import MAX_UNTIMED, NO_LIMIT_SECONDS, Membership
from hubbub.service.store import StoreError

if TYPE_CHECKING:
    from hubbub.service.redis.redis import Redis

__all__ = ["RedisStore"]

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
"""
)
_EXPIRE: Final = """
local furthest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if furthest then
  redis.call('EXPIREAT', KEYS[1], math.ceil(furthest))
  redis.call('EXPIREAT', KEYS[2], math.ceil(furthest))
end
"""
_OF: Final = (
    _NOW
    + """
return {
  redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.6f', now), '+inf', 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[2], 0, -1),
}
"""
)
