"""The server's end of a connection, wired to what a client writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.strategies import cut, messages
from tests.vectors.reading import cases, read

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import (
    CODECS,
    JSON,
    MESSAGEPACK,
    Codec,
    decode_handshake_request,
    decode_handshake_response,
    encode_handshake_request,
    encode_handshake_response,
)
from hubbub.protocol.connection import HandshakeError, ServerConnection
from hubbub.protocol.messages import Close, HandshakeRequest, HandshakeResponse, Ping

BOTH = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
LIMIT = 1_000_000
HANDSHAKES = read("handshake")


def record_of(vector: dict[str, Any]) -> bytes:
    if "text" in vector:
        return str(vector["text"]).encode()
    return bytes.fromhex(vector["bytes"]).removesuffix(b"\x1e")


def of_side(side: str) -> list[dict[str, Any]]:
    return [vector for vector in HANDSHAKES if vector["side"] == side]


@pytest.mark.parametrize("vector", cases(of_side("request")))
def test_a_handshake_request_means_what_the_specification_says(vector: dict[str, Any]) -> None:
    assert decode_handshake_request(record_of(vector)) == HandshakeRequest(**vector["value"])


@pytest.mark.parametrize("vector", cases(of_side("request"), written=True))
def test_a_handshake_request_is_written_as_specified(vector: dict[str, Any]) -> None:
    request = HandshakeRequest(**vector["value"])
    assert encode_handshake_request(request) == record_of(vector) + b"\x1e"


@pytest.mark.parametrize("vector", cases(of_side("response")))
def test_a_handshake_response_means_what_the_specification_says(vector: dict[str, Any]) -> None:
    assert decode_handshake_response(record_of(vector)) == HandshakeResponse(**vector["value"])


@pytest.mark.parametrize("vector", cases(of_side("response"), written=True))
def test_a_handshake_response_is_written_as_specified(vector: dict[str, Any]) -> None:
    response = HandshakeResponse(**vector["value"])
    assert encode_handshake_response(response) == record_of(vector) + b"\x1e"


@BOTH
@given(data=st.data())
def test_a_client_is_understood_however_its_bytes_arrive(codec: Codec, data: st.DataObject) -> None:
    request = HandshakeRequest(codec.name, 1)
    sent = data.draw(st.lists(messages(codec), max_size=3))
    stream = encode_handshake_request(request) + b"".join(map(codec.encode, sent))
    server = ServerConnection(limit=LIMIT)

    received = [message for piece in data.draw(cut(stream)) for message in server.receive(piece)]

    assert received == [request, *sent]
    assert (server.codec, server.version) == (codec, 1)


def test_a_message_of_an_unknown_type_is_left_out() -> None:
    server = ServerConnection(limit=LIMIT)
    stream = b'{"protocol":"json","version":1}\x1e{"type":99}\x1e{"type":6}\x1e'
    assert list(server.receive(stream)) == [HandshakeRequest("json", 1), Ping()]


def test_what_came_before_a_wrong_record_is_received() -> None:
    received = ServerConnection(limit=LIMIT).receive(
        b'{"protocol":"json","version":1}\x1e{"type":6}\x1e{"type":7}\x1e{"type":[]}\x1e'
    )
    assert [next(received) for _ in range(3)] == [HandshakeRequest("json", 1), Ping(), Close()]
    with pytest.raises(ProtocolError, match="Not a hub message"):
        next(received)


def test_the_limit_counts_for_a_record_and_not_for_what_arrives_at_once() -> None:
    server = ServerConnection(limit=20)
    list(server.receive(b'{"protocol":"json","version":1}\x1e'))

    assert list(server.receive(JSON.ping * 10)) == [Ping()] * 10
    with pytest.raises(ProtocolError, match="maximum message size of 20B"):
        list(server.receive(b'{"type":7,"error":"too long"}\x1e'))


def refused(data: bytes, **options: Any) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        list(ServerConnection(limit=LIMIT, **options).receive(data))
    return caught.value


def test_an_unknown_protocol_is_named() -> None:
    error = refused(b'{"protocol":"xml","version":1}\x1e')
    assert str(error) == "The protocol 'xml' is not supported."


@pytest.mark.parametrize(
    ("request_text", "sentence"),
    [
        ('{"protocol":"json","version":3}', "version 3 of the 'json' protocol"),
        ('{"protocol":"json","version":0}', "version 0 of the 'json' protocol"),
        ('{"protocol":"messagepack","version":-1}', "version -1 of the 'messagepack' protocol"),
        ('{"protocol":"json","version":2}', "version 2 of the 'json' protocol"),
    ],
)
def test_a_version_that_was_not_negotiated_is_named(request_text: str, sentence: str) -> None:
    error = refused(request_text.encode() + b"\x1e")
    assert str(error) == f"The server does not support {sentence}."


def test_version_2_is_spoken_where_stateful_reconnect_was_negotiated() -> None:
    server = ServerConnection(limit=LIMIT, versions=(1, 2))
    list(server.receive(b'{"protocol":"json","version":2}\x1e'))
    assert server.version == 2


def test_a_binary_encoding_is_refused_on_a_transport_of_text() -> None:
    data = encode_handshake_request(HandshakeRequest("messagepack", 1))
    assert str(refused(data, carries_binary=False)) == (
        "Cannot use the 'messagepack' protocol on the current transport. "
        "The transport does not support 'Binary' transfer format."
    )
    server = ServerConnection(limit=LIMIT, carries_binary=False)
    assert len(list(server.receive(encode_handshake_request(HandshakeRequest("json", 1))))) == 1


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b'{"type":6}\x1e', "missing required field `protocol`"),
        (b'{"protocol":"json"}\x1e', "missing required field `version`"),
        (b'{"protocol":[],"version":1}\x1e', "$.protocol"),
        (b"hello\x1e", "malformed"),
        (b"\xff\xfe\x1e", "malformed"),
        (MESSAGEPACK.ping + b"\x1e", "malformed"),
        (b"\x1e", "truncated"),
        (b"[" * 5000, "maximum message size of 4096B"),
        (b'{"x":"' + b"x" * 5000 + b'","protocol":"json","version":1}\x1e', "4096B"),
    ],
)
def test_a_first_record_that_is_no_handshake_says_little_and_explains_more(
    data: bytes, detail: str
) -> None:
    error = refused(data)
    assert str(error) == "An unexpected error occurred during connection handshake."
    assert detail in error.detail


def test_a_handshake_that_never_ends_is_refused_at_4_kilobytes() -> None:
    server = ServerConnection(limit=LIMIT)
    for _ in range(4):
        assert list(server.receive(b" " * 1024)) == []
    with pytest.raises(HandshakeError):
        list(server.receive(b" "))


def test_a_connection_shows_which_encoding_it_speaks() -> None:
    server = ServerConnection(limit=LIMIT)
    assert repr(server) == "ServerConnection(handshake)"
    list(server.receive(encode_handshake_request(HandshakeRequest("messagepack", 1))))
    assert repr(server) == "ServerConnection(messagepack)"


def test_a_new_transport_starts_with_a_whole_record() -> None:
    server = ServerConnection(limit=LIMIT)
    list(server.receive(encode_handshake_request(HandshakeRequest("json", 1)) + b'{"type":'))

    server.restart()

    assert list(server.receive(JSON.ping)) == [Ping()]
