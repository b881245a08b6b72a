"""Records that no honest peer sends: each is a `ProtocolError` or is ignored, and nothing else."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.strategies import TYPES, typed_objects, wrong_objects, wrong_values

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import (
    CODECS,
    JSON,
    MESSAGEPACK,
    Codec,
    decode_handshake_request,
    decode_handshake_response,
)
from hubbub.protocol.messages import Invocation, Message

BOTH = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
DEPTHS = (10_000, 100_000)


def survives(codec: Codec, record: bytes) -> Message | None:
    """Decode as a service would: a peer's mistake may raise this one error only."""
    try:
        return codec.decode(record)
    except ProtocolError:
        return None


@BOTH
@given(record=st.binary())
def test_any_bytes_do_no_more_than_be_refused(codec: Codec, record: bytes) -> None:
    survives(codec, record)


@given(value=wrong_objects | typed_objects)
def test_json_made_of_the_protocols_own_names_does_no_more_than_be_refused(value: Any) -> None:
    survives(JSON, msgspec.json.encode(value))


@given(kind=st.sampled_from(TYPES[:13]), items=st.lists(wrong_values, max_size=6))
def test_arrays_that_begin_like_messages_do_no_more_than_be_refused(
    kind: Any, items: list[Any]
) -> None:
    try:
        record = msgspec.msgpack.encode([kind, *items])
    except OverflowError:
        record = msgspec.msgpack.encode([kind, str(items)])
    survives(MESSAGEPACK, record)


@BOTH
@given(value=wrong_values)
def test_a_record_of_a_single_value_is_refused(codec: Codec, value: Any) -> None:
    try:
        record = bytes(codec.encode_value(value))
    except OverflowError:
        return
    assert survives(codec, record) is None or isinstance(value, (dict, list))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"6",
        b'{"type":[]}',
        b'{"type":{}}',
        b'{"type":"1"}',
        b'{"type":null}',
        b'{"type":true}',
        b'{"type":6',
        b'{"type":6}{"type":6}',
        b'{"type":6,}',
        b"{'type':6}",
        b'\xef\xbb\xbf{"type":6}',
        b'{"type":1}',
        b'{"type":1,"target":"t"}',
        b'{"type":1,"arguments":[]}',
        b'{"type":1,"target":null,"arguments":[]}',
        b'{"type":1,"target":["t"],"arguments":[]}',
        b'{"type":1,"target":"t","arguments":null}',
        b'{"type":1,"target":"t","arguments":{}}',
        b'{"type":1,"target":"t","arguments":"[]"}',
        b'{"type":1,"target":"t","arguments":[],"invocationId":1}',
        b'{"type":1,"target":"t","arguments":[],"headers":[]}',
        b'{"type":1,"target":"t","arguments":[],"headers":{"a":1}}',
        b'{"type":1,"target":"t","arguments":[],"streamIds":"1"}',
        b'{"type":1,"target":"t","arguments":[],"streamIds":[1]}',
        b'{"type":1,"target":"t","arguments":[01]}',
        b'{"type":1,"target":"t","arguments":[NaN]}',
        b'{"type":1,"target":"t","arguments":["\\q"]}',
        b'{"type":1,"target":"t","arguments":["a\x01b"]}',
        b'{"type":1,"target":"t","arguments":["\xff"]}',
        b'{"type":1,"target":"t","arguments":["\xed\xa0\x80"]}',
        b'{"type":1,"target":"\\ud800","arguments":[]}',
        b'{"type":1,"target":"t","arguments":["\\ud800"]}',
        b'{"type":1,"target":"t","arguments":["\\ud800 and more"]}',
        b'{"type":1,"target":"\xff","arguments":[]}',
        b'{"type":6,"skipped":"\xff"}',
        b'{"type":2,"invocationId":"1"}',
        b'{"type":2,"item":1}',
        b'{"type":3}',
        b'{"type":3,"invocationId":null}',
        b'{"type":3,"invocationId":"1","result":1,"error":"e"}',
        b'{"type":3,"invocationId":"1","error":1}',
        b'{"type":4,"target":"t","arguments":[]}',
        b'{"type":4,"invocationId":null,"target":"t","arguments":[]}',
        b'{"type":4,"invocationId":"1","target":"t","arguments":{}}',
        b'{"type":5}',
        b'{"type":7,"error":1}',
        b'{"type":7,"allowReconnect":"yes"}',
        b'{"type":8}',
        b'{"type":8,"sequenceId":"1"}',
        b'{"type":9,"sequenceId":1.5}',
        b'{"type":9,"sequenceId":' + b"1" * 5000 + b"}",
    ],
)
def test_json_that_is_no_message_is_refused(record: bytes) -> None:
    with pytest.raises(ProtocolError):
        JSON.decode(record)


