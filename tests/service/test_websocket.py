"""WebSocket clients: handshakes, messages in order, either encoding, frames cut anyhow."""

import asyncio

import pytest
from tests.service.running import PATIENCE, Service
from websockets.exceptions import InvalidStatus

from hubbub.protocol.codec import JSON, MESSAGEPACK
from hubbub.protocol.messages import CancelInvocation, Close, Completion, Ping, StreamItem
from hubbub.service.router import Address, Envelope, Everyone, Group, One, User
from hubbub.service.transports.websocket import frame_binary, frame_text
from hubbub.service.wire import EncodedMessage

UPSTREAM = "This service has no upstream configured, so nobody can receive what clients send."


def deliver(service: Service, target: str, hub: str = "chat", arguments: bytes = b"[]") -> None:
    service.node.router.deliver(Envelope(Everyone(hub), EncodedMessage(target, arguments)))


async def test_a_handshake_is_answered_by_an_empty_object(service: Service) -> None:
    client = await service.open()
    assert await client.handshake() == b"{}\x1e"


async def test_a_handshake_for_messagepack_is_answered_in_a_binary_frame(service: Service) -> None:
    client = await service.open()
    await client.socket.send(b'{"protocol":"messagepack","version":1}\x1e')
    assert await client.socket.recv() == b"{}\x1e"


async def test_a_handshake_for_json_is_answered_in_a_text_frame(service: Service) -> None:
    client = await service.open()
    await client.socket.send('{"protocol":"json","version":1}\x1e')
    assert await client.socket.recv() == "{}\x1e"


async def test_the_answer_to_an_upgrade_is_not_to_be_cached_and_selects_nothing(
    service: Service,
) -> None:
    client = await service.open(compression="deflate")
    response = client.socket.response
    assert response is not None
    assert response.headers["Cache-Control"] == "no-cache, no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert response.headers["Expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert "Sec-WebSocket-Extensions" not in response.headers
    assert "Sec-WebSocket-Protocol" not in response.headers


@pytest.mark.parametrize("path", ["/client/", "/client", "/Client/"])
async def test_the_client_endpoint_is_found_with_and_without_its_slash(
    service: Service, path: str
) -> None:
    client = await service.open(path=path)
    assert await client.handshake() == b"{}\x1e"


@pytest.mark.parametrize(
    ("request_text", "sentence"),
    [
        ('{"protocol":"xml","version":1}', "The protocol 'xml' is not supported."),
        (
            '{"protocol":"json","version":7}',
            "The server does not support version 7 of the 'json' protocol.",
        ),
        (
            '{"protocol":"json","version":2}',
            "The server does not support version 2 of the 'json' protocol.",
        ),
        (
            '{"protocol":"json"}',
            "An unexpected error occurred during connection handshake.",
        ),
        ('{"type":6}', "An unexpected error occurred during connection handshake."),
        (
            '{"type":1,"target":"t","arguments":[]}',
            "An unexpected error occurred during connection handshake.",
        ),
        ("hello", "An unexpected error occurred during connection handshake."),
    ],
)
async def test_a_handshake_that_cannot_be_accepted_is_told_why_in_text_and_then_closed(
    service: Service, request_text: str, sentence: str
) -> None:
    other = await service.connect()
    client = await service.open()

    await client.socket.send(request_text + "\x1e")

    assert await client.socket.recv() == f'{{"error":"{sentence}"}}\x1e'
    assert await client.end() == (None, 1000)
    deliver(service, "still there")
    assert await other.call() == ("still there", [])


async def test_a_client_that_may_see_detailed_errors_is_told_the_detail(service: Service) -> None:
    token = service.token(**{"asrs.s.derror": "True"})
    client = await service.open(query={"hub": "chat", "access_token": token})
    await client.socket.send('{"protocol":"json"}\x1e')
    assert "missing required field `version`" in (await client.frame()).decode()


async def test_messages_may_follow_the_handshake_in_its_frame(service: Service) -> None:
    client = await service.open()
    await client.socket.send('{"protocol":"json","version":1}\x1e{"type":6}\x1e{"type":7}\x1e')
    assert await client.frame() == b"{}\x1e"
    assert await client.end() == (Close(), 1000)


async def test_a_handshake_may_come_in_fragments(service: Service) -> None:
    client = await service.open()
    await client.socket.send(iter(['{"protocol":', '"json","ver', 'sion":1}', "\x1e"]))
    assert await client.frame() == b"{}\x1e"


