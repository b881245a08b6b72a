"""`hubbub nodes` and `hubbub drain`: looking at and after the nodes of one service."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import click
import msgspec

from hubbub.errors import ConfigError
from hubbub.service.backplane.engine import Engine, redis_engine
from hubbub.service.backplane.sharedsettings import SharedKeys, new_key
from hubbub.service.cluster.channel import EVERY_NODE, node_channel
from hubbub.service.cluster.parcel import Drain, encode_parcel
from hubbub.service.leases import NodeFacts

__all__ = ["drain", "nodes", "shared_key"]

_T = TypeVar("_T")
_HEADERS: Final = ("NODE", "STATE", "CONNECTIONS", "RUNNING", "RELEASE", "AS OF")
_backplane = click.option(
    "--backplane",
    envvar="HUBBUB_BACKPLANE",
    required=True,
    help="What joins the nodes, as redis://HOST:PORT.",
)


@click.command()
@_backplane
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def nodes(backplane: str, as_json: bool) -> None:
    """List the nodes of a service: what each was doing when it last said so, seconds ago.

    \b
      hubbub nodes --backplane redis://localhost:6379
    """
    found = sorted(_with(backplane, lambda engine: engine.leases.live()), key=lambda each: each.id)
    if as_json:
        click.echo(json.dumps({"nodes": msgspec.to_builtins(found)}))
        return
    if not found:
        click.echo("No node is running.")
    for line in _table(found, time.time()):
        click.echo(line)


@click.command()
@_backplane
@click.argument("node", required=False)
@click.option("--all", "is_for_all", is_flag=True, help="Drain every node: the service ends.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def drain(backplane: str, node: str | None, is_for_all: bool, as_json: bool) -> None:
    """Have the clients of NODE, or of all nodes, connect elsewhere, a few at a time.

    A node that is drained says so to those who ask for its health (503), so that a balancer leaves
    it out. It goes on until it is stopped.

    \b
      hubbub drain 1f0c9a3e5b7d2468 --backplane redis://localhost:6379
    """
    if (node is None) is not is_for_all:
        raise ConfigError(
            "Name one node; `hubbub nodes` lists them. Or pass --all: then no node takes clients "
            "any more until it is started again."
        )
    channel = EVERY_NODE if node is None else node_channel(node)

    async def publish(engine: Engine) -> int:
        return await engine.backplane.publish(channel, encode_parcel(Drain()))

    count = _with(backplane, publish)
    if not count:
        raise ConfigError(
            "No node is running."
            if node is None
            else f"There is no node {node}. `hubbub nodes` lists those that there are."
        )
    click.echo(json.dumps({"drained": count}) if as_json else f"{count} told.")


def shared_key(backplane: str, key: str) -> str:
    """The primary access key of the service there; `key` where it has none yet."""
    keys = SharedKeys(key, new_key())
    return _with(backplane, lambda engine: engine.settings.begin(keys)).primary


def _with(backplane: str, work: Callable[[Engine], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with _opened(backplane) as engine:
            return await work(engine)

    return asyncio.run(run())


@asynccontextmanager
async def _opened(backplane: str) -> AsyncIterator[Engine]:
    engine = redis_engine(backplane)
    await engine.backplane.open(lambda channel, data: None, lambda is_connected: None)
    try:
        yield engine
    finally:
        await engine.backplane.close()


def _table(found: Sequence[NodeFacts], now: float) -> list[str]:
    """A line for each node below the names of the columns; none where there is no node."""
    rows = [_HEADERS, *(_row(facts, now) for facts in found)] if found else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(facts: NodeFacts, now: float) -> tuple[str, ...]:
    return (
        facts.id,
        "draining" if facts.is_draining else "serving",
        str(facts.connections),
        f"{max(now - facts.started, 0) / 60:.0f} min",
        facts.version,
        f"{facts.age:.0f} s ago",
    )