@pytest.mark.parametrize(
    "record",
    [
        "",
        "06",  # a number
        "90",  # no type
        "80",
        "c0",
        "c1",  # never used by MessagePack
        "a16a",
        "91a136",  # "6"
        "9190",  # [[]]
        "91c3",
        "910600",  # a byte too much
        "9206",  # an item too few
        "92dbffffffff",  # 4 GB of text
        "ddffffffff06",  # 4 billion items
        "9601c080a17490ddffffffff",
        "9501c0c0c090",  # no target
        "9501c0c0a174c0",  # arguments: nil
        "9501c0c0a17480",
        "9501c0c0a174a0",
        "9501c0c0a174dcffff",
        "950180c0a1ff90",  # a target that is no UTF-8
        "950181a1ffa0c0a17490",
        "950190c0a17490",  # headers are no array
        "95018101a0c0a17490",
        "950181a10101c0a17490",
        "95018001a17490",  # an id is text
        "960180c0a174909101",
        "930280a131",  # a stream item without the item
        "930380a131",  # a completion without its kind
        "940380a13100",
        "940380a13101",  # an error without it
        "940380a13103",  # a result without it
        "950380a1310401",  # no such kind
        "950380a1310101",  # an error is text
        "950380a13101a1ff",
        "940380a131a132",
        "950480c0a17490",  # a stream has an id
        "930580c0",
        "9107",
        "920701",
        "9307c0c0",
        "9108",
        "9208a131",
        "9209ca3f800000",
    ],
)
def test_messagepack_that_is_no_message_is_refused(record: str) -> None:
    with pytest.raises(ProtocolError):
        MESSAGEPACK.decode(bytes.fromhex(record))


@pytest.mark.parametrize(
    "record",
    [
        b'{"type":0}',
        b'{"type":10}',
        b'{"type":-1}',
        b'{"type":123456789012345678901234567890}',
        b'{"target":[],"type":99}',
        b'{"type":99,"arguments":{"type":[]}}',
    ],
)
def test_json_of_an_unknown_type_is_ignored(record: bytes) -> None:
    assert JSON.decode(record) is None


@pytest.mark.parametrize("record", ["9100", "910a", "91ff", "91cd0400", "926380", "9263c0", "9263"])
def test_messagepack_of_an_unknown_type_is_ignored_where_it_is_whole(record: str) -> None:
    if record == "9263":
        with pytest.raises(ProtocolError):
            MESSAGEPACK.decode(bytes.fromhex(record))
    else:
        assert MESSAGEPACK.decode(bytes.fromhex(record)) is None


def deep_json(depth: int) -> list[bytes]:
    nested = b"[" * depth + b"]" * depth
    objects = b'{"a":' * depth + b"1" + b"}" * depth
    return [
        nested,
        b"[" * depth,
        objects,
        b'{"type":' + nested + b"}",
        b'{"type":99,"x":' + nested + b"}",
        b'{"type":99,"x":' + b"[" * depth,
        b'{"type":1,"headers":' + nested + b"}",
        b'{"type":1,"target":"t","arguments":' + nested + b"}",
        b'{"type":1,"target":"t","arguments":' + b"[" * depth,
        b'{"type":1,"target":"t","arguments":[' + objects + b"]}",
        b'{"x":' + nested + b',"type":6}',
        b'{"type":3,"invocationId":"1","result":' + nested + b"}",
    ]