async def test_a_handshake_may_come_in_several_frames(service: Service) -> None:
    client = await service.open()
    await client.socket.send('{"protocol":"json",')
    await client.socket.send('"version":1}\x1e')
    assert await client.frame() == b"{}\x1e"


async def test_nothing_is_sent_to_a_client_before_its_handshake(service: Service) -> None:
    early, late = await service.connect(), await service.open()
    deliver(service, "first")
    assert await early.call() == ("first", [])

    assert await late.handshake() == b"{}\x1e"
    deliver(service, "second")

    assert await late.call() == ("second", [])


async def test_a_broadcast_reaches_everyone_of_the_hub_in_either_encoding(
    service: Service,
) -> None:
    text, binary = await service.connect(), await service.connect(protocol="messagepack")
    elsewhere = await service.connect("news")

    deliver(service, "ping", arguments=b'["a",{"b":[1.5,null]}]')
    deliver(service, "other", "news")

    expected = ("ping", ["a", {"b": [1.5, None]}])
    assert await text.call() == expected
    assert await binary.call() == expected
    assert await elsewhere.call() == ("other", [])


async def test_json_comes_in_text_frames_and_messagepack_in_binary_ones(service: Service) -> None:
    text, binary = await service.connect(), await service.connect(protocol="messagepack")
    deliver(service, "t")
    assert await text.socket.recv() == '{"type":1,"target":"t","arguments":[]}\x1e'
    assert await binary.socket.recv() == bytes.fromhex("08960180c0a1749090")


@pytest.mark.parametrize("size", [100, 125, 126, 127, 65_400, 65_535, 65_536, 70_000, 900_000])
async def test_messages_of_every_length_of_frame_arrive_whole(service: Service, size: int) -> None:
    client = await service.connect()
    empty = len(b'{"type":1,"target":"t","arguments":[""]}\x1e')
    text = "x" * (size - empty)
    deliver(service, "t", arguments=b'["%b"]' % text.encode())
    assert await client.call() == ("t", [text])


def test_frames_have_the_shortest_head_that_says_their_length() -> None:
    # RFC 6455, 5.2: a length of 7 bits, of 16 bits, of 64 bits.
    assert frame_text(b"x" * 125) == b"\x81\x7d" + b"x" * 125
    assert frame_text(b"x" * 126) == b"\x81\x7e\x00\x7e" + b"x" * 126
    assert frame_binary(b"x" * 65_535) == b"\x82\x7e\xff\xff" + b"x" * 65_535
    assert frame_binary(b"x" * 65_536) == b"\x82\x7f" + (65_536).to_bytes(8) + b"x" * 65_536


async def test_the_order_is_that_of_acceptance_whatever_the_address(service: Service) -> None:
    client = await service.connect(user="ann")
    connection = service.only_connection()
    service.node.registry.add_to_group(service.hub(), "g", connection)
    addresses: list[Address] = [
        Everyone("chat"),
        Group("chat", "g"),
        User("chat", "ann"),
        One("chat", connection.id),
    ]

    for number in range(200):
        message = EncodedMessage(str(number))
        service.node.router.deliver(Envelope(addresses[number * 7 % 11 % 4], message))

    assert await client.calls(200) == [(str(number), []) for number in range(200)]


async def test_a_binary_frame_is_as_good_as_a_text_frame_on_a_json_connection(
    service: Service,
) -> None:
    client = await service.open()
    await client.socket.send(b'{"protocol":"json","version":1}\x1e')
    assert await client.socket.recv() == "{}\x1e"
    await client.socket.send(b'{"type":1,"invocationId":"1","target":"t","arguments":[]}\x1e')
    assert await client.message() == Completion(invocation_id="1", error=UPSTREAM)


async def test_a_message_may_be_cut_into_fragments_anywhere(service: Service) -> None:
    client = await service.connect()
    record = '{"type":1,"invocationId":"é","target":"t","arguments":[]}\x1e'.encode()
    await client.socket.send(iter([record[i : i + 1] for i in range(len(record))]))
    assert await client.message() == Completion(invocation_id="é", error=UPSTREAM)


async def test_a_message_may_be_cut_into_frames_anywhere(service: Service) -> None:
    client = await service.connect(protocol="messagepack")
    for byte in MESSAGEPACK.encode(CancelInvocation(invocation_id="1")):
        await client.socket.send(bytes((byte,)))
    await client.socket.send(MESSAGEPACK.encode(Close()))
    assert await client.end() == (Close(), 1000)


