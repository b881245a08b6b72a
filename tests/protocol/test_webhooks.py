"""Webhooks, made by one end and read by the other."""

from typing import Any

import msgspec
import pytest

from hubbub.protocol.codec import CODECS, JSON, MESSAGEPACK, Codec
from hubbub.protocol.messages import Completion, Invocation, StreamInvocation
from hubbub.protocol.webhooks import (
    CONTENT_TYPES,
    FULL_SIGNATURE,
    STREAM_ID,
    Event,
    WebhookError,
    connected_body,
    disconnected_body,
    event_headers,
    full_signature,
    invocation_body,
    parse_webhook,
    receive_webhook,
)

KEYS = ("7aab239577fd4f24bc919802fb629f5f", "a5f2815d0d0c4b00bd27e832432f91ab")
CONNECTION = "0f9c97a2f0bf4706afe87a14e0797b11"
NOW = 1_700_000_000
EVENT = Event(hub="chat", category="messages", event="hello", connection_id=CONNECTION)
CODEC = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


def call(codec: Codec, *arguments: Any, id_: str | None = "7", target: str = "hello") -> bytes:
    raw = codec.encode_value(list(arguments))
    return invocation_body(Invocation(target=target, arguments=raw, invocation_id=id_), codec)


def headers(codec: Codec = JSON, **members: Any) -> dict[str, str]:
    return event_headers(msgspec.structs.replace(EVENT, **members), KEYS, CONTENT_TYPES[codec.name])


def test_an_event_is_announced_in_the_originals_headers() -> None:
    event = Event(
        hub="chat",
        category="messages",
        event="hello",
        connection_id=CONNECTION,
        user_id="bob",
        claims={"role": "admin"},
        query="hub=chat&a=1",
    )

    assert event_headers(event, KEYS, "application/json") == {
        "Content-Type": "application/json",
        "X-ASRS-Connection-Id": CONNECTION,
        "X-ASRS-Hub": "chat",
        "X-ASRS-Category": "messages",
        "X-ASRS-Event": "hello",
        "X-ASRS-Signature": (
            "sha256=7767effcb3946f3e1de039df4b986ef02c110b1469d02c0a06f41b3b727ab561,"
            "sha256=d4aefb65547a00a9881fa8ac8bd03d0faf77af9da5205d45c6e57cbda4377760"
        ),
        "X-ASRS-User-Id": "bob",
        "X-ASRS-User-Claims": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role: admin",
        "X-ASRS-Client-Query": "?hub=chat&a=1",
    }


@pytest.mark.parametrize("user_id", [None, ""])
def test_what_there_is_none_of_has_no_header(user_id: str | None) -> None:
    names = headers(user_id=user_id).keys()

    absent = {"X-ASRS-User-Id", "X-ASRS-User-Claims", "X-ASRS-Client-Query", STREAM_ID}
    assert not names & absent


@pytest.mark.parametrize(
    ("codec", "id_", "body"),
    [
        (JSON, "0", b'{"type":1,"invocationId":"0","target":"m","arguments":[1,"\xc3\xa4"]}'),
        (JSON, None, b'{"type":1,"target":"m","arguments":[1,"\xc3\xa4"]}'),
        (MESSAGEPACK, "0", b"\x96\x01\x80\xa10\xa1m\x92\x01\xa2\xc3\xa4\x90"),
        (MESSAGEPACK, None, b"\x96\x01\x80\xc0\xa1m\x92\x01\xa2\xc3\xa4\x90"),
    ],
)
def test_a_call_goes_out_as_the_client_encodes_it_without_framing(
    codec: Codec, id_: str | None, body: bytes
) -> None:
    assert call(codec, 1, "ä", id_=id_, target="m") == body


def test_headers_and_streams_of_a_call_stay_here() -> None:
    message = Invocation(
        target="m",
        arguments=JSON.encode_value([]),
        headers={"a": "b"},
        stream_ids=("1",),
    )

    assert invocation_body(message, JSON) == b'{"type":1,"target":"m","arguments":[]}'


@CODEC
@pytest.mark.parametrize("id_", ["7", " é/%20 "])
def test_the_call_of_a_stream_is_an_invocation_with_one_more_header(codec: Codec, id_: str) -> None:
    raw = codec.encode_value([1])
    asked = StreamInvocation(target="hello", arguments=raw, invocation_id=id_, stream_ids=("1",))

    body = invocation_body(asked, codec)
    webhook = parse_webhook(headers(codec, stream_id=id_), body)

    assert body == call(codec, 1, id_=id_)
    assert (webhook.stream_id, webhook.arguments, webhook.wants_answer) == (id_, [1], True)
    assert parse_webhook(headers(codec), body).stream_id is None


@pytest.mark.parametrize("id_", ["8", None])
def test_a_stream_that_is_not_that_of_the_body_is_refused(id_: str | None) -> None:
    with pytest.raises(WebhookError, match="X-Hubbub-Stream-Id is not the id") as caught:
        parse_webhook(headers(stream_id="7"), call(JSON, id_=id_))

    assert caught.value.status == 400


@CODEC
def test_an_app_reads_what_the_client_said(codec: Codec) -> None:
    webhook = receive_webhook(
        headers(codec, user_id="Jürgen", claims={"a": "b"}, query="x=1"),
        call(codec, "ä", {"b": [1.5, None]}),
        KEYS[1:],
    )

    assert (webhook.hub, webhook.category, webhook.event) == ("chat", "messages", "hello")
    assert (webhook.connection_id, webhook.user_id) == (CONNECTION, "Jürgen")
    assert (webhook.claims, webhook.query) == ({"a": "b"}, {"x": "1"})
    assert webhook.arguments == ["ä", {"b": [1.5, None]}]
    assert webhook.wants_answer


