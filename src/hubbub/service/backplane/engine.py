"""All that nodes share, from one URL or in one process, ready to be given to a node."""

from typing import NamedTuple

from hubbub.service.backplane.backplane import Backplane
from hubbub.service.backplane.memory import MemoryBus
from hubbub.service.backplane.sharedsettings import (
    MemorySharedSettings,
    RedisSharedSettings,
    SharedSettings,
)
from hubbub.service.leases import LEASE, Leases, MemoryLeases, RedisLeases
from hubbub.service.store import MemoryStore, Store
from hubbub.service.wills import MemoryWills, RedisWills, Wills

__all__ = ["Engine", "MemoryEngines", "redis_engine"]


class Engine(NamedTuple):
    """What joins one node with the others.

    The backplane is opened first and closed last: the rest goes by its connections.
    """

    backplane: Backplane
    store: Store
    leases: Leases
    wills: Wills
    settings: SharedSettings


def redis_engine(url: str, *, prefix: str = "hubbub", lease: float = LEASE) -> Engine:
    """What joins nodes over the Redis at `url`. Raises `ConfigError` where it is no such URL."""
    # Only here, since what they need comes with the extra `redis`.
    from hubbub.service.backplane.redis import RedisBackplane
    from hubbub.service.redis.address import parse_address
    from hubbub.service.redis.cluster import ClusterRedis
    from hubbub.service.redis.redis import Redis
    from hubbub.service.redis.single import SingleRedis
    from hubbub.service.redisstore import RedisStore

    address = parse_address(url)
    redis: Redis = ClusterRedis(address) if address.kind == "cluster" else SingleRedis(address)
    return Engine(
        RedisBackplane(redis, prefix),
        RedisStore(redis, prefix),
        RedisLeases(redis, prefix, lease),
        RedisWills(redis, prefix),
        RedisSharedSettings(redis, prefix),
    )


class MemoryEngines:
    """What joins the nodes of one process."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self._store = MemoryStore()
        self._leases = MemoryLeases()
        self._wills = MemoryWills()
        self._settings = MemorySharedSettings()

    def __repr__(self) -> str:
        return f"MemoryEngines({self.bus!r})"

    def engine(self) -> Engine:
        """What joins one more node."""
        backplane = self.bus.backplane()
        return Engine(backplane, self._store, self._leases, self._wills, self._settings)
