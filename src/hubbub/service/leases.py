"""Which nodes are alive: each renews a lease, and one that does not is declared dead by another.

Time is that of the place where leases are kept; no node's clock is compared with another's. What
becomes of a dead node's connections is not known here.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from hubbub.service.backplane.backplane import BackplaneError

if TYPE_CHECKING:
    from hubbub.service.redis.redis import Redis

__all__ = ["LEASE", "RENEWAL", "Leases", "MemoryLeases", "NodeFacts", "RedisLeases", "Renewing"]

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


class Leases(Protocol):
    """Who is alive. Every call raises `BackplaneError` where the others cannot be reached."""

    async def renew(self, facts: NodeFacts) -> bool:
        """Begin or renew a node's lease; false where it has been declared dead, and so stays."""

    async def end(self, node_id: str) -> None:
        """Give up a lease: the node counts as dead at once."""

    async def live(self) -> list[NodeFacts]:
        """The nodes whose leases have not run out."""

    async def dead(self) -> list[str]:
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
        self._unsettled: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"MemoryLeases(live={list(self._live)}, dead={list(self._dead)})"

    async def renew(self, facts: NodeFacts) -> bool:
        """Begin or renew a node's lease; false where it has been declared dead."""
        if facts.id in self._dead:
            return False
        self._live[facts.id] = (self._clock() + self._lease, facts)
        return True

    async def end(self, node_id: str) -> None:
        """Give up a lease."""
        if self._live.pop(node_id, None) is not None:
            self._dead[node_id] = self._unsettled[node_id] = None

    async def live(self) -> list[NodeFacts]:
        """The nodes whose leases have not run out."""
        now = self._clock()
        return [facts for expires, facts in self._live.values() if expires > now]

    async def dead(self) -> list[str]:
        """The dead nodes that nobody has settled."""
        now = self._clock()
        for node_id in [each for each, (expires, _) in self._live.items() if expires <= now]:
            await self.end(node_id)
        return list(self._unsettled)

    async def settle(self, node_id: str) -> None:
        """Nothing is left to do for a dead node."""
        self._unsettled.pop(node_id, None)


# KEYS: ends of leases, facts, dead nodes with the time until which that is remembered, unsettled.
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
return 1
"""
)
_LIVE: Final = (
    _NOW
    + """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
if #ids == 0 then return {} end
return redis.call('HMGET', KEYS[2], unpack(ids))
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
return redis.call('SMEMBERS', KEYS[4])
"""
)


class RedisLeases:
    """Leases of the nodes that share a Redis. Satisfies `Leases`."""

    def __init__(self, redis: "Redis", prefix: str = "hubbub", lease: float = LEASE) -> None:
        """`redis` is open while this is in use. `lease` is in seconds."""
        self._redis = redis
        # All on one slot, so that a script sees all.
        names = ("leases", "facts", "dead", "unsettled")
        self._keys = tuple(f"{prefix}:{{nodes}}:{name}".encode() for name in names)
        self._slot = redis.slot(self._keys[0])
        self._lease = round(lease * 1000)
        self._remembered = round(max(_REMEMBERED, 10 * lease) * 1000)

    def __repr__(self) -> str:
        return f"RedisLeases({self._redis!r})"

    async def renew(self, facts: NodeFacts) -> bool:
        """Begin or renew a node's lease; false where it has been declared dead."""
        text = msgspec.json.encode(facts)
        return bool(await self._run(_RENEW, facts.id, self._lease, text))

    async def end(self, node_id: str) -> None:
        """Give up a lease."""
        await self._run(_END, node_id, self._remembered)

    async def live(self) -> list[NodeFacts]:
        """The nodes whose leases have not run out."""
        texts = await self._run(_LIVE)
        return [msgspec.json.decode(text, type=NodeFacts) for text in texts if text is not None]

    async def dead(self) -> list[str]:
        """The dead nodes that nobody has settled."""
        return sorted(each.decode() for each in await self._run(_DEAD, self._remembered))

    async def settle(self, node_id: str) -> None:
        """Nothing is left to do for a dead node."""
        await self._redis.call(self._slot, b"SREM", self._keys[3], node_id)

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._redis.call(self._slot, b"EVAL", script, 4, *self._keys, *arguments)


class Renewing:
    """Renews one node's lease until it is closed, and finds out who has died."""

    def __init__(
        self,
        leases: Leases,
        facts: Callable[[], NodeFacts],
        *,
        lost: Callable[[], None],
        died: Callable[[list[str]], None],
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