def deep_messagepack(depth: int) -> list[bytes]:
    nested = b"\x91" * depth + b"\x90"
    return [
        nested,
        b"\x91" * depth,
        b"\x81\xa1a" * depth + b"\x80",
        b"\x91" + nested,
        b"\x92\x63" + nested,
        b"\x96\x01" + nested,
        b"\x96\x01\x80\xc0\xa1t" + nested + b"\x90",
        b"\x96\x01\x80\xc0\xa1t" + b"\x91" * depth,
        b"\x95\x03\x80\xa11\x03" + nested,
        b"\x95\x03\x80\xa11\x01" + nested,
    ]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("shape", range(12))
def test_deeply_nested_json_is_refused(depth: int, shape: int) -> None:
    with pytest.raises(ProtocolError):
        JSON.decode(deep_json(depth)[shape])


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("shape", range(10))
def test_deeply_nested_messagepack_is_refused(depth: int, shape: int) -> None:
    with pytest.raises(ProtocolError):
        MESSAGEPACK.decode(deep_messagepack(depth)[shape])


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deeply_nested_argument_has_no_value(depth: int) -> None:
    with pytest.raises(ProtocolError, match="Not JSON"):
        JSON.decode_value(msgspec.Raw(b"[" * depth + b"]" * depth))
    with pytest.raises(ProtocolError, match="Not MessagePack"):
        MESSAGEPACK.decode_value(msgspec.Raw(b"\x91" * depth + b"\x90"))


@pytest.mark.parametrize(
    "argument",
    [
        "a1ff",  # text that is no UTF-8
        "8180c0",  # a map as a key
        "d4ff00",  # a timestamp of one byte
        "c70cff7fffffff7fffffffffffffff",  # a time that no calendar holds
        "c1",
        "ddffffffff",
    ],
)
def test_a_messagepack_argument_without_a_value_is_refused(argument: str) -> None:
    with pytest.raises(ProtocolError, match="Not MessagePack"):
        MESSAGEPACK.decode_value(msgspec.Raw(bytes.fromhex(argument)))


def test_an_argument_that_nobody_opens_may_be_any_messagepack() -> None:
    body = bytes.fromhex("9501c0c0a17492a1ffd40501")
    message = MESSAGEPACK.decode(body)
    assert isinstance(message, Invocation)
    assert bytes(message.arguments) == bytes.fromhex("92a1ffd40501")


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"protocol":"json"}',
        b'{"version":1}',
        b'{"protocol":1,"version":1}',
        b'{"protocol":["json"],"version":1}',
        b'{"protocol":"json","version":"1"}',
        b'{"protocol":"json","version":null}',
        b'{"protocol":"json","version":1.5}',
        b'{"protocol":"\xff","version":1}',
        b'{"protocol":"\\ud800","version":1}',
        b'{"protocol":"json","version":' + b"1" * 5000 + b"}",
        b'{"x":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"protocol":"json","version":1}',
    ],
)
def test_what_is_no_handshake_request_is_refused(record: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a handshake request"):
        decode_handshake_request(record)


@pytest.mark.parametrize(
    "record",
    [b"", b"[]", b"null", b"\xff", b'{"error":1}', b'{"error":"\xff"}', b'{"x":' + b"[" * 100_000],
)
def test_what_is_no_handshake_response_is_refused(record: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a handshake response"):
        decode_handshake_response(record)


def test_a_hub_message_in_place_of_a_handshake_response_is_named() -> None:
    with pytest.raises(ProtocolError, match="got a hub message"):
        decode_handshake_response(b'{"type":6}')


@given(value=wrong_objects)
def test_handshakes_of_wrong_types_do_no_more_than_be_refused(value: Any) -> None:
    record = msgspec.json.encode(value)
    for decode in (decode_handshake_request, decode_handshake_response):
        with suppress(ProtocolError):
            decode(record)
