"""`hubbub keys rotate` against a real Redis: what it prints, and what the nodes see."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.calling import invoke
from tests.conformance.redisserver import RedisServer, redis_server

from hubbub.errors import ConfigError
from hubbub.service.backplane.engine import redis_engine
from hubbub.service.backplane.sharedsettings import KEYS_CHANGED, SharedKeys


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


def test_one_key_is_replaced_and_the_nodes_are_told(redis: RedisServer) -> None:
    async def node() -> tuple[SharedKeys | None, list[tuple[str, bytes]], str]:
        engine = redis_engine(redis.url)
        told: list[tuple[str, bytes]] = []
        news = asyncio.Event()

        def receive(channel: str, data: bytes) -> None:
            told.append((channel, data))
            news.set()

        await engine.backplane.open(receive, lambda _: None)
        await engine.backplane.listen("all")
        await engine.settings.begin(SharedKeys("p" * 32, "s" * 32))
        result = await asyncio.to_thread(
            invoke, "keys", "rotate", "primary", "--backplane", redis.url
        )
        await asyncio.wait_for(news.wait(), 20)
        kept = await engine.settings.load()
        await engine.backplane.close()
        return kept, told, result.stdout

    kept, told, output = asyncio.run(node())

    assert kept is not None
    assert kept.access_keys == (output.strip(), "s" * 32)
    assert told == [("all", KEYS_CHANGED)]
    facts = json.loads(
        invoke("keys", "rotate", "secondary", "--backplane", redis.url, "--json").stdout
    )
    assert facts["which"] == "secondary"
    assert facts["version"] == 3
    assert facts["accessKey"] not in {"s" * 32, output.strip()}


def test_without_a_service_there_is_nothing_to_replace(redis: RedisServer) -> None:
    result = invoke("keys", "rotate", "primary", "--backplane", redis.url)

    assert isinstance(result.exception, ConfigError)
    assert "No node has used this backplane yet" in str(result.exception)
    assert redis.ask("KEYS", "*") == []
