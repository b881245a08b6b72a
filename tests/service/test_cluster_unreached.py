"""What the log says while others cannot be reached: two lines for each thing that follows."""

import pytest
from tests.service.clusters import backplane_of, cluster_of, until_whole
from tests.service.conftest import StartCluster

from hubbub.service.cluster.unreached import Unreached, What

CALL = b'{"target": "t", "arguments": []}'


async def test_an_outage_is_one_line_when_it_begins_however_many_calls_are_refused(
    cluster: StartCluster, caplog: pytest.LogCaptureFixture
) -> None:
    node, _other = await cluster(2)
    backplane_of(node).disconnect()
    caplog.clear()
    for path in ("/:send", "/groups/g/:send", "/users/u/:send", "/:send"):
        answer = await node.rest("POST", f"/api/hubs/chat{path}", CALL)
        assert answer.status == 503
    (line,) = (each.getMessage() for each in caplog.records if "POST" in each.getMessage())
    assert line.startswith("POST /api/hubs/chat/:send: ")
    assert repr(cluster_of(node)._unreached) == "Unreached({'REFUSED': 4})"
    for _ in range(3):
        await node.connect_negotiated()
    said = [each.getMessage() for each in caplog.records]
    assert len([each for each in said if "is let in though" in each]) == 1

    backplane_of(node).reconnect()
    await until_whole(node)
    cluster_of(node)._unreached._last -= 10.0
    cluster_of(node).sweep()
    assert "calls that were refused: 4" in caplog.text
    assert "clients that were let in though they may have been elsewhere: 3" in caplog.text


def test_it_is_over_when_all_are_there_and_nothing_has_happened_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unreached = Unreached()
    unreached.note(What.REFUSED, "POST /x: away.", now=100.0)
    unreached.note(What.REFUSED, "POST /y: away.", now=101.0)
    unreached.note(What.GROUPS, "no groups: away.", now=101.0)
    unreached.sweep(130.0, is_whole=False)
    unreached.sweep(105.0, is_whole=True)
    assert [each.getMessage() for each in caplog.records] == [
        "POST /x: away. What is like it from now on is only counted.",
        "no groups: away. What is like it from now on is only counted.",
    ]
    caplog.clear()
    unreached.sweep(106.0, is_whole=True)
    unreached.sweep(200.0, is_whole=True)
    assert [each.getMessage() for each in caplog.records] == [
        "others could not be reached for a while; calls that were refused: 2",
        "others could not be reached for a while; times that a user's groups could not be read: 1",
    ]
    caplog.clear()
    unreached.note(What.REFUSED, "POST /z: away.", now=200.0)
    assert "POST /z" in caplog.text