@CODEC
def test_an_app_answers_in_the_clients_encoding(codec: Codec) -> None:
    webhook = parse_webhook(headers(codec), call(codec))

    for body, expected in (
        (
            webhook.complete({"a": 1}),
            Completion(invocation_id="7", result=codec.encode_value({"a": 1})),
        ),
        (webhook.complete(), Completion(invocation_id="7", result=codec.encode_value(None))),
        (webhook.fail("no"), Completion(invocation_id="7", error="no")),
    ):
        assert body == codec.encode(expected)


@CODEC
def test_a_send_is_answered_with_nothing(codec: Codec) -> None:
    webhook = parse_webhook(headers(codec), call(codec, id_=None))

    assert not webhook.wants_answer
    assert webhook.complete(1) == webhook.fail("no") == b""


def test_a_new_connection_is_told_of() -> None:
    webhook = parse_webhook(headers(category="connections", event="connected"), connected_body())

    assert connected_body() == b'{"type":10}'
    assert webhook.invocation is None
    assert webhook.arguments == []
    assert not webhook.wants_answer
    assert webhook.complete() == b""


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (disconnected_body(None), None),
        (disconnected_body('a "b"'), 'a "b"'),
        (b'{"Type":11}', None),  # UP-03: the emulator writes capitals
        (b'{"Type":11,"Error":"boom"}', "boom"),
        (b'{"type":11,"error":""}', None),
    ],
)
def test_the_end_of_a_connection_says_what_was_wrong(body: bytes, error: str | None) -> None:
    assert parse_webhook(headers(category="connections", event="disconnected"), body).error == error


def test_disconnected_is_said_in_the_documented_members() -> None:
    assert disconnected_body(None) == b'{"type":11}'
    assert disconnected_body("x") == b'{"type":11,"error":"x"}'


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (
            {"Content-Type": "text/plain"},
            415,
            "application/json or application/x-msgpack, not text",
        ),
        ({"Content-Type": ""}, 415, "not nothing"),
        ({"X-ASRS-Hub": ""}, 400, "X-ASRS-Hub is missing or empty"),
        ({"X-ASRS-Category": ""}, 400, "X-ASRS-Category is missing or empty"),
        ({"X-ASRS-Event": ""}, 400, "X-ASRS-Event is missing or empty"),
        ({"X-ASRS-Connection-Id": ""}, 400, "X-ASRS-Connection-Id is missing or empty"),
        ({"X-ASRS-Event": "other"}, 400, "calls 'hello' and the header X-ASRS-Event 'other'"),
        ({"X-ASRS-Signature": "sha256=00"}, 401, "please check the Signature"),
        ({"X-ASRS-Signature": ""}, 401, "please check the Signature"),
        ({"X-ASRS-Connection-Id": "another"}, 401, "please check the Signature"),
    ],
)
def test_a_wrong_head_is_answered_with_what_is_wrong(
    change: dict[str, str], status: int, words: str
) -> None:
    with pytest.raises(WebhookError, match=words) as caught:
        receive_webhook(headers() | change, call(JSON), KEYS)
    assert caught.value.status == status


def test_headers_are_found_in_any_case_and_with_parameters() -> None:
    given = {name.lower(): value for name, value in headers().items()}
    given |= {"content-type": "application/json; charset=utf-8", "X-ASRS-EVENT": "ignored"}

    assert receive_webhook(given, call(JSON), KEYS).event == "hello"


def test_a_name_that_was_percent_encoded_fits_the_body() -> None:
    for target in ("héllo", "a%C3%A9b", "HELLO"):
        webhook = parse_webhook(headers(event=target), call(JSON, target=target))
        assert webhook.invocation is not None
        assert webhook.invocation.target == target


@CODEC
@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b"\x91" * 100_000, b'{"type":6}', b"\x91\x06"],
    ids=repr,
)
def test_a_body_that_is_no_call_is_refused(codec: Codec, body: bytes) -> None:
    with pytest.raises(WebhookError, match="The body is") as caught:
        parse_webhook(headers(codec), body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"error":1}', b'{"a":' * 100_000, b'{"error":"\xff"}']
)
def test_a_body_that_does_not_say_how_it_ended_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookError, match="does not say how it ended"):
        parse_webhook(headers(category="connections", event="disconnected"), body)


def test_arguments_that_cannot_be_opened_are_the_senders_fault() -> None:
    webhook = parse_webhook(headers(MESSAGEPACK), b"\x95\x01\x80\xc0\xa5hello\x91\xa1\xff")

    with pytest.raises(WebhookError, match="arguments cannot be read"):
        _ = webhook.arguments


def test_a_full_signature_is_checked_where_it_is_asked_for() -> None:
    body = call(JSON)
    given = headers(user_id="bob")
    given[FULL_SIGNATURE] = full_signature(given, body, KEYS, now=NOW)

    assert receive_webhook(given, body, KEYS, now=NOW + 1).user_id == "bob"
    for change in ({"X-ASRS-User-Id": "alice"}, {FULL_SIGNATURE: ""}):
        with pytest.raises(WebhookError, match="full signature") as caught:
            receive_webhook(given | change, body, KEYS, now=NOW + 1)
        assert caught.value.status == 401
