"""Carries what was measured on one machine to services of up to a million connections.

`python -m benchmarks.scale` prints the table of docs/scale.md, `--write` puts it there. Nothing is
measured here: `COSTS` are figures of other benchmarks, and the rest is arithmetic and a seed.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

__all__ = [
    "COSTS",
    "CROWDS",
    "Costs",
    "Need",
    "Workload",
    "cost_table",
    "nodes_met",
    "plan",
    "table",
]

_PAGE: Final = Path(__file__).parents[1] / "docs" / "scale.md"
_SEED: Final = 1
_SENDS: Final = 400  # to groups that are played through for one row
_SECOND: Final = 1_000_000  # µs
CROWDS: Final = (1_000, 10_000, 100_000, 1_000_000)  # connections


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU in µs and memory in bytes."""

    delivery: float = 8.2  # of a node, for one message to one client; 7.5 of it are the kernel's
    send: float = 54.0  # of the node that is called, for one REST call that sends
    publish: float = 12.0  # of that node, where there are others
    apply: float = 10.0  # of each other node that has somebody whom it concerns
    keep: float = 2.3  # of a node, for one connection a second: pings both ways
    connect: float = 260.0  # of a node, for negotiation, upgrade and handshake
    arrive: float = 260.0  # the same, where there are others: they are asked, channels listened to
    connection: float = 3_700.0  # of a node's process, for one connection; the kernel's not counted
    process: float = 51_000_000.0  # of a node without connections
    redis_publish: float = 2.7  # of Redis, for one message, however many hear it
    redis_listener: float = 1.3  # of Redis, for each node that hears it; with one, both are 4
    redis_arrive: float = 47.0  # of Redis, for one client that connects
    redis_channel: float = 235.0  # of Redis, for one channel that one node listens to


COSTS: Final = Costs()


@dataclass(frozen=True, slots=True)
class Workload:
    """What clients and apps do."""

    connections: int
    group_sends: float = 0.002  # a second, for each connection
    user_sends: float = 0.005
    broadcasts: float = 1 / 60  # a second, whatever the number of connections
    groups: int = 3  # that a connection is in
    smallest: int = 2  # members of a group; as many groups have 2 to 4 as have 512 to 1,024
    largest: int = 1_024
    stay: float = 1_800.0  # seconds that a client is connected


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a core may be in use, so that bursts and the loss of a node have room."""

    node: float = 0.5
    shard: float = 0.5


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Need:
    """What a workload needs, and how busy that is then."""

    workload: Workload
    nodes: int  # processes, each with a core
    node_use: float  # of the busiest node's core
    node_bytes: float
    sends: float  # REST calls a second
    deliveries: float  # a second
    met: float  # nodes that a message to a group concerns, on average
    shards: int
    shard_use: float  # of the busiest shard's core
    redis_bytes: float
    back: float  # seconds until the clients of a node that was killed are all back

    def __str__(self) -> str:
        """A row of the table."""
        cells = (
            f"{self.workload.connections:,}",
            f"{self.sends:,.0f}",
            f"{self.deliveries:,.0f}",
            f"{self.nodes}",
            f"{self.node_use:.0%}",
            f"{self.node_bytes / 1e6:,.0f} MB",
            f"{self.met:.1f}",
            f"{self.shards}",
            f"{self.shard_use:.0%}",
            f"{self.redis_bytes / 1e6:,.0f} MB",
            f"{self.back:.1f} s" if self.nodes > 1 else "-",
        )
        return "| " + " | ".join(cells) + " |"


@dataclass(frozen=True, slots=True)
class _Played:
    """What sends to groups came to."""

    members: float  # on average
    met: float  # nodes with a member
    busiest: float  # deliveries at the busiest node, over the average of all


def nodes_met(members: float, nodes: int) -> float:
    """How many of `nodes` have one of `members`, where a balancer deals them out by chance."""
    return nodes * (1 - math.pow(1 - 1 / nodes, members))


def plan(workload: Workload, costs: Costs = COSTS, seed: int = _SEED) -> Need:
    """The fewest nodes and shards of Redis that are enough."""
    nodes = 1
    while (need := _need(workload, nodes, costs, seed)).node_use > LIMITS.node:
        # Twice as many nodes are never more than twice as good, so nothing is jumped over.
        nodes = max(nodes + 1, math.floor(nodes * need.node_use / LIMITS.node * 0.95))
    return need


def _need(workload: Workload, nodes: int, costs: Costs, seed: int) -> Need:
    random = Random(f"{seed} {workload.connections} {nodes}")
    played = _play(workload, nodes, random)
    crowd = workload.connections
    groups, users = workload.group_sends * crowd, workload.user_sends * crowd
    sends = groups + users + workload.broadcasts
    deliveries = groups * played.members + users + workload.broadcasts * crowd
    others = groups * (played.met - played.met / nodes) + users * (1 - 1 / nodes)
    others += workload.broadcasts * (nodes - 1)
    is_alone = nodes == 1
    arrivals = crowd / workload.stay
    arrival = costs.connect + (0.0 if is_alone else costs.arrive)
    work = (
        deliveries * costs.delivery
        + sends * (costs.send + (0.0 if is_alone else costs.publish))
        + (0.0 if is_alone else others * costs.apply)
        + crowd * costs.keep
        + arrivals * arrival
    )
    node_use = work / nodes * played.busiest / _SECOND
    heard = groups * played.met + users + workload.broadcasts * nodes
    redis = sends * costs.redis_publish + heard * costs.redis_listener
    redis += arrivals * costs.redis_arrive
    shards, shard_use = (0, 0.0) if is_alone else _shards(redis / _SECOND, random)
    channels = 2 * crowd + nodes * _listened_groups(workload, nodes)
    return Need(
        workload,
        nodes,
        node_use,
        costs.process + costs.connection * crowd / nodes,
        sends,
        deliveries,
        played.met,
        shards,
        shard_use,
        0.0 if is_alone else channels * costs.redis_channel,
        0.0 if is_alone else _back(crowd / nodes, nodes, shards, node_use, shard_use, costs),
    )


def _back(
    clients: float, nodes: int, shards: int, node_use: float, shard_use: float, costs: Costs
) -> float:
    """Seconds in which the other nodes, or Redis, can let so many clients in beside their work."""
    by_nodes = clients * (costs.connect + costs.arrive) / (1 - node_use) / (nodes - 1)
    by_redis = clients * costs.redis_arrive / (1 - shard_use) / shards
    return max(by_nodes, by_redis) / _SECOND


def _play(workload: Workload, nodes: int, random: Random) -> _Played:
    """Send to groups whose members are where chance has put them."""
    members = met = 0
    at = [0] * nodes
    everyone = range(nodes)
    for _ in range(_SENDS):
        size = min(_size(workload, random), workload.connections)
        members += size
        places = random.choices(everyone, k=size)
        met += len(set(places))
        for place in places:
            at[place] += 1
    mean = members / nodes
    # Many sends even out what a few have not: what is left is that of the busiest in a second.
    a_second = max(workload.group_sends * workload.connections, 1.0)
    evened = math.sqrt(min(_SENDS / a_second, 1.0))
    return _Played(
        members / _SENDS, met / _SENDS, 1 + (max(at) / mean - 1) * evened if nodes > 1 else 1.0
    )


def _size(workload: Workload, random: Random) -> int:
    """Members of the group that is sent to; a large one has more who send to it."""
    low, high = math.log(workload.smallest), math.log(workload.largest)
    sizes = [round(math.exp(random.uniform(low, high))) for _ in range(2)]
    return random.choices(sizes, weights=sizes)[0]


def _listened_groups(workload: Workload, nodes: int) -> float:
    """Groups that a node has members of."""
    mean = (workload.largest - workload.smallest) / math.log(workload.largest / workload.smallest)
    groups = workload.connections * workload.groups / mean
    return groups * nodes_met(mean, nodes) / nodes


def _shards(use: float, random: Random) -> tuple[int, float]:
    """How many shards share so much work, where chance deals 16 slots' worth of channels each."""
    shards = 1
    while True:
        parts = [0] * shards
        for place in random.choices(range(shards), k=1_000):
            parts[place] += 1
        busiest = use * max(parts) / 1_000
        if busiest <= LIMITS.shard:
            return shards, busiest
        shards += 1


