"""The same over Redis Cluster, while shards and nodes fail in an order that a seed chooses.

HUBBUB_CHAOS_SEEDS has the seeds, as for one Redis. Without it there is one short run, of shards.
"""

import asyncio
import os
from pathlib import Path
from random import Random

import pytest
from tests.e2e.cluster.checker import demanded
from tests.e2e.cluster.run import running
from tests.e2e.cluster.shards import SHARD_FAULTS, ShardFault, ShardWorld, shard_world
from tests.e2e.cluster.world import LEASE

CLIENTS = 24
PUBLISHERS = 4
ENOUGH = 500  # deliveries without which a run proves little
FAULTS: tuple[ShardFault, ...] = (
    *SHARD_FAULTS,
    ShardWorld.kill,
    ShardWorld.stop_for_long,
    ShardWorld.drain,
)
SHORT = (ShardWorld.replace_primary,)
RUNS = [(int(seed), FAULTS) for seed in os.environ.get("HUBBUB_CHAOS_SEEDS", "").split(",") if seed]


@pytest.mark.parametrize(("seed", "faults"), RUNS or [(1, SHORT)])
async def test_whatever_shards_do_what_was_accepted_arrives_once_and_in_order(
    seed: int, faults: tuple[ShardFault, ...], tmp_path: Path
) -> None:
    random = Random(seed)
    async with running(seed, tmp_path, shard_world) as run:
        await run.prepare(CLIENTS)
        run.publish(PUBLISHERS, run.world.all)
        for fault in random.sample(faults, len(faults)):
            await asyncio.sleep(random.uniform(0.2, 0.8))
            await fault(run.world, random.randrange(len(run.world.nodes)))
        await asyncio.sleep(LEASE / 2 if faults is FAULTS else LEASE / 4)
        await run.calm()

        assert await run.findings() == []
        assert demanded(run.history) > ENOUGH
        assert {202, 503} <= {send.status for send in run.history.sends}
