"""What every backplane does while the others cannot be reached, and after that."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.conformance.backplanes import TIMEOUT, Inbox, new_prefix, redis_backplane
from tests.conformance.conftest import Connect, opened
from tests.conformance.proxy import Proxy
from tests.conformance.redisserver import RedisServer, redis_server, wait_until

from hubbub.errors import ConfigError
from hubbub.service.backplane.backplane import Backplane, BackplaneError
from hubbub.service.backplane.memory import MemoryBus
from hubbub.service.redis.link import Limits


class Outage(Protocol):
    """A way to lose the others, for the node that `join` makes first."""

    async def join(self) -> Backplane: ...

    async def begin(self) -> None: ...

    async def end(self) -> None: ...


class Memory:
    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.made: Any = []

    async def join(self) -> Backplane:
        self.made.append(self.bus.backplane())
        return self.made[-1]  # type: ignore[no-any-return]

    async def begin(self) -> None:
        self.made[0].disconnect()

    async def end(self) -> None:
        self.made[0].reconnect()


class Server:
    """All nodes lose Redis itself."""

    def __init__(self, server: RedisServer, begin: Callable[[], None], end: Callable[[], None]):
        self.server, self._begin, self._end = server, begin, end
        self.prefix = new_prefix()

    async def join(self) -> Backplane:
        return redis_backplane(self.server.url, self.prefix)

    async def begin(self) -> None:
        self._begin()

    async def end(self) -> None:
        self._end()


class Network:
    """The first node loses its way to Redis."""

    def __init__(self, server: RedisServer, *, is_told: bool) -> None:
        self.server = server
        self.is_told = is_told
        self.proxy = Proxy(server.port)
        self.prefix = new_prefix()

    async def join(self) -> Backplane:
        if self.proxy.port:
            return redis_backplane(self.server.url, self.prefix)
        await self.proxy.open()
        return redis_backplane(f"redis://127.0.0.1:{self.proxy.port}", self.prefix)

    async def begin(self) -> None:
        if self.is_told:
            await self.proxy.cut()
        else:
            self.proxy.hang()

    async def end(self) -> None:
        if self.is_told:
            await self.proxy.open()
        else:
            self.proxy.resume()


@pytest.fixture(params=["memory", "killed", "stopped", "cut off", "half open"])
async def outage(request: pytest.FixtureRequest) -> AsyncIterator[Outage]:
    if request.param == "memory":
        yield Memory()
    elif request.param in {"killed", "stopped"}:
        server: RedisServer = request.getfixturevalue("own_redis")
        if request.param == "killed":
            yield Server(server, server.kill, server.start)
        else:
            yield Server(server, server.pause, server.resume)
    else:
        network = Network(
            request.getfixturevalue("shared_redis"), is_told=request.param == "cut off"
        )
        yield network
        await network.proxy.close()


@pytest.fixture
async def node(outage: Outage, nodes: AsyncExitStack) -> Inbox:
    """The node that loses the others."""
    return await opened(await outage.join(), nodes)


async def refused(plane: Backplane) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT):
            await plane.publish("x", b"")
    except BackplaneError:
        return True
    return False


async def test_the_loss_of_the_others_is_told_and_then_calls_fail(
    outage: Outage, node: Inbox
) -> None:
    assert node.states == []
    await outage.begin()

    await node.until(lambda: node.states == [False])

    assert not node.backplane.is_connected
    for _ in range(2):
        async with asyncio.timeout(TIMEOUT):
            for call in (
                node.backplane.publish("x", b""),
                node.backplane.listen("x"),
                node.backplane.listeners(["x"]),
            ):
                with pytest.raises(BackplaneError):
                    await call
    await outage.end()
    await node.until(lambda: node.states == [False, True])
    assert node.backplane.is_connected


async def test_what_is_under_way_fails(outage: Outage, node: Inbox) -> None:
    await outage.begin()
    calls: list[asyncio.Future[Any]] = [
        node.backplane.publish("x", b""),
        node.backplane.listen("y"),
        asyncio.ensure_future(node.backplane.listeners(["x"])),
    ]

    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), TIMEOUT)

    assert [type(result) for result in results] == [BackplaneError] * 3
    await outage.end()


async def test_everything_is_listened_to_again(
    outage: Outage, node: Inbox, nodes: AsyncExitStack
) -> None:
    other = await opened(await outage.join(), nodes)
    channels = [f"c:{number}" for number in range(2500)]
    await asyncio.gather(*(node.backplane.listen(each) for each in channels))
    await outage.begin()
    await node.until(lambda: node.states == [False])
    node.backplane.listen("meanwhile")
    node.backplane.ignore("c:7")

    await outage.end()
    await node.until(lambda: node.states == [False, True])
    await other.until(lambda: other.backplane.is_connected)

    # From the moment that it says that it is connected, nothing is lost to it.
    assert await other.backplane.publish("c:6", b"6") == 1
    assert await other.backplane.publish("c:2499", b"2499") == 1
    assert await other.backplane.publish("c:7", b"7") == 0
    assert await other.backplane.publish("meanwhile", b"!") == 1
    await node.has(("c:6", b"6"), ("c:2499", b"2499"), ("meanwhile", b"!"))


async def test_it_can_end_while_the_others_cannot_be_reached(outage: Outage, node: Inbox) -> None:
    await outage.begin()
    node.backplane.publish("x", b"")

    await asyncio.wait_for(node.backplane.close(), TIMEOUT)

    assert await refused(node.backplane)
    await outage.end()


async def test_a_failure_that_nobody_looks_at_is_not_reported(
    outage: Outage, node: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    await outage.begin()

    node.backplane.publish("x", b"")
    node.backplane.listen("x")
    await node.until(lambda: node.states == [False])
    node.backplane.publish("x", b"")
    node.backplane.listen("y")

    assert await refused(node.backplane)
    assert reported == []
    assert "never retrieved" not in caplog.text
    await outage.end()


async def test_a_slow_network_changes_nothing_but_time(
    shared_redis: RedisServer, nodes: AsyncExitStack
) -> None:
    proxy = Proxy(shared_redis.port)
    await proxy.open()
    nodes.push_async_callback(proxy.close)
    prefix = new_prefix()
    slow = await opened(redis_backplane(f"redis://127.0.0.1:{proxy.port}", prefix), nodes)
    fast = await opened(redis_backplane(shared_redis.url, prefix), nodes)
    proxy.delay = 0.05

    await asyncio.gather(slow.backplane.listen("x"), fast.backplane.listen("x"))
    results = [slow.backplane.publish("x", b"%d" % number) for number in range(500)]

    assert await asyncio.gather(*results) == [2] * 500
    await slow.has(*(("x", b"%d" % number) for number in range(500)))
    await fast.has(*(("x", b"%d" % number) for number in range(500)))
    assert slow.states == []


async def test_an_answer_behind_much_else_is_late_and_the_connection_stays(
    shared_redis: RedisServer, nodes: AsyncExitStack
) -> None:
    proxy = Proxy(shared_redis.port)
    await proxy.open()
    nodes.push_async_callback(proxy.close)
    prefix = new_prefix()
    slow = await opened(redis_backplane(f"redis://127.0.0.1:{proxy.port}", prefix), nodes)
    fast = await opened(redis_backplane(shared_redis.url, prefix), nodes)
    await slow.backplane.listen("x")
    proxy.delay = 0.03  # for each 64 KB

    await asyncio.gather(*(fast.backplane.publish("x", bytes(100_000)) for _ in range(20)))

    with pytest.raises(BackplaneError, match="did not answer in time"):
        await slow.backplane.publish("y", b"")
    assert len(slow.received) < 20
    await slow.until(lambda: len(slow.received) == 20)
    assert await slow.backplane.publish("y", b"") == 0
    assert slow.states == []


async def test_an_idle_connection_stays(shared_redis: RedisServer, nodes: AsyncExitStack) -> None:
    limits = Limits(answer_timeout=0.1)
    node = await opened(redis_backplane(shared_redis.url, new_prefix(), limits), nodes)

    def pings() -> int:
        found: bytes = shared_redis.ask("INFO", "commandstats")
        text = found.decode().partition("cmdstat_ping:calls=")[2]
        return int(text.partition(",")[0] or 0)

    before = pings()
    await asyncio.to_thread(wait_until, lambda: pings() >= before + 20)

    assert node.states == []


async def test_more_than_may_wait_is_refused_at_once(
    own_redis: RedisServer, nodes: AsyncExitStack
) -> None:
    limits = Limits(answer_timeout=TIMEOUT, max_unanswered=1000)
    plane = redis_backplane(own_redis.url, new_prefix(), limits)
    await opened(plane, nodes)
    own_redis.pause()

    results = [plane.publish("x", b"") for _ in range(1001)]

    with pytest.raises(BackplaneError, match="More waits for Redis than it takes"):
        await results[-1]
    assert not any(result.done() for result in results[:-1])
    own_redis.resume()
    assert await asyncio.gather(*results[:-1]) == [0] * 1000
    assert await plane.publish("x", b"") == 0


async def test_more_bytes_than_may_wait_are_refused_at_once(
    own_redis: RedisServer, nodes: AsyncExitStack
) -> None:
    limits = Limits(answer_timeout=TIMEOUT, max_unsent_bytes=100_000)
    plane = redis_backplane(own_redis.url, new_prefix(), limits)
    await opened(plane, nodes)
    own_redis.pause()
    results: list[asyncio.Future[int]] = []

    # Until the kernel takes no more, and then as much again as may wait.
    while not results or not results[-1].done():
        results.append(plane.publish("x", b"x" * 10_000))
        await asyncio.sleep(0)
        assert len(results) < 10_000

    with pytest.raises(BackplaneError, match="More waits for Redis than it takes"):
        await results[-1]
    own_redis.resume()
    assert await asyncio.gather(*results[:-1]) == [0] * (len(results) - 1)


async def test_a_channel_that_redis_refuses_fails_and_the_others_work(
    own_redis: RedisServer, nodes: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.ask("ACL", "SETUSER", "node", "on", ">pass/word", "+@all", "~*", "&test:open*")
    url = f"redis://node:pass%2Fword@127.0.0.1:{own_redis.port}"
    node = await opened(redis_backplane(url, "test"), nodes)

    opens = node.backplane.listen("open")
    closed = node.backplane.listen("closed")

    with pytest.raises(BackplaneError, match="NOPERM"):
        await closed
    with pytest.raises(BackplaneError, match="NOPERM"):
        await node.backplane.publish("closed", b"")
    # Redis refuses a command as a whole, so what came with it is asked for again.
    with pytest.raises(BackplaneError, match="NOPERM"):
        await opens
    node.backplane.ignore("closed")
    await node.until(lambda: node.states[-1:] == [True])
    await node.backplane.publish("open", b"hello")
    await node.has(("open", b"hello"))
    assert "pass" not in caplog.text


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://user:s3cret@127.0.0.1:{port}", "WRONGPASS"),
        ("redis://:s3cret@127.0.0.1:1", "refused"),
        ("redis://:s3cret@127.0.0.1:{port}/99", "WRONGPASS|out of range"),
        ("unix:///nowhere/redis.sock", "No such file"),
        ("rediss://:s3cret@127.0.0.1:{port}", "SSL|cannot be reached|did not answer"),
        ("redis+cluster://127.0.0.1:{port}", "cluster support disabled"),
        ("redis+sentinel://:s3cret@127.0.0.1:1/primary", "refused"),
    ],
)
async def test_a_redis_that_cannot_be_used_is_the_operators_to_change(
    shared_redis: RedisServer, url: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    plane = redis_backplane(url.format(port=shared_redis.port), "test")

    with pytest.raises(ConfigError, match=reason) as raised:
        await plane.open(lambda *_: None, lambda _: None)

    assert "s3cret" not in str(raised.value) + caplog.text + repr(plane)
    await plane.close()


async def test_a_password_a_database_and_a_socket_in_the_file_system(
    tmp_path: Path, connect: Connect
) -> None:
    path = tmp_path / "redis.sock"
    options = ("--requirepass", "s3cret", "--unixsocket", str(path))
    with redis_server(tmp_path, *options) as server:
        for url in (
            f"redis://:s3cret@127.0.0.1:{server.port}/3",
            f"unix://:s3cret@{path}?db=3",
            f"redis://default:s3cret@localhost:{server.port}?db=3",
        ):
            redis = await connect(url)
            await redis.call(0, b"SET", b"key", url)
            assert await redis.call(0, b"GET", b"key") == url.encode()
            assert b"db3" in await redis.call(0, b"INFO", b"keyspace")
            assert "s3cret" not in repr(redis)
