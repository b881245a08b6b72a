"""The SignalR trigger: what a service tells, and what it and its client are answered."""

import hmac
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.functions.apps import Answer, Service, call

from hubbub.functions.host import Host
from hubbub.protocol import challenge

Load = Callable[..., Host]

KEY = "key-of-the-tests-that-is-long-enough"
SETTINGS = {"AzureSignalRConnectionString": f"Endpoint=http://localhost:1;AccessKey={KEY};"}
URL = "/runtime/webhooks/signalr"


def trigger(
    event: str = "say",
    body: str = "return json.loads(context)",
    *,
    category: str = "messages",
    extra: str = "",
    name: str = "listen",
) -> str:
    return f"""
@app.generic_trigger(arg_name="context", type="signalRTrigger", hubName="Chat",
    category="{category}", event="{event}", {extra})
def {name}(context):
    {body}
"""


def sign(connection_id: str = "c1", key: str = KEY) -> str:
    return "sha256=" + hmac.digest(key.encode(), connection_id.encode(), "sha256").hex()


def headers(**changes: str | None) -> list[tuple[str, str]]:
    """The headers of a webhook; a keyword changes or, with None, removes one."""
    given: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-ASRS-Connection-Id": "c1",
        "X-ASRS-Hub": "chat",
        "X-ASRS-Category": "messages",
        "X-ASRS-Event": "say",
        "X-ASRS-Signature": sign(),
    }
    given |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [(name, value) for name, value in given.items() if value is not None]


def message(*arguments: Any, target: str = "say", id_: str | None = None) -> bytes:
    record = {"type": 1, "target": target, "arguments": arguments}
    return json.dumps(record if id_ is None else record | {"invocationId": id_}).encode()


async def tell(host: Host, body: bytes = b"", **changes: str | None) -> Answer:
    return await call(host, "POST", URL, headers=headers(**changes), body=body)


def completion(answer: Answer) -> dict[str, Any]:
    """The one framed completion in a JSON client's answer."""
    assert answer.status == 200
    assert answer.header("content-type") is None
    assert answer.body.endswith(b"\x1e")
    completed: dict[str, Any] = json.loads(answer.body[:-1])
    assert completed.pop("type") == 3
    return completed


async def test_a_function_gets_the_context_as_documented(load: Load) -> None:
    host = load(trigger(), SETTINGS)

    answer = await tell(
        host,
        message("hé", {"a": [1, None]}, 1.5, id_="7"),
        X_ASRS_User_Id="bob",
        X_ASRS_User_Claims="k1: v1, k1: v2, k2: v3",
        X_ASRS_Client_Query="?k1=v1&k1=v2&k2=v3",
        K1="v1",
        Content_Length="1",
    )
    completed = completion(answer)
    context = completed["result"]

    assert completed["invocationId"] == "7"
    seen = context.pop("Headers")
    assert list(context.items()) == [
        ("Arguments", ["hé", {"a": [1, None]}, 1.5]),
        ("Error", None),
        ("Category", "messages"),
        ("Event", "say"),
        ("Hub", "chat"),
        ("ConnectionId", "c1"),
        ("UserId", "bob"),
        ("Query", {"k1": "v1,v2", "k2": "v3"}),
        ("Claims", {"k1": "v1", "k2": "v3"}),
    ]
    assert seen["x-asrs-connection-id"] == "c1"
    assert seen["k1"] == "v1"
    assert not [name for name in seen if name.startswith("content-")]


async def test_what_an_anonymous_client_has_not_is_null(load: Load) -> None:
    host = load(trigger(), SETTINGS)

    context = completion(await tell(host, message(id_="1")))["result"]

    assert (context["UserId"], context["Query"], context["Claims"]) == (None, None, None)
    assert context["Arguments"] == []


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ('"text"', "text"),
        ("'{\"a\": 1}'", '{"a": 1}'),
        ('{"Ab": [1, {"c": None}]}', {"Ab": [1, {"c": None}]}),
        ("[1, 2]", [1, 2]),
        ("5", 5),
        ("1.5", 1.5),
        ("True", True),
        ("None", None),
        ('b"\\x00\\xff"', "AP8="),
    ],
)
async def test_what_a_function_returns_is_the_result_for_who_has_invoked(
    load: Load, expression: str, result: Any
) -> None:
    host = load(trigger(body=f"return {expression}"), SETTINGS)

    assert completion(await tell(host, message(id_="a"))) == {"invocationId": "a", "result": result}


