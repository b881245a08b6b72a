"""The bytes and statuses of the transports over HTTP, as the reference server has them."""

from typing import Any

import aiohttp
import pytest
from tests.service.running import Service
from tests.vectors.reading import cases, read
from yarl import URL

from hubbub.service.transports.stream import frame_event

VECTORS = read("transports")
EVENTS = VECTORS["server_sent_events"]
EXCHANGES = {exchange["id"]: exchange for exchange in VECTORS["exchanges"]}


def event_bytes(vector: dict[str, Any]) -> bytes:
    if "text" in vector:
        return str(vector["text"]).encode()
    return bytes.fromhex(vector["bytes"])


@pytest.mark.parametrize("vector", cases(EVENTS["events"]))
def test_an_event_is_written_as_the_reference_server_writes_it(vector: dict[str, Any]) -> None:
    assert frame_event(vector["payload"].encode()) == event_bytes(vector)


async def test_a_stream_begins_with_a_comment_and_the_handshake_is_its_first_event(
    service: Service,
) -> None:
    token = (await service.negotiate())["connectionToken"]
    path = f"/client/?hub=chat&id={token}"
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {service.token()}"}
    begin = bytes.fromhex(EVENTS["preamble"]["bytes"])
    handshake = event_bytes(EVENTS["events"][0])
    async with service.http.get(
        URL(service.url + path, encoded=True),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=20),
    ) as response:
        assert await response.content.readexactly(len(begin)) == begin
        posted = await service.request(
            "POST", path, token=service.token(), body=b'{"protocol":"json","version":1}\x1e'
        )
        assert (posted.status, posted.body) == (200, b"")
        assert await response.content.readexactly(len(handshake)) == handshake
        response.close()


async def test_polling_begins_at_once_and_ends_by_delete(service: Service) -> None:
    token = (await service.negotiate())["connectionToken"]
    path = f"/client/?hub=chat&id={token}"

    first = await service.request("GET", path, token=service.token())
    await service.request(
        "POST", path, token=service.token(), body=b'{"protocol":"json","version":1}\x1e'
    )
    second = await service.request("GET", path, token=service.token())
    end = await service.request("DELETE", path, token=service.token())
    after = await service.request("GET", path, token=service.token())

    expected = EXCHANGES["TR-04"]
    assert (first.status, first.text) == (expected["status"], expected["body"])
    assert first.headers["Content-Type"] == expected["content_type"]
    assert first.headers["Content-Length"] == "0"
    assert second.body == b"{}\x1e"
    assert (end.status, end.text) == (EXCHANGES["TR-05"]["status"], EXCHANGES["TR-05"]["body"])
    expected = EXCHANGES["TR-05 after"]
    assert (after.status, after.text) == (expected["status"], expected["body"])
