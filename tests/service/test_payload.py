"""The three forms of a send's body, and what clients of each encoding get of them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.running import Service
from tests.vectors.reading import cases, read

from hubbub.protocol.codec import CODECS, JSON, MESSAGEPACK
from hubbub.protocol.messages import Invocation
from hubbub.service.calls import RestError
from hubbub.service.payload import decode_payload

SEND = "/api/hubs/chat/:send"
VECTORS = read("rest_bodies")
# Whatever JSON and MessagePack both have; MessagePack has no integers beyond 64 bits.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def arguments_of(body: bytes, kind: str, encoding: str) -> tuple[str, Any]:
    """What a client of `encoding` is asked to invoke."""
    codec = CODECS[encoding]
    message = decode_payload(body, kind).invocation(codec, "1")
    assert isinstance(message, Invocation)
    assert message.invocation_id == "1"
    return message.target, codec.decode_value(message.arguments)


@pytest.mark.parametrize("encoding", CODECS)
@pytest.mark.parametrize("vector", cases(VECTORS["json"]))
def test_json_is_read_as_sdks_and_people_write_it(vector: dict[str, Any], encoding: str) -> None:
    found = arguments_of(vector["text"].encode(), "application/json", encoding)

    assert found == (vector["target"], vector["arguments"])


@pytest.mark.parametrize("encoding", CODECS)
def test_ready_records_are_read_as_sdks_write_them(encoding: str) -> None:
    vector = VECTORS["octet_stream"]

    found = arguments_of(bytes.fromhex(vector["bytes"]), "application/octet-stream", encoding)

    assert found == (vector["target"], vector["arguments"])


def test_names_in_two_styles_lose_no_arguments() -> None:
    body = b'{"Target":"x","arguments":[1]}'

    assert arguments_of(body, "application/json", "json") == ("x", [1])


@pytest.mark.parametrize(
    "value",
    [
        {"target": "x", "arguments": [1, "a"]},
        {"Target": "x", "Arguments": [1, "a"], "more": {}},
        ["x", [1, "a"]],
    ],
)
@pytest.mark.parametrize("encoding", CODECS)
def test_messagepack_is_read_as_a_map_or_an_array(value: Any, encoding: str) -> None:
    body = msgspec.msgpack.encode(value)

    assert arguments_of(body, "application/x-msgpack", encoding) == ("x", [1, "a"])


@pytest.mark.parametrize("value", [{"target": "x"}, {"target": "x", "arguments": None}])
def test_absent_arguments_are_none(value: Any) -> None:
    body = msgspec.msgpack.encode(value)

    assert arguments_of(body, "application/x-msgpack", "json") == ("x", [])


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ({}, "target"),
        ({"target": 1}, "body"),
        ({"target": ""}, "target"),
        ({"target": "x", "arguments": 1}, "arguments"),
        ({"target": "x", "arguments": {}}, "arguments"),
        ({"target": "x", "arguments": [msgspec.msgpack.Ext(5, b"?")]}, "arguments"),
        ({"target": "x", "arguments": [{(1, 2): 3}]}, "arguments"),
        (["x"], "body"),
        ("x", "body"),
    ],
)
def test_messagepack_that_is_no_message_is_refused(value: Any, target: str) -> None:
    with pytest.raises(RestError) as refused:
        decode_payload(msgspec.msgpack.encode(value), "application/x-msgpack")

    assert (refused.value.status, refused.value.target) == (400, target)


@given(target=st.text(min_size=1), arguments=st.lists(VALUES, max_size=4))
def test_every_form_says_the_same_in_every_encoding(target: str, arguments: list[Any]) -> None:
    invocation = {
        codec.name: codec.encode(Invocation(target=target, arguments=codec.encode_value(arguments)))
        for codec in CODECS.values()
    }
    content = {"target": target, "arguments": arguments}
    bodies = {
        "application/json": msgspec.json.encode(content),
        "application/x-msgpack": msgspec.msgpack.encode(content),
        "application/octet-stream": msgspec.msgpack.encode(invocation),
    }
    for kind, body in bodies.items():
        for encoding in CODECS:
            assert arguments_of(body, kind, encoding) == (target, arguments)


@given(st.binary(max_size=64), st.sampled_from(["octet-stream", "x-msgpack", "json"]))
def test_any_bytes_are_a_message_or_refused(body: bytes, kind: str) -> None:
    try:
        decode_payload(body, f"application/{kind}")
    except RestError as refusal:
        assert refusal.status == 400  # noqa: PT017


async def test_ready_records_go_out_as_they_came_in(service: Service) -> None:
    text, binary = await service.connect(), await service.connect(protocol="messagepack")
    json_record = b'{ "type": 1, "target": "t", "arguments": [ 1.50 ] }\x1e'
    pack_record = MESSAGEPACK.encode(
        Invocation(target="t", arguments=MESSAGEPACK.encode_value([b"\x00\xff"]))
    )
    body = msgspec.msgpack.encode({"json": json_record, "messagepack": pack_record})

    answer = await service.rest("POST", SEND, body, "application/octet-stream")

    assert answer.status == 202
    assert await text.frame() == json_record
    assert await binary.frame() == pack_record


async def test_a_client_whose_encoding_was_left_out_gets_the_next_message(service: Service) -> None:
    binary = await service.connect(protocol="messagepack")
    record = JSON.encode(Invocation(target="t", arguments=msgspec.Raw(b"[]")))
    body = msgspec.msgpack.encode({"json": record})

    assert (await service.rest("POST", SEND, body, "application/octet-stream")).status == 202
    await service.send("next")

    assert await binary.call() == ("next", [])
