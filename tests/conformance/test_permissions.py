"""The rule for Redis in the documentation lets the service do all it does, and little else."""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.conformance.redisserver import RedisCluster, RedisServer

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.backplane.engine import Engine, redis_engine
from hubbub.service.backplane.sharedsettings import SharedKeys
from hubbub.service.leases import NodeFacts

DOCUMENT = Path(__file__).parents[2] / "docs" / "redis.md"


def rule() -> list[str]:
    found = re.search(r"^ACL SETUSER .*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[0].split()


async def use_everything(engine: Engine) -> None:
    """Do once whatever the service does with Redis."""
    await engine.backplane.listen("x")
    assert await engine.backplane.publish("x", b"") == 1
    assert await engine.backplane.listeners(["x"]) == [1]
    engine.backplane.call_itself("a")
    await engine.backplane.expel("b")
    engine.backplane.ignore("x")
    await engine.store.add("chat", "ada", "red", 100)
    await engine.store.add("chat", "ada", "blue", None)
    await engine.store.remove("chat", "ada", "red")
    assert list(await engine.store.groups_of("chat", "ada")) == ["blue"]
    await engine.store.remove_all("chat", "ada")
    await engine.leases.renew(NodeFacts("a"))
    assert len(await engine.leases.live()) == 1
    await engine.leases.end("a")
    assert [each.id for each in await engine.leases.dead()] == ["a"]
    await engine.leases.settle("a")
    await engine.wills.write("a", "c", b"will")
    assert await engine.wills.claim("a", "b") == {"c": b"will"}
    assert await engine.wills.of("b") == {"c": b"will"}
    await engine.wills.erase("b", "c")
    await engine.settings.begin(SharedKeys("p", "s"))
    assert await engine.settings.rotate("primary") is not None


async def test_the_documented_user_can_do_what_the_service_does(
    own_redis: RedisServer, nodes: AsyncExitStack
) -> None:
    own_redis.ask(*rule())
    engine = redis_engine(f"redis://hubbub:PASSWORD@127.0.0.1:{own_redis.port}")
    await engine.backplane.open(lambda *_: None, lambda _: None)
    nodes.push_async_callback(engine.backplane.close)

    await use_everything(engine)

    with pytest.raises(BackplaneError, match="NOPERM"):
        await engine.backplane._redis.call(0, b"FLUSHALL")  # type: ignore[attr-defined]
    with pytest.raises(BackplaneError, match="NOPERM"):
        await engine.backplane._redis.call(0, b"GET", b"other")  # type: ignore[attr-defined]


async def test_it_can_in_a_cluster_too(shared_cluster: RedisCluster, nodes: AsyncExitStack) -> None:
    for server in shared_cluster.servers:
        server.ask(*rule())
    engine = redis_engine(shared_cluster.url.replace("//", "//hubbub:PASSWORD@"))
    await engine.backplane.open(lambda *_: None, lambda _: None)
    nodes.push_async_callback(engine.backplane.close)

    await asyncio.wait_for(use_everything(engine), 20)