def table(crowds: Sequence[int] = CROWDS) -> str:
    """What services of these sizes need, as Markdown."""
    head = (
        "connections", "REST sends/s", "deliveries/s", "nodes", "busiest node", "memory of a node",
        "nodes a group meets", "Redis shards", "busiest shard", "memory of Redis",
        "back after a kill",
    )  # fmt: skip
    rows = ["| " + " | ".join(head) + " |", "|" + " ---: |" * len(head)]
    rows += [str(plan(Workload(crowd))) for crowd in crowds]
    return "\n".join(rows) + "\n"


def cost_table() -> str:
    """The figures that everything is made from, as Markdown."""
    rows = [
        ("one message to one client", COSTS.delivery, "node"),
        ("one REST call that sends", COSTS.send, "node that is called"),
        ("passing it on to Redis", COSTS.publish, "node that is called"),
        ("doing what another node was called for", COSTS.apply, "each other node concerned"),
        ("one connection for a second: pings both ways", COSTS.keep, "node"),
        ("one client that connects", COSTS.connect, "node"),
        ("the same, in addition, where there are other nodes", COSTS.arrive, "node"),
        ("one message through Redis", COSTS.redis_publish, "Redis"),
        ("the same, for each node that hears it", COSTS.redis_listener, "Redis"),
        ("one client that connects", COSTS.redis_arrive, "Redis"),
    ]
    lines = ["| what | CPU | of |", "| --- | ---: | --- |"]
    lines += [f"| {what} | {cost:g} µs | {whose} |" for what, cost, whose in rows]
    lines += ["", "| what | memory | of |", "| --- | ---: | --- |"]
    lines += [
        f"| one connection | {COSTS.connection / 1000:g} KB | node |",
        f"| a process without connections | {COSTS.process / 1e6:g} MB | node |",
        f"| one channel that one node listens to | {COSTS.redis_channel:g} B | Redis |",
    ]
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """The page with both tables as they are now, between their markers."""
    for name, text in (("costs", cost_table()), ("sizes", table())):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{_PAGE} has no place for {name}: {begin.strip()} … {end.strip()}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


def main() -> None:
    """Print both tables, or write them to the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="Put them into docs/scale.md.")
    if parser.parse_args().write:
        _PAGE.write_text(filled(_PAGE.read_text("utf-8")), "utf-8")
    else:
        print(cost_table())
        print(table())


if __name__ == "__main__":
    main()
