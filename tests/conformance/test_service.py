"""The service of several nodes over a real Redis and a Redis Cluster, by the tests of it in memory
that do not reach into the memory.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conformance.backplanes import new_prefix
from tests.conformance.conftest import _url
from tests.service.clusters import Nodes, Scene
from tests.service.conftest import StartCluster
from tests.service.running import Running
from tests.service.test_cluster_handover import (  # noqa: F401  they run here with what is below
    PATH,
    stateful,
    test_a_client_that_is_not_the_same_user_moves_nothing,
    test_a_node_that_is_drained_gives_its_connections_to_others,
    test_a_stream_ends_with_an_error_when_its_connection_moves,
    test_the_app_hears_nothing_of_a_move_and_goes_on_hearing_the_client,
    test_what_no_other_node_takes_ends_with_the_drain,
    test_what_nobody_comes_for_is_not_offered_for_ever,
)
from tests.service.test_cluster_legacy import (  # noqa: F401
    test_a_connection_that_nobody_took_is_told_to_the_app,
    test_the_will_of_a_connection_goes_with_it,
)
from tests.service.test_cluster_operations import (  # noqa: F401
    test_a_stream_whose_client_is_gone_or_has_ended_it_is_404_at_any_node,
    test_an_item_waits_for_a_slow_client_at_another_node,
    test_an_operation_does_the_same_at_a_node_that_has_nobody,
)
from tests.service.test_cluster_sends import (  # noqa: F401
    test_a_send_at_an_old_path_reaches_everyone_once_for_each_name,
)
from tests.service.test_cluster_transports import (  # noqa: F401
    test_a_connection_token_opens_one_websocket_on_one_node,
    test_a_poll_elsewhere_whose_client_goes_takes_nothing_with_it,
    test_a_poll_that_waits_elsewhere_is_answered_as_soon_as_there_is_something,
    test_an_event_stream_stays_and_its_posts_go_anywhere,
    test_long_polling_goes_on_wherever_polls_and_posts_land,
    test_other_ways_to_a_connection_that_is_elsewhere_are_refused,
    test_the_connection_of_another_user_is_403_on_every_node,
)

from hubbub.service.backplane.engine import redis_engine
from hubbub.service.backplane.memory import MemoryBus
from hubbub.service.settings import ServiceSettings


@pytest.fixture(params=["redis", "cluster"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[StartCluster]:
    """Start services that are one with `await cluster(count, setting=value, …)`."""
    url, prefix = _url(request), new_prefix()
    async with AsyncExitStack() as stack:

        async def start_cluster(count: int, **settings: Any) -> Nodes:
            running = [
                Running(ServiceSettings(**settings), redis_engine(url, prefix=prefix))
                for _ in range(count)
            ]
            return Nodes(MemoryBus(), [await stack.enter_async_context(each) for each in running])

        yield start_cluster


@pytest.fixture
async def scene(cluster: StartCluster) -> Scene:
    """Ann and Bob on a cluster of three."""
    nodes = await cluster(3)
    return Scene(nodes, await nodes[1].connect(user="ann"), await nodes[2].connect(user="bob"))


@pytest.fixture
async def nodes(cluster: StartCluster) -> Nodes:
    """A cluster of three."""
    return await cluster(3)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_client_that_moves_gets_each_message_once_whoever_sends_it(
    cluster: StartCluster, protocol: str
) -> None:
    nodes = await cluster(3)
    client = await stateful(nodes[0], protocol)
    await nodes[2].rest("PUT", f"{PATH}/users/ann/groups/g")
    await nodes[2].rest("PUT", f"{PATH}/groups/h/connections/{client.id}")
    to = ("", "/groups/g", "/groups/h", "/users/ann", f"/connections/{client.id}")
    # What is sent at one node may overtake what was sent at another, so order is not looked at.
    for number in range(15):
        await nodes[number % 3].send("t", number, to=to[number % 5])
    client.client.socket.transport.abort()
    for number in range(15, 30):
        await nodes[number % 3].send("t", number, to=to[number % 5])

    await client.come_back(nodes[1])
    for number in range(30, 45):
        await nodes[number % 3].send("t", number, to=to[number % 5])
    received = sorted([await client.call() for _ in range(45)])
    await nodes[0].send("t", "end")

    assert received == [[number] for number in range(45)]
    assert await client.call() == ["end"]
    listing = (await nodes[2].rest("GET", f"{PATH}/connections")).json["value"]
    assert listing == [{"connectionId": client.id, "userId": "ann", "groups": ["g", "h"]}]
    assert nodes[0].node.registry.hub("chat") is None
