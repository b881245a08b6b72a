"""Three nodes under load while one thing after another goes wrong, in an order that a seed chooses.

HUBBUB_CHAOS_SEEDS has the seeds, as in `HUBBUB_CHAOS_SEEDS=$(seq -s, 1 10)`. A history that is not
as it should be is kept in the test's folder.
"""

import asyncio
import os
from pathlib import Path
from random import Random

import pytest
from tests.e2e.cluster.checker import check, demanded
from tests.e2e.cluster.run import running
from tests.e2e.cluster.world import FAULTS, LEASE, world

SEEDS = [int(seed) for seed in os.environ.get("HUBBUB_CHAOS_SEEDS", "1").split(",")]
CLIENTS = 24
PUBLISHERS = 4
ENOUGH = 3000  # deliveries without which a run proves little


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_goes_wrong_what_was_accepted_arrives_once_and_in_order(
    seed: int, tmp_path: Path
) -> None:
    random = Random(seed)
    async with running(seed, tmp_path, world) as run:
        await run.prepare(CLIENTS)
        run.publish(PUBLISHERS, run.world.all)
        for fault in random.sample(FAULTS, len(FAULTS)):
            await asyncio.sleep(random.uniform(0.2, 0.8))
            await fault(run.world, random.randrange(len(run.world.nodes)))
        await asyncio.sleep(LEASE / 2)
        await run.calm()

        assert await run.findings() == []
        assert demanded(run.history) > ENOUGH
        assert {send.status for send in run.history.sends} == {0, 202, 503}

        # This very history, with one delivery taken out and one put in twice, is found wrong.
        stay = max(run.history.stays, key=lambda stay: len(stay.received))
        stay.received.append(stay.received[0])
        assert [finding.kind for finding in check(run.history)] == ["repetition"]
