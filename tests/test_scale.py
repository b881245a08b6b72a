"""The simulation of large services: its page says what it says, and it agrees with arithmetic."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from benchmarks.scale import (
    COSTS,
    CROWDS,
    LIMITS,
    Workload,
    filled,
    nodes_met,
    plan,
)

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


def test_the_page_has_the_tables_as_they_are_made() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled(page), "to write it: python -m benchmarks.scale --write"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(SystemExit, match="no place for costs"):
        filled("# A page\n")


def test_every_size_is_within_the_limits_and_one_node_less_is_not() -> None:
    for crowd in CROWDS:
        need = plan(Workload(crowd))
        assert need.node_use <= LIMITS.node
        assert need.shard_use <= LIMITS.shard
        work = need.node_use * need.nodes
        assert need.nodes == 1 or work / (need.nodes - 1) > LIMITS.node * 0.9


@pytest.mark.parametrize(("members", "nodes"), [(2, 3), (10, 28), (500, 28)])
def test_a_group_meets_as_many_nodes_as_chance_says(members: int, nodes: int) -> None:
    random = Random(3)
    met = [len(set(random.choices(range(nodes), k=members))) for _ in range(2000)]
    assert sum(met) / len(met) == pytest.approx(nodes_met(members, nodes), rel=0.03)


def test_what_the_page_says_of_a_busy_node_is_what_is_reckoned_with() -> None:
    page = PAGE.read_text(encoding="utf-8")
    formula = (
        f"`deliveries * {COSTS.delivery:g} + sends * ({COSTS.send:g} + {COSTS.publish:g}) + "
        f"sends of others that concern it * {COSTS.apply:g} + connections * {COSTS.keep:g}`"
    )
    assert formula in page
    assert f"`sends * ({COSTS.redis_publish:g} + {COSTS.redis_listener:g} * nodes" in page


def test_a_dearer_delivery_needs_more_nodes_and_a_dearer_redis_more_shards() -> None:
    crowd = Workload(1_000_000)
    need = plan(crowd)
    assert plan(crowd, replace(COSTS, delivery=26.0)).nodes > need.nodes
    assert plan(crowd, replace(COSTS, redis_listener=65.0)).shards > need.shards


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(Workload(100_000)) == plan(Workload(100_000))
