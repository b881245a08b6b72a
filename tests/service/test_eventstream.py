"""Event streams: how messages become events, and what a stream refuses."""

import re

import pytest
from tests.service.fakes import access_of
from tests.service.running import Service

from hubbub.service.node import Node
from hubbub.service.settings import ServiceSettings
from hubbub.service.transports.stream import EventStream, frame_event


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\rb", [b"a", b"b"]),
        (b"a\r\nb", [b"a", b"b"]),
        (b"a\n\rb", [b"a", b"", b"b"]),
        (b"a\r", [b"a", b""]),
        (b"a\n", [b"a", b""]),
        (b"a\r\n\r\nb\rc\nd", [b"a", b"", b"b", b"c", b"d"]),
    ],
)
def test_each_line_of_a_message_is_a_data_line_whatever_ends_it(
    data: bytes, lines: list[bytes]
) -> None:
    event = frame_event(data)
    assert event == b"".join(b"data: %b\r\n" % line for line in lines) + b"\r\n"
    # A browser ends a line at each of the three: no line of the data is one of its own there.
    *found, empty, rest = re.split(rb"\r\n|\r|\n", event)
    assert (empty, rest) == (b"", b"")
    assert [line.removeprefix(b"data: ") for line in found] == lines


async def test_what_is_sent_comes_as_events_in_order(service: Service) -> None:
    _client, events = await service.streaming()
    for target in ("a", "b"):
        await service.send(target, "x")
    heard = await events.until(b'"target":"b","arguments":["x"]}\x1e\r\n\r\n')
    assert heard.index(b'data: {"type":1,"target":"a","arguments":["x"]}\x1e\r\n') < heard.index(
        b'"target":"b"'
    )


async def test_a_stream_begins_with_a_comment_and_is_for_no_cache_nor_buffer(
    service: Service,
) -> None:
    client = await service.http_client()
    raw = await service.raw()
    raw.send(client.head("GET", "Accept: text/event-stream"))
    head = await raw.until(b"\r\n\r\n")
    assert b"content-type: text/event-stream\r\n" in head
    assert b"cache-control: no-cache,no-store\r\n" in head
    assert b"x-accel-buffering: no\r\n" in head
    assert await raw.until(b":\r\n") == b"3\r\n:\r\n"


async def test_a_second_stream_for_the_connection_is_409(service: Service) -> None:
    client, events = await service.streaming()
    answer = await service.request(
        "GET", client.path, token=client.token, headers={"Accept": "text/event-stream"}
    )
    assert (answer.status, answer.text) == (409, "")
    await service.send("t")
    await events.until(b'"target":"t"')


async def test_messagepack_is_refused_over_events_with_the_reason(service: Service) -> None:
    client = await service.http_client()
    events = await client.events()
    await client.post(b'{"protocol":"messagepack","version":1}\x1e')
    text = (
        b"Cannot use the 'messagepack' protocol on the current transport. "
        b"The transport does not support 'Binary' transfer format."
    )
    assert b'data: {"error":"%b"}\x1e\r\n\r\n' % text in await events.until(b"\r\n0\r\n\r\n")


async def test_a_stream_that_its_client_ends_ends_the_connection(service: Service) -> None:
    client, events = await service.streaming()
    stays = await service.connect()
    events.writer.transport.abort()
    answer = await client.post(b'{"type":6}\x1e')
    while answer.status == 200:  # until the service has noticed
        answer = await client.post(b'{"type":6}\x1e')
    assert (answer.status, answer.text) == (404, "No Connection with that ID")
    await service.send("t")
    assert await stays.call() == ("t", [])


async def test_a_connection_that_fails_ends_its_stream(service: Service) -> None:
    _client, events = await service.streaming()
    service.only_connection().fail()
    assert await events.until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_a_stream_that_is_full_with_its_handshake_is_not_opened() -> None:
    node = Node(ServiceSettings(max_pending_bytes=1))
    stream = EventStream(node, access_of())
    connection = stream._connection = node.connect(access_of(), stream)
    connection.receive(b'{"protocol":"json","version":1}\x1e')
    assert not connection.is_live
    assert node.registry.hub("chat") is None
