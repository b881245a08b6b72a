"""What the log says of calls that are refused while others cannot be reached: two lines in all."""

import pytest
from tests.service.clusters import backplane_of, cluster_of, until_whole
from tests.service.conftest import StartCluster

from hubbub.service.cluster.unreached import Unreached

CALL = b'{"target": "t", "arguments": []}'
REFUSED = "Redis cannot be reached."


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
    assert repr(cluster_of(node)._unreached) == "Unreached(4)"
    backplane_of(node).reconnect()
    await until_whole(node)
    cluster_of(node)._unreached._last -= 10.0
    cluster_of(node).sweep()
    assert "4 calls were refused" in caplog.text


def test_it_is_over_when_all_are_there_and_no_call_has_been_refused_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unreached = Unreached()
    unreached.note("POST", "/x", ValueError(REFUSED), now=100.0)
    unreached.note("POST", "/x", ValueError(REFUSED), now=101.0)
    unreached.sweep(130.0, is_whole=False)
    unreached.sweep(105.0, is_whole=True)
    assert "refused because" not in caplog.text
    unreached.sweep(106.0, is_whole=True)
    assert "2 calls were refused because others could not be reached" in caplog.text

    caplog.clear()
    unreached.sweep(200.0, is_whole=True)
    assert caplog.records == []
    unreached.note("GET", "/y", ValueError(REFUSED), now=200.0)
    unreached.close()
    assert [each.getMessage() for each in caplog.records] == [
        "GET /y: Redis cannot be reached. Further calls that fail so are counted",
        "1 call was refused because others could not be reached",
    ]
