"""Hub messages in both encodings: the specification's bytes, and everything there and back."""

import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.strategies import cut, messages, values
from tests.vectors.reading import cases, message_of, read

from hubbub.protocol.codec import CODECS, JSON, MESSAGEPACK, Codec
from hubbub.protocol.framing import varint
from hubbub.protocol.jsoncodec import json_invocation
from hubbub.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
    is_tracked,
)

BOTH = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
LIMIT = 1_000_000


def json_record(vector: dict[str, Any]) -> bytes:
    if "text" in vector:
        return str(vector["text"]).encode()
    framed = bytes.fromhex(vector["bytes"])
    assert framed.endswith(b"\x1e")
    return framed[:-1]


def binary_record(vector: dict[str, Any]) -> bytes:
    if "bytes" in vector:
        return bytes.fromhex(vector["bytes"])
    framed = bytes.fromhex(vector["framed"])
    assert framed[0] == len(framed) - 1
    return framed[1:]


@pytest.mark.parametrize("vector", cases(read("hub_json")))
def test_json_means_what_the_specification_says(vector: dict[str, Any]) -> None:
    assert JSON.decode(json_record(vector)) == message_of(vector, JSON)


@pytest.mark.parametrize("vector", cases(read("hub_json"), written=True))
def test_json_is_written_as_the_reference_server_writes_it(vector: dict[str, Any]) -> None:
    assert JSON.encode(message_of(vector, JSON)) == json_record(vector) + b"\x1e"


@pytest.mark.parametrize("vector", cases(read("hub_messagepack")))
def test_messagepack_means_what_the_specification_says(vector: dict[str, Any]) -> None:
    assert MESSAGEPACK.decode(binary_record(vector)) == message_of(vector, MESSAGEPACK)


@pytest.mark.parametrize("vector", cases(read("hub_messagepack"), written=True))
def test_messagepack_is_written_as_the_reference_server_writes_it(vector: dict[str, Any]) -> None:
    record = binary_record(vector)
    assert MESSAGEPACK.encode(message_of(vector, MESSAGEPACK)) == varint(len(record)) + record


@BOTH
def test_the_ready_made_ping_is_the_ping_that_would_be_encoded(codec: Codec) -> None:
    assert codec.ping == codec.encode(Ping())


def test_a_codec_is_found_by_the_name_that_a_handshake_gives_it() -> None:
    assert CODECS == {"json": JSON, "messagepack": MESSAGEPACK}
    assert (JSON.is_binary, MESSAGEPACK.is_binary) == (False, True)


@BOTH
@given(data=st.data())
def test_what_was_encoded_is_decoded_however_the_stream_is_cut(
    codec: Codec, data: st.DataObject
) -> None:
    sent = data.draw(st.lists(messages(codec), max_size=4))
    stream = b"".join(map(codec.encode, sent))
    pieces = data.draw(cut(stream))
    reader = codec.reader(LIMIT)

    received = [codec.decode(record) for piece in pieces for record in reader.feed(piece)]

    assert received == sent
    assert reader.rest() == b""


@BOTH
@given(value=values)
def test_an_argument_is_the_same_after_both_ways(codec: Codec, value: Any) -> None:
    assert codec.decode_value(codec.encode_value(value)) == value


@BOTH
def test_arguments_do_not_keep_the_record_they_came_in(codec: Codec) -> None:
    message = Invocation(target="t", arguments=codec.encode_value(["a"]))
    (record,) = codec.reader(LIMIT).feed(codec.encode(message))
    users = sys.getrefcount(record)

    decoded = codec.decode(record)

    assert decoded == message
    assert sys.getrefcount(record) == users


def test_an_invocation_made_of_json_is_the_one_that_would_be_encoded() -> None:
    raw = JSON.encode_value(["a", {"b": None}])
    message = Invocation(target='ta"rget', arguments=raw)
    assert json_invocation('ta"rget', raw) == JSON.encode(message)
    assert json_invocation('ta"rget', bytes(raw)) == JSON.encode(message)


def test_the_binary_body_of_a_rest_send_holds_the_records_of_both_encodings() -> None:
    vector = read("rest_bodies")["octet_stream"]
    assert msgspec.msgpack.decode(bytes.fromhex(vector["bytes"])) == {
        codec.name: codec.encode(
            Invocation(target=vector["target"], arguments=codec.encode_value(vector["arguments"]))
        )
        for codec in (JSON, MESSAGEPACK)
    }


def test_a_completion_has_a_result_or_an_error_and_not_both() -> None:
    with pytest.raises(ValueError, match="not both"):
        Completion(invocation_id="1", result=msgspec.Raw(b"1"), error="e")


def test_stateful_reconnect_counts_what_belongs_to_an_invocation_and_nothing_else() -> None:
    raw = msgspec.Raw(b"[]")
    assert is_tracked(Invocation(target="t", arguments=raw))
    assert is_tracked(StreamInvocation(target="t", arguments=raw, invocation_id="1"))
    assert is_tracked(StreamItem(invocation_id="1", item=raw))
    assert is_tracked(Completion(invocation_id="1"))
    assert is_tracked(CancelInvocation(invocation_id="1"))
    assert not is_tracked(Ping())
    assert not is_tracked(Close())
    assert not is_tracked(Ack(1))
    assert not is_tracked(Sequence(1))


def test_an_integer_over_64_bits_passes_in_json_and_cannot_leave_by_messagepack() -> None:
    record = b'{"type":1,"target":"t","arguments":[123456789012345678901]}'

    message = JSON.decode(record)

    assert isinstance(message, Invocation)
    assert JSON.encode(message) == record + b"\x1e"
    value = JSON.decode_value(message.arguments)
    assert value == [123456789012345678901]
    with pytest.raises(OverflowError):
        MESSAGEPACK.encode_value(value)