async def test_a_messagepack_client_is_answered_in_messagepack(load: Load) -> None:
    host = load(trigger(), SETTINGS)
    arguments = ["x", b"\x00\xff", {"a": 1, 2: "no text key"}, 2**63, msgspec.msgpack.Ext(5, b"e")]
    body = msgspec.msgpack.encode([1, {}, "9", "SAY", arguments, []])

    answer = await tell(host, body, Content_Type="application/x-msgpack")

    length, record = answer.body[0], answer.body[1:]
    if length & 0x80:  # a length of two bytes
        length, record = length & 0x7F | answer.body[1] << 7, answer.body[2:]
    kind, _, id_, tag, result = msgspec.msgpack.decode(record)
    assert length == len(record)
    assert (kind, id_, tag) == (3, "9", 3)
    assert result["Arguments"] == ["x", "AP8=", {"a": 1}, 2**63, None]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('raise ValueError("boom")', "ValueError: boom"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyError", "KeyError"),
        ("return object()", "The result cannot be encoded."),
        ("return [object()]", "The result cannot be encoded."),
    ],
)
async def test_a_failure_is_the_error_of_who_has_invoked_and_of_nobody_else(
    load: Load, log: pytest.LogCaptureFixture, body: str, words: str
) -> None:
    host = load(trigger(body=body), SETTINGS)

    sent = await tell(host, message())
    invoked = completion(await tell(host, message(id_="a")))

    assert (sent.status, sent.body) == (200, b"")
    assert invoked == {"invocationId": "a", "error": words}
    assert "Traceback" not in invoked["error"]


