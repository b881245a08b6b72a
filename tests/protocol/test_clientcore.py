"""The client's end without I/O, alone and wired to the server's end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import ProtocolError
from hubbub.protocol.clientcore import ClientConnection
from hubbub.protocol.codec import CODECS, JSON, MESSAGEPACK, Codec
from hubbub.protocol.connection import HandshakeError, ServerConnection
from hubbub.protocol.messages import (
    Ack,
    Close,
    Completion,
    HandshakeRequest,
    Invocation,
    Ping,
    Sequence,
)

LIMIT = 1000
ACCEPTED = b"{}\x1e"


def opened(codec: Codec = JSON, *, stateful: bool = False) -> ClientConnection:
    client = ClientConnection(codec, limit=LIMIT, stateful=stateful)
    assert list(client.receive(ACCEPTED)) == []
    return client


def hello(codec: Codec, word: str = "hello") -> Invocation:
    return Invocation(target=word, arguments=codec.encode_value([1]))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_it_asks_for_its_encoding_in_json(codec: Codec) -> None:
    client = ClientConnection(codec, limit=LIMIT)

    assert client.request() == b'{"protocol":"%b","version":1}\x1e' % codec.name.encode()


def test_it_asks_for_version_two_where_stateful_reconnect_was_agreed() -> None:
    client = ClientConnection(JSON, limit=LIMIT, stateful=True)

    assert client.request() == b'{"protocol":"json","version":2}\x1e'


def test_it_is_open_once_the_server_has_accepted() -> None:
    client = ClientConnection(JSON, limit=LIMIT)
    states = []

    for piece in (b"{", b"}", b"\x1e"):
        assert list(client.receive(piece)) == []
        states.append(client.is_open)

    assert states == [False, False, True]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_messages_may_follow_the_answer_at_once(codec: Codec) -> None:
    client = ClientConnection(codec, limit=LIMIT)

    messages = list(client.receive(ACCEPTED + codec.encode(hello(codec)) + codec.ping))

    assert messages == [hello(codec), Ping()]


def test_a_refusal_carries_the_servers_words() -> None:
    client = ClientConnection(JSON, limit=LIMIT)

    with pytest.raises(HandshakeError, match="error: The protocol 'json' is not supported"):
        list(client.receive(b"""{"error":"The protocol 'json' is not supported."}\x1e"""))
    assert not client.is_open


@pytest.mark.parametrize(
    "answer", [b'{"type":6}\x1e', b"<html>\x1e", b"\xff\x1e", b"[]\x1e", b"\x1e"]
)
def test_an_answer_that_is_none_is_the_servers_fault(answer: bytes) -> None:
    with pytest.raises(HandshakeError, match="Not a hub's answer"):
        list(ClientConnection(JSON, limit=LIMIT).receive(answer))


def test_an_answer_without_end_is_not_waited_for() -> None:
    client = ClientConnection(JSON, limit=LIMIT)

    with pytest.raises(ProtocolError, match="maximum message size"):
        list(client.receive(b" " * 100_000))


def test_a_record_over_the_limit_is_the_servers_fault() -> None:
    with pytest.raises(ProtocolError, match="maximum message size of 1000B"):
        list(opened().receive(b" " * 1001))


@pytest.mark.parametrize("record", [b'{"type":1}', b"{}", b"", b'{"type":[]}', b"\xff"])
def test_a_record_that_is_no_message_is_the_servers_fault(record: bytes) -> None:
    with pytest.raises(ProtocolError, match="Not a hub message"):
        list(opened().receive(record + b"\x1e"))


def test_unknown_types_and_members_are_passed_over() -> None:
    records = b'{"type":99}\x1e{"type":7,"allowReconnect":true,"more":1}\x1e'

    assert list(opened().receive(records)) == [Close(allow_reconnect=True)]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (b"\x95\x01\x80\xc0\xa5hello\x91\x01", hello(MESSAGEPACK)),
        (b"\x92\x07\xa3xyz", Close(error="xyz")),
    ],
    ids=["an invocation of five items", "a close of two items"],
)
def test_short_forms_of_old_servers_are_read(items: bytes, message: object) -> None:
    client = opened(MESSAGEPACK)

    assert list(client.receive(bytes((len(items),)) + items)) == [message]


def test_without_stateful_reconnect_nothing_is_kept() -> None:
    client = opened()

    assert client.send(hello(JSON)) == b'{"type":1,"target":"hello","arguments":[1]}\x1e'
    assert client.acknowledge() == b""
    with pytest.raises(ValueError, match="not agreed"):
        client.resume()


def test_tracked_messages_are_said_again_on_a_new_transport_and_pings_are_not() -> None:
    client = opened(stateful=True)
    first = client.send(hello(JSON))
    client.send(Ping())
    second = client.send(Completion(invocation_id="1"))

    assert client.resume() == JSON.encode(Sequence(1)) + first + second
    list(client.receive(JSON.encode(Sequence(1)) + JSON.encode(Ack(1))))
    assert client.resume() == JSON.encode(Sequence(2)) + second


def test_an_acknowledgement_is_due_when_messages_have_arrived() -> None:
    client = opened(stateful=True)
    assert client.acknowledge() == b""

    list(client.receive(JSON.encode(hello(JSON))))

    assert client.acknowledge() == b'{"type":8,"sequenceId":1}\x1e'
    assert client.acknowledge() == b""


def test_half_a_record_of_the_old_transport_is_forgotten() -> None:
    client = opened(stateful=True)
    record = JSON.encode(hello(JSON))
    list(client.receive(record[:10]))

    client.resume()

    assert list(client.receive(JSON.encode(Sequence(1)) + record)) == [hello(JSON)]


def test_its_repr_shows_how_far_it_is() -> None:
    client = ClientConnection(JSON, limit=LIMIT)
    assert repr(client) == "ClientConnection(json, handshake, replay=None)"
    list(client.receive(ACCEPTED))
    assert repr(client) == "ClientConnection(json, open, replay=None)"


@pytest.mark.parametrize("stateful", [False, True], ids=["plain", "stateful"])
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(cuts=st.lists(st.integers(0, 300)))
def test_the_two_ends_understand_each_other_wherever_the_bytes_are_cut(
    codec: Codec, stateful: bool, cuts: list[int]
) -> None:
    client = ClientConnection(codec, limit=LIMIT, stateful=stateful)
    server = ServerConnection(limit=LIMIT, versions=(1, 2))
    message = hello(codec, "héllo")

    said = pieces(client.request() + client.send(message) + codec.ping, cuts)
    answered = pieces(ACCEPTED + codec.encode(message), cuts)

    heard = [heard for piece in said for heard in server.receive(piece)]
    assert heard == [HandshakeRequest(codec.name, 2 if stateful else 1), message, Ping()]
    assert [heard for piece in answered for heard in client.receive(piece)] == [message]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]
