"""Event streams and long polls whose clients do not take what is sent: one Close, one log line."""

import asyncio
import json
import re
from typing import Any

import pytest
from tests.service.conftest import Start
from tests.service.running import PATIENCE, Client, Service

from hubbub.service.router import Envelope, Everyone
from hubbub.service.session import State
from hubbub.service.wire import EncodedMessage

BIG = 400_000  # bytes of one message; some of them fill what kernel and service keep for a socket
SLOW = {"type": 7, "error": "The client is too slow to receive.", "allowReconnect": True}


async def flood(service: Service, reader: Client) -> int:
    """Broadcast what one client reads until the others are gone; return how many it took."""
    big = EncodedMessage("big", b'["%b"]' % (b"x" * BIG))
    count = 0
    async with asyncio.timeout(PATIENCE):
        while len(service.hub().connections) > 1:
            service.node.router.deliver(Envelope(Everyone("chat"), big))
            count += 1
            assert (await reader.call())[0] == "big"
    return count


def records(data: bytes) -> list[Any]:
    """The messages in what an answer or the events of a stream held."""
    return [json.loads(record) for record in data.split(b"\x1e")[:-1]]


def events(response: bytes) -> bytes:
    """The data of all events in a chunked response."""
    data = b""
    while response:
        size, _, rest = response.partition(b"\r\n")
        data, response = data + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return b"".join(re.findall(rb"data: ([^\r]*)\r\n", data))


def slow_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, which names the slow."""
    return [record.getMessage() for record in caplog.records]


async def test_a_slow_event_stream_is_closed_once_and_the_rest_still_receive(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hubbub.service")
    service = await start(max_pending_bytes=1_000_000)
    fast = await service.connect()
    slow, stream = await service.streaming(receive_buffer=4096)

    sent = await flood(service, fast)
    await service.send("after")

    assert await fast.call() == ("after", [])
    # What it finds when it reads at last: messages in order, then why it was closed.
    heard = records(events(await stream.until(b"\r\n0\r\n\r\n")))
    assert [message["type"] for message in heard[:-1]] == [1] * sent
    assert heard[-1] == SLOW
    assert slow_lines(caplog) == [f"connection {slow.id} is too slow and is closed"]


async def test_an_event_stream_that_is_never_read_is_cut(start: Start) -> None:
    service = await start(max_pending_bytes=1_000_000, send_timeout=0)
    fast = await service.connect()
    slow, stream = await service.streaming(receive_buffer=4096)
    connection = service.hub().connections.find(slow.id)
    assert connection is not None

    await flood(service, fast)
    await service.send("after")

    assert await fast.call() == ("after", [])
    assert not (await stream.rest()).endswith(b"0\r\n\r\n")
    assert connection.state is State.CLOSED


async def test_a_poll_whose_answer_is_never_read_is_cut(start: Start) -> None:
    service = await start(max_pending_bytes=100_000_000, send_timeout=0)
    slow = await service.polling()
    waiting = await service.raw(4096)
    for _ in range(50):  # so that no kernel has room for the answer
        service.node.router.deliver(
            Envelope(Everyone("chat"), EncodedMessage("big", b'["%b"]' % (b"x" * BIG)))
        )
    waiting.send(slow.head("GET"))

    head = await waiting.until(b"\r\n\r\n")
    body = await waiting.rest()

    (length,) = re.findall(rb"content-length: (\d+)", head)
    assert len(body) < int(length)


async def test_a_slow_poller_is_closed_once_and_the_rest_still_receive(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hubbub.service")
    service = await start(max_pending_bytes=1_000_000)
    fast = await service.connect()
    slow = await service.polling()

    sent = await flood(service, fast)
    await service.send("after")

    assert await fast.call() == ("after", [])
    heard = records((await slow.poll()).body)
    assert [message["type"] for message in heard[:-1]] == [1] * sent
    assert heard[-1] == SLOW
    assert (await slow.poll()).status == 204
    assert (await slow.poll()).status == 404
    assert slow_lines(caplog) == [f"connection {slow.id} is too slow and is closed"]
