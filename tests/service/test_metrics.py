"""What /metrics says, and that its page in the docs says the same."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.service.clusters import backplane_of
from tests.service.conftest import Start, StartCluster
from tests.service.running import Service

import hubbub
from hubbub.protocol.messages import Close
from hubbub.service.metrics import METRICS, MetricsPage

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
Values = dict[str, float]
Read = Callable[[Service], Awaitable[Values]]


@pytest.fixture
async def read() -> AsyncIterator[Read]:
    """What a node's page says, as `name/label/…`."""
    async with AsyncExitStack() as stack:
        pages: dict[str, str] = {}

        async def page_of(service: Service) -> str:
            if service.url not in pages:
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                page = MetricsPage(service.node)
                stack.push_async_callback(page.close)
                await page.open(listener)
                pages[service.url] = f"http://127.0.0.1:{listener.getsockname()[1]}"
            return pages[service.url]

        async def read_page(service: Service) -> Values:
            async with service.http.get(f"{await page_of(service)}/metrics") as answer:
                assert answer.status == 200
                text = await answer.text()
            return {
                "/".join((sample.name, *sorted(sample.labels.values()))): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }

        yield read_page


async def test_a_node_says_who_is_connected_and_what_was_sent(start: Start, read: Read) -> None:
    service = await start()
    before = await read(service)
    assert before["hubbub_messages_accepted_total"] == before["hubbub_hubs"] == 0

    first = await service.connect(user="ann")
    await service.connect("news")
    await service.polling()
    await service.streaming()
    await service.rest("PUT", "/api/hubs/chat/users/ann/groups/g")
    await service.send("t")
    await service.send("t", to="/users/ann")
    assert len(await first.calls(2)) == 2
    values = await read(service)

    assert {name: values[f"hubbub_connections/{name}"] for name in
            ("websocket", "event_stream", "long_polling", "away")} == {
        "websocket": 2, "event_stream": 1, "long_polling": 1, "away": 0}  # fmt: skip
    assert (values["hubbub_hubs"], values["hubbub_groups"]) == (2, 1)
    assert values["hubbub_messages_accepted_total"] == 2
    assert values["hubbub_messages_delivered_total"] == 4
    assert values["hubbub_pending_bytes"] > 0  # nobody polls
    info = "/".join(("hubbub_info", *sorted((hubbub.__version__, service.node.id))))
    assert values[info] == 1
    assert values["process_resident_memory_bytes"] > 0
    assert not any(name.startswith("hubbub_backplane") for name in values)


async def test_what_was_counted_stays_when_a_hub_ends(start: Start, read: Read) -> None:
    service = await start()
    client = await service.connect()
    await service.send("t")
    assert await client.call() == ("t", [])
    service.only_connection().close(Close())
    await client.end()
    values = await read(service)
    assert values["hubbub_hubs"] == 0
    assert (
        values["hubbub_messages_accepted_total"] == values["hubbub_messages_delivered_total"] == 1
    )
    again = await service.connect()
    await service.send("t")
    assert await again.call() == ("t", [])
    assert (await read(service))["hubbub_messages_delivered_total"] == 2


async def test_refusals_are_counted_by_way_and_status(start: Start, read: Read) -> None:
    service = await start()
    await service.rest("HEAD", "/api/hubs/chat/users/nobody")
    await service.request("POST", "/api/hubs/chat/:send")
    await service.request("POST", "/client/negotiate?hub=chat")
    with pytest.raises(Exception, match="404"):
        await service.open(query={"hub": "chat", "id": "x", "access_token": service.token()})
    values = await read(service)
    assert values["hubbub_refused_total/404/rest"] == 1
    assert values["hubbub_refused_total/401/rest"] == 1
    assert values["hubbub_refused_total/401/client"] == 1
    assert values["hubbub_refused_total/404/client"] == 1


async def test_a_client_that_is_too_slow_is_counted(start: Start, read: Read) -> None:
    service = await start()
    await service.connect()
    service.only_connection().close_slow()
    assert (await read(service))["hubbub_slow_closes_total"] == 1


async def test_a_node_of_several_says_whether_it_is_whole(
    cluster: StartCluster, read: Read
) -> None:
    nodes = await cluster(2)
    client = await nodes[1].connect()
    await nodes[0].send("t")
    assert await client.call() == ("t", [])
    async with asyncio.timeout(20):
        while (values := await read(nodes[0]))["hubbub_nodes"] != 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert values["hubbub_published_total"] == 1
    assert (await read(nodes[1]))["hubbub_received_total"] >= 1
    assert (values["hubbub_degraded"], values["hubbub_backplane_connected"]) == (0, 1)

    backplane_of(nodes[0]).disconnect()
    values = await read(nodes[0])
    assert (values["hubbub_degraded"], values["hubbub_backplane_connected"]) == (1, 0)
    assert (await nodes[0].rest("GET", "/api/health")).json == {"status": "degraded"}
    assert (await read(nodes[1]))["hubbub_degraded"] == 0  # which reaches what joins them


async def test_nothing_else_is_served_there(start: Start, read: Read) -> None:
    service = await start()
    await read(service)
    page = MetricsPage(service.node)
    listener = socket.create_server(("127.0.0.1", 0))
    await page.open(listener)
    for path in ("/", "/api/health"):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        async with service.http.get(url) as answer:
            assert answer.status == 404
    await page.close()


def test_the_docs_have_every_metric_and_no_other() -> None:
    rows = re.findall(
        r"^\| `(hubbub_\w+)`(?: \((.*?)\))? \| (\w+) \| (.*) \|$", DOCS.read_text(), re.MULTILINE
    )
    assert rows == [
        (each.shown, ", ".join(f"`{label}`" for label in each.labels), each.kind, each.text)
        for each in METRICS
    ]