async def test_a_failure_of_a_binding_does_not_tell_the_client_what_it_was(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    out = '\n@app.generic_output_binding(arg_name="$return", type="signalR", hubName="{nothing}")'
    host = load(out + trigger(body='return {"target": "t"}'), SETTINGS)

    completed = completion(await tell(host, message(id_="a")))

    assert completed["error"] == "Method execution failed."
    assert "No value for named parameter 'nothing'." in log.text


async def test_connected_can_be_refused_and_disconnected_cannot(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    on = 'context = json.loads(context); assert context["UserId"] == "bob"; return "ignored"'
    host = load(
        trigger("Connected", on, category="Connections", name="come")
        + trigger("disconnected", on, category="connections", name="go"),
        SETTINGS,
    )
    about = {"X_ASRS_Category": "connections"}
    answers = [
        await tell(host, body, **about, X_ASRS_Event=event, X_ASRS_User_Id=user)
        for event, body in (("connected", b'{"type":10}'), ("disconnected", b'{"Type":11}'))
        for user in ("bob", "eve")
    ]
    assert [answer.status for answer in answers] == [200, 403, 200, 200]
    assert [answer.body for answer in answers] == [b""] * 4


@pytest.mark.parametrize("name", ["Error", "error"])
async def test_a_disconnected_function_learns_the_reason(load: Load, stage: Any, name: str) -> None:
    body = "import stage_of_test; stage_of_test.context = json.loads(context)"
    host = load(trigger("disconnected", body, category="connections"), SETTINGS)

    ended = json.dumps({"type": 11, name: "went away"}).encode()
    await tell(host, ended, X_ASRS_Category="connections", X_ASRS_Event="disconnected")

    assert stage.context["Error"] == "went away"
    assert stage.context["Arguments"] is None


@pytest.mark.parametrize(
    ("changes", "body", "status"),
    [
        ({"Content_Type": "text/plain"}, message(), 415),
        ({"Content_Type": "Application/JSON"}, message(), 415),
        ({"Content_Type": None}, message(), 415),
        ({"Content_Type": "application/json; charset=utf-8"}, message(), 200),
        ({"X_ASRS_Hub": ""}, message(), 400),
        ({"X_ASRS_Event": None}, message(), 400),
        ({"X_ASRS_Hub": "other"}, message(), 404),
        ({"X_ASRS_Hub": "CHAT", "X_ASRS_Category": "Messages", "X_ASRS_Event": "SAY"},
         message(target="Say"), 200),
        # An unknown event counts before what the body and the signature say.
        ({"X_ASRS_Event": "other", "X_ASRS_Signature": None}, b"garbage", 404),
        ({"X_ASRS_Connection_Id": None}, message(), 400),
        ({}, b"garbage", 400),
        ({}, b"", 400),
        ({}, b"[" * 100_000, 400),
        ({}, b'{"type":1,"target":"say","arguments":["\xff"]}', 400),
        ({}, b'{"type":1,"target":"say","arguments":{}}', 400),
        ({}, b'{"type":3,"invocationId":"1"}', 400),
        ({}, message(target="other"), 400),
        ({"Content_Type": "application/x-msgpack"}, message(), 400),
        ({"X_ASRS_Signature": None}, message(), 401),
        ({"X_ASRS_Signature": ""}, message(), 401),
        ({"X_ASRS_Signature": sign(key="another key")}, message(), 401),
        ({"X_ASRS_Signature": sign("c2")}, message(), 401),
        ({"X_ASRS_Signature": "sha256=é"}, message(), 401),
        ({"X_ASRS_Signature": f"sha256=00, {sign().upper().replace('SHA', 'sha')}"},
         message(), 200),
    ],
)  # fmt: skip
async def test_a_webhook_is_checked_before_its_function_runs(
    load: Load, stage: Any, changes: dict[str, str | None], body: bytes, status: int
) -> None:
    stage.runs = 0
    host = load(trigger(body="import stage_of_test; stage_of_test.runs += 1"), SETTINGS)

    answer = await tell(host, body, **changes)

    assert (answer.status, answer.body) == (status, b"")
    assert stage.runs == (1 if status == 200 else 0)


@pytest.mark.parametrize(
    ("settings", "signed_by", "wanted"),
    [
        (SETTINGS, "another key", challenge.ACCESS_KEY),
        (SETTINGS | {"HUBBUB_FULL_WEBHOOK_SIGNATURE": "1"}, None, challenge.FULL_SIGNATURE),
        ({}, "another key", challenge.NO_ACCESS_KEY),
    ],
)
async def test_a_refusal_says_which_check_has_failed(
    load: Load, settings: dict[str, str], signed_by: str | None, wanted: str
) -> None:
    host = load(trigger(), settings)

    signature = sign() if signed_by is None else sign(key=signed_by)
    answer = await tell(host, message(), X_ASRS_Signature=signature)

    assert (answer.status, answer.header("www-authenticate")) == (401, wanted)


async def test_every_key_of_the_setting_is_good(load: Load) -> None:
    second = "another-key-that-is-long-enough-too"
    extra = {"Azure__SignalR__Endpoints__B": f"Endpoint=http://b;AccessKey={second};"}
    host = load(trigger(), SETTINGS | extra)

    assert (await tell(host, message(), X_ASRS_Signature=sign(key=second))).status == 200
    assert (await tell(host, message())).status == 200


async def test_a_setting_without_an_endpoint_lets_nobody_in(load: Load) -> None:
    host = load(trigger(), {})

    assert (await tell(host, message())).status == 401
    assert "Needed by: listen." in host.warnings[0]


async def test_an_endpoint_without_a_key_switches_the_check_off_and_says_so(load: Load) -> None:
    identity = {"AzureSignalRConnectionString": "Endpoint=http://localhost:1;AuthType=azure.msi;"}
    host = load(trigger(), identity)

    assert (await tell(host, message(), X_ASRS_Signature=None)).status == 200
    assert any("signatures of its webhooks are not checked" in text for text in host.warnings)


async def test_arguments_are_names_for_other_bindings(load: Load, service: Service) -> None:
    out = '\n@app.generic_output_binding(arg_name="$return", type="signalR", hubName="{Room}")'
    host = load(
        out + trigger(body='return {"target": "t"}', extra='parameterNames=["room", "hub"]'),
        {"AzureSignalRConnectionString": service.connection_string},
    )
    signature = sign(key=service.key)

    answer = await tell(host, message("green", "x", id_="a"), X_ASRS_Signature=signature)
    wrong = await tell(host, message("green", id_="b"), X_ASRS_Signature=signature)

    # The value goes to the binding, and to the caller too.
    assert completion(answer)["result"] == {"target": "t"}
    assert [path for _, path, _ in service.calls] == ["/api/hubs/green/:send"]
    assert completion(wrong)["error"] == ("The function accept 2 arguments but message provided 1.")


async def test_an_argument_never_stands_for_what_the_service_says(
    load: Load, service: Service
) -> None:
    out = '\n@app.generic_output_binding(arg_name="$return", type="signalR", hubName="{UserId}")'
    host = load(
        out + trigger(body='return {"target": "t"}', extra='parameterNames=["userid"]'),
        {"AzureSignalRConnectionString": service.connection_string},
    )
    changes = {"X_ASRS_Signature": sign(key=service.key), "X_ASRS_User_Id": "bob"}

    await tell(host, message("admin"), **changes)

    assert [path for _, path, _ in service.calls] == ["/api/hubs/bob/:send"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (trigger("say") + trigger("SAY", name="other"),
         "Duplicated key parameter hub: chat, category: messages, event: say"),
        (trigger("started", category="connections"), "Event started is not supported in conn"),
        (trigger(category="other"), "Category other is not supported"),
        (trigger(extra='parameterNames=["a", "A"]'), "should be ignore case unique"),
        (trigger(extra='parameterNames="a"'), "'parameterNames' must be a list of names"),
        (trigger(extra='connectionStringSetting=" "'), "cannot be null or whitespace"),
        (trigger("%EVENT%"), "'%EVENT%' does not resolve to a value."),
        (trigger(""), "needs a 'event'"),
    ],
)  # fmt: skip
async def test_a_trigger_that_is_declared_wrongly_is_refused(
    load: Load, source: str, reason: str
) -> None:
    host = load(source, SETTINGS)

    assert [reason in str(refusal) for refusal in host.refused] == [True]


async def test_an_app_without_triggers_has_no_webhook_and_a_get_is_none(load: Load) -> None:
    none = load('\n@app.route()\ndef hello(req):\n    return "ok"\n')
    host = load(trigger(), SETTINGS)

    assert (await call(none, "POST", URL)).status == 404
    assert (await call(host, "GET", URL)).status == 405
    assert (await call(host, "POST", "/runtime/webhooks/other")).status == 404


async def test_listeners_are_listed_with_their_event(load: Load) -> None:
    (info,) = load(trigger(), SETTINGS).listing("http://localhost:7071")

    assert (info.trigger, info.url, info.detail) == ("signalRTrigger", "", "chat messages say")


async def test_a_failed_listener_is_tried_again_as_its_policy_says(
    load: Load, stage: Any, log: pytest.LogCaptureFixture
) -> None:
    stage.seen = []
    host = load(
        """
@app.retry("fixed_delay", "2", delay_interval="00:00:00")
@app.generic_trigger(arg_name="event", type="signalRTrigger", hubName="chat",
    category="messages", event="say")
def listen(event, context):
    import stage_of_test
    retry = context.retry_context
    stage_of_test.seen.append((retry.retry_count, retry.max_retry_count,
                               retry.exception and retry.exception.message))
    if retry.retry_count < 2:
        raise ValueError(f"try {retry.retry_count}")
    return "at last"
""",
        SETTINGS,
    )
    assert completion(await tell(host, message(id_="a")))["result"] == "at last"
    assert stage.seen == [(0, 2, None), (1, 2, "try 0"), (2, 2, "try 1")]
