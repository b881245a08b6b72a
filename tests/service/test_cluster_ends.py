"""What becomes of a node that has ended or may only be stopped, as the others see it."""

import asyncio

import pytest
from tests.service.clusters import cluster_of
from tests.service.running import PATIENCE
from tests.service.test_cluster_life import Dyings
from tests.service.test_cluster_life import dying as dying


async def test_a_node_that_is_only_stopped_is_cut_off_when_it_is_dead(
    dying: Dyings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await dying(3)
    expelled: list[str] = []
    monkeypatch.setattr(started.nodes.bus, "expel", expelled.append)
    stopped = started.nodes[1].node.id
    started.stop(1)
    await started.pass_time()
    async with asyncio.timeout(PATIENCE):
        while not expelled:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await started.renewed()
    # Once by each of those who noticed; one may have done what there was before the other looked.
    assert expelled in ([stopped], [stopped] * 2)


async def test_a_node_that_ends_in_order_is_not_taken_for_one_that_died(
    dying: Dyings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    started = await dying(3)
    expelled: list[str] = []
    monkeypatch.setattr(started.nodes.bus, "expel", expelled.append)
    ended, killed = (started.nodes[at].node.id for at in (1, 2))
    await cluster_of(started.nodes[1]).life.close()
    await started.renewed()
    await started.renewed()
    life = cluster_of(started.nodes[0]).life
    assert life.lapsed() == 0
    started.kill(2)
    await started.pass_time()
    assert life.lapsed() == 1
    assert expelled == [killed]
    lines = [(each.levelname, each.getMessage()) for each in caplog.records]
    assert ("WARNING", f"node {killed} is dead") in lines
    assert ("INFO", f"node {ended} has ended") in lines
    assert f"{ended} is dead" not in caplog.text
