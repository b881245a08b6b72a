"""What `hubbub nodes` shows of nodes: columns with names, and how old it is."""

from hubbub.cli.cluster import _table
from hubbub.service.leases import NodeFacts


def test_nodes_are_lines_below_the_names_of_the_columns_with_the_age_of_what_they_say() -> None:
    now = 10_000.0
    nodes = [
        NodeFacts("1f0c9a3e5b7d2468", now - 600, "0.1", 12345, age=2.4),
        NodeFacts("2", now - 20, "0.1.dev1", 3, is_draining=True, age=0.1),
        NodeFacts("3", now + 5),  # whose clock is ahead
    ]
    assert _table(nodes, now) == [
        "NODE              STATE     CONNECTIONS  RUNNING  RELEASE   AS OF",
        "1f0c9a3e5b7d2468  serving   12345        10 min   0.1       2 s ago",
        "2                 draining  3            0 min    0.1.dev1  0 s ago",
        "3                 serving   0            0 min              0 s ago",
    ]


def test_without_a_node_there_is_no_table() -> None:
    assert _table([], 0.0) == []
