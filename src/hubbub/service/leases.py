"""Which nodes are alive: each renews a lease, and one that does not is declared dead by another.

Time is that of the place where leases are kept; no node's clock is compared with another's. What
becomes of a dead node's connections is not known here.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from hubbub.service.backplane.backplane import BackplaneError

if TYPE_CHECKING:
    from hubbub.service.redis.redis import Redis

__all__ = [
    "LEASE",
    "RENEWAL",
    "Dead",
    "Leases",
    "MemoryLeases",
    "NodeFacts",
    "RedisLeases",
    "Renewing",
]

_logger = logging.getLogger("hubbub.service.leases")
LEASE: Final = 10.0  # seconds
RENEWAL: Final = 2.5  # seconds; three renewals may fail
# Seconds for which a node that comes back is told that it has been declared dead.
_REMEMBERED: Final = 3600.0


class NodeFacts(msgspec.Struct, frozen=True):
    """What a node says about itself."""

    id: str
    started: float = 0.0  # Unix seconds, by the node's own clock
    version: str = ""
    connections: int = 0
    is_draining: bool = False
    lease: float = 0.0  # seconds from one renewal to the end, as whoever keeps it writes down
    age: float = 0.0  # seconds since it said so, for who reads it


class Dead(NamedTuple):
    """A node that is no more."""

    id: str
    has_ended: bool = False  # in order: it gave its lease up


class Leases(Protocol):
    """Who is alive. Every call raises `BackplaneError` where the others cannot be reached."""

    async def renew(self, facts: NodeFacts) -> bool:
        """Begin or renew a node's lease; false where it has been declared dead, and so stays."""

    async def end(self, node_id: str) -> None:
        """Give up a lease: the node counts as dead at once."""

    async def live(self) -> list[NodeFacts]:
        """The nodes whose leases have not run out."""

    async def dead(self) -> list[Dead]:
        """The dead nodes that nobody has `settled`; it declares dead whose lease has run out.

        Every node that asks gets the same ones.
        """

    async def settle(self, node_id: str) -> None:
        """Nothing is left to do for a dead node."""