async def test_a_websocket_ping_is_answered(service: Service) -> None:
    client = await service.connect()
    async with asyncio.timeout(PATIENCE):
        await (await client.socket.ping(b"x" * 125))


async def test_a_ping_a_stream_item_or_a_result_of_a_client_changes_nothing(
    service: Service,
) -> None:
    client = await service.connect()
    for message in (
        Ping(),
        StreamItem(invocation_id="9", item=JSON.encode_value(1)),
        Completion(invocation_id="9"),
        CancelInvocation(invocation_id="9"),
    ):
        await client.socket.send(JSON.encode(message), text=True)
    await client.socket.send('{"type":99}\x1e')
    await client.socket.send('{"type":1,"invocationId":"1","target":"t","arguments":[]}\x1e')
    assert await client.message() == Completion(invocation_id="1", error=UPSTREAM)


async def test_an_invocation_without_an_upstream_is_told_so(service: Service) -> None:
    client = await service.connect()
    await client.socket.send('{"type":4,"invocationId":"7","target":"t","arguments":[]}\x1e')
    assert await client.message() == Completion(invocation_id="7", error=UPSTREAM)
    assert await client.end() == (Close(error=UPSTREAM), 1000)


async def test_a_client_that_says_close_is_answered_and_forgotten(service: Service) -> None:
    client = await service.connect()
    await client.socket.send('{"type":7}\x1e')
    assert await client.end() == (Close(), 1000)
    assert service.node.registry.hub("chat") is None


async def test_a_client_that_closes_its_socket_is_forgotten(service: Service) -> None:
    stays, goes = await service.connect(), await service.connect()
    await goes.socket.close()
    assert len(service.hub().connections) == 1
    deliver(service, "t")
    assert await stays.call() == ("t", [])


async def test_a_client_that_is_cut_off_is_forgotten(service: Service) -> None:
    stays, goes = await service.connect(), await service.connect()
    goes.socket.transport.abort()
    while len(service.hub().connections) == 2:
        deliver(service, "t")
        await stays.call()
    deliver(service, "last")
    while await stays.call() != ("last", []):
        pass


async def test_a_negotiated_connection_has_the_id_that_negotiation_gave(service: Service) -> None:
    client, connection_id = await service.connect_negotiated()
    await service.connect()
    service.node.router.deliver(Envelope(One("chat", connection_id), EncodedMessage("t")))
    assert await client.call() == ("t", [])


async def refused(service: Service, query: dict[str, str]) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        await service.open(query={**query, "access_token": service.token(query["hub"])})
    return caught.value


async def test_a_connection_token_opens_one_connection_of_its_hub(service: Service) -> None:
    token = (await service.negotiate())["connectionToken"]
    error = await refused(service, {"hub": "news", "id": token})
    assert error.response.status_code == 404

    client = await service.open(query={"hub": "chat", "id": token, "access_token": service.token()})
    assert await client.handshake() == b"{}\x1e"
    error = await refused(service, {"hub": "chat", "id": token})

    assert error.response.status_code == 409
    deliver(service, "still there")
    assert await client.call() == ("still there", [])


async def test_a_connection_token_opens_nothing_after_its_connection(service: Service) -> None:
    token = (await service.negotiate())["connectionToken"]
    client = await service.open(query={"hub": "chat", "id": token, "access_token": service.token()})
    await client.handshake()
    await client.socket.close()
    error = await refused(service, {"hub": "chat", "id": token})
    assert error.response.status_code == 404


@pytest.mark.parametrize("token", ["", "unknown", "é", "a" * 100, "../x"])
async def test_a_connection_token_that_nobody_gave_out_is_refused(
    service: Service, token: str
) -> None:
    error = await refused(service, {"hub": "chat", "id": token})
    assert error.response.status_code == 404
    assert error.response.body == b"No Connection with that ID\n"


async def test_a_connection_shows_what_it_is(service: Service) -> None:
    await service.connect("Chat", "ann", "messagepack")
    connection = service.only_connection()
    assert repr(connection) == (
        f"Connection({connection.id!r}, hub='Chat', user='ann', wire=websocket/messagepack, "
        "state=OPEN)"
    )
    assert f"Node({service.node.id!r}, connections=1" in repr(service.node)