class MemoryLeases:
    """Leases of the nodes of one process, which share it. Satisfies `Leases`."""

    def __init__(self, lease: float = LEASE, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._live: dict[str, tuple[float, NodeFacts]] = {}
        self._dead: dict[str, None] = {}
        self._unsettled: dict[str, Dead] = {}

    def __repr__(self) -> str:
        return f"MemoryLeases(live={list(self._live)}, dead={list(self._dead)})"

    async def renew(self, facts: NodeFacts) -> bool:
        """Begin or renew a node's lease; false where it has been declared dead."""
        if facts.id in self._dead:
            return False
        written = msgspec.structs.replace(facts, lease=self._lease)
        self._live[facts.id] = (self._clock() + self._lease, written)
        return True

    async def end(self, node_id: str) -> None:
        """Give up a lease."""
        self._bury(Dead(node_id, has_ended=True))

    async def live(self) -> list[NodeFacts]:
        """The nodes whose leases have not run out."""
        now = self._clock()
        return [
            _aged(facts, expires - now) for expires, facts in self._live.values() if expires > now
        ]

    async def dead(self) -> list[Dead]:
        """The dead nodes that nobody has settled."""
        now = self._clock()
        for node_id in [each for each, (expires, _) in self._live.items() if expires <= now]:
            self._bury(Dead(node_id))
        return list(self._unsettled.values())

    async def settle(self, node_id: str) -> None:
        """Nothing is left to do for a dead node."""
        self._unsettled.pop(node_id, None)

    def _bury(self, dead: Dead) -> None:
        if self._live.pop(dead.id, None) is not None:
            self._dead[dead.id] = None
            self._unsettled[dead.id] = dead


def _aged(facts: NodeFacts, remaining: float) -> NodeFacts:
    """What a node said when its lease had all its time, which has `remaining` seconds by now."""
    return msgspec.structs.replace(facts, age=max(facts.lease - remaining, 0.0))


# KEYS: ends of leases, facts, dead nodes with the time until which that is remembered, unsettled,
# those of the unsettled that have ended in order.
_NOW: Final = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
_RENEW: Final = (
    _NOW
    + """
if redis.call('ZSCORE', KEYS[3], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 1
"""
)
_END: Final = (
    _NOW
    + """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
redis.call('SADD', KEYS[5], ARGV[1])
return 1
"""
)
_LIVE: Final = (
    _NOW
    + """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
local found = {}
for _, id in ipairs(ids) do
  local facts = redis.call('HGET', KEYS[2], id)
  if facts then
    found[#found + 1] = facts
    found[#found + 1] = redis.call('ZSCORE', KEYS[1], id) - now
  end
end
return found
"""
)
_DEAD: Final = (
    _NOW
    + """
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZADD', KEYS[3], now + ARGV[1], id)
  redis.call('SADD', KEYS[4], id)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
return {redis.call('SMEMBERS', KEYS[4]), redis.call('SINTER', KEYS[4], KEYS[5])}
"""
)


_SETTLE: Final = "redis.call('SREM', KEYS[4], ARGV[1]) redis.call('SREM', KEYS[5], ARGV[1])"


class RedisLeases:
    """Leases of the nodes that share a Redis. Satisfies `Leases`."""

    def __init__(self, redis: "Redis", prefix: str = "hubbub", lease: float = LEASE) -> None:
        """`redis` is open while this is in use. `lease` is in seconds."""
        self._redis = redis
        # All on one slot, so that a script sees all.
        names = ("leases", "facts", "dead", "unsettled", "ended")
        self._keys = tuple(f"{prefix}:{{nodes}}:{name}".encode() for name in names)
        self._slot = redis.slot(self._keys[0])
        self._lease = round(lease * 1000)
        self._remembered = round(max(_REMEMBERED, 10 * lease) * 1000)

    def __repr__(self) -> str:
        return f"RedisLeases({self._redis!r})"

    async def renew(self, facts: NodeFacts) -> bool:
        """Begin or renew a node's lease; false where it has been declared dead."""
        text = msgspec.json.encode(msgspec.structs.replace(facts, lease=self._lease / 1000))
        return bool(await self._run(_RENEW, facts.id, self._lease, text))

    async def end(self, node_id: str) -> None:
        """Give up a lease."""
        await self._run(_END, node_id, self._remembered)

    async def live(self) -> list[NodeFacts]:
        """The nodes whose leases have not run out."""
        found = iter(await self._run(_LIVE))
        return [
            _aged(msgspec.json.decode(text, type=NodeFacts), remaining / 1000)
            for text, remaining in zip(found, found, strict=True)
        ]

    async def dead(self) -> list[Dead]:
        """The dead nodes that nobody has settled."""
        dead, ended = await self._run(_DEAD, self._remembered)
        ended = set(ended)
        return sorted(Dead(each.decode(), has_ended=each in ended) for each in dead)

    async def settle(self, node_id: str) -> None:
        """Nothing is left to do for a dead node."""
        await self._run(_SETTLE, node_id)

    async def _run(self, script: str, *arguments: Any) -> Any:
        count = len(self._keys)
        return await self._redis.call(self._slot, b"EVAL", script, count, *self._keys, *arguments)


class Renewing:
    """Renews one node's lease until it is closed, and finds out who has died."""

    def __init__(
        self,
        leases: Leases,
        facts: Callable[[], NodeFacts],
        *,
        lost: Callable[[], None],
        died: Callable[[list[Dead]], None],
        interval: float = RENEWAL,
    ) -> None:
        """`lost` is called each time that others turn out to have declared this node dead: from
        then on `facts` should have another id. `died` gets the dead nodes that are not settled,
        as often as there are any. `interval` is in seconds.
        """
        self._leases = leases
        self._facts = facts
        self._lost = lost
        self._died = died
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Renewing({self._leases!r})"

    async def open(self) -> None:
        """Take the lease, then keep it. Raises `BackplaneError`."""
        if not await self._leases.renew(self._facts()):
            self._lost()
            await self._leases.renew(self._facts())
        self._task = asyncio.get_running_loop().create_task(self._renew())

    async def close(self) -> None:
        """Give the lease up."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            with suppress(BackplaneError):  # then it runs out
                await self._leases.end(self._facts().id)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                if not await self._leases.renew(self._facts()):
                    self._lost()
                    await self._leases.renew(self._facts())
                if dead := await self._leases.dead():
                    self._died(dead)
            except BackplaneError:
                pass  # the next time may be better
            except Exception:  # what the node does with it may fail, the lease goes on
                _logger.exception("looking after the leases of nodes failed")
