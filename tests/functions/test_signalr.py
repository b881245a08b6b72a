"""The SignalR bindings against a service that records what it is asked."""

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from tests.functions.apps import Service, call

from hubbub.functions.host import Host

Load = Callable[..., Host]

SETTING = "AzureSignalRConnectionString"
SEND = """
@app.route(route="send")
@app.generic_output_binding(
    arg_name="signalRMessages", type="signalR", hubName="Chat",
    connectionStringSetting="AzureSignalRConnectionString")
def send(req: func.HttpRequest, signalRMessages) -> func.HttpResponse:
    signalRMessages.set(VALUE)
    return func.HttpResponse("sent")
"""


def negotiating(properties: str) -> str:
    return f"""
@app.route(route="negotiate", auth_level=func.AuthLevel.ANONYMOUS)
@app.generic_input_binding(arg_name="connectionInfo", type="signalRConnectionInfo", {properties})
def negotiate(req: func.HttpRequest, connectionInfo) -> func.HttpResponse:
    return func.HttpResponse(connectionInfo)
"""


async def sent(load: Load, service: Service, value: str) -> tuple[int, list[Any]]:
    """Run SEND with `value` as the output: the status, and the calls without the hub's address."""
    host = load(SEND.replace("VALUE", value), {SETTING: service.connection_string})
    status = (await call(host, "POST", "/api/send")).status
    start = "/api/hubs/chat"
    assert all(path.startswith(start) for _, path, _ in service.calls)
    return status, [(method, path[len(start) :], body) for method, path, body in service.calls]


def message(target: str, *arguments: Any) -> dict[str, Any]:
    return {"Target": target, "Arguments": list(arguments)}


@pytest.mark.parametrize(
    ("value", "calls"),
    [
        ('json.dumps({"target": "t", "arguments": [1]})', [("POST", "/:send", message("t", 1))]),
        ('{"Target": "t", "ARGUMENTS": [{"a": None}]}',
         [("POST", "/:send", message("t", {"a": None}))]),
        ('{"target": "t"}', [("POST", "/:send", message("t"))]),
        ('{"target": "t", "arguments": None, "userId": "", "groupName": ""}',
         [("POST", "/:send", message("t"))]),
        (('[{"target": "a", "arguments": []}, '
         '{"action": "add", "userId": "u", "groupName": "g"}, {"target": "b", "groupName": "g"}]'),
         [("POST", "/:send", message("a")), ("PUT", "/users/u/groups/g", None),
          ("POST", "/groups/g/:send", message("b"))]),
        ('json.dumps([{"target": "t", "userId": "a/b"}, {"target": "t", "connectionId": "c"}])',
         [("POST", "/users/a%2Fb/:send", message("t")),
          ("POST", "/connections/c/:send", message("t"))]),
        ('{"target": "t", "connectionId": "c", "userId": "u", "groupName": "g"}',
         [("POST", "/connections/c/:send", message("t"))]),
        ('{"target": "t", "userId": 5}', [("POST", "/users/5/:send", message("t"))]),
        ('{"target": "t", "action": "add", "userId": "u", "groupName": "g"}',
         [("POST", "/users/u/:send", message("t"))]),
        ('{"action": "REMOVE", "connectionId": "c", "groupName": "g"}',
         [("DELETE", "/groups/g/connections/c", None)]),
        ('{"action": 0, "connectionId": "c", "groupName": "g"}',
         [("PUT", "/groups/g/connections/c", None)]),
        ('{"action": "removeAll", "userId": "u"}', [("DELETE", "/users/u/groups", None)]),
        ("None", []),
        ("[]", []),
    ],
)  # fmt: skip
async def test_an_output_becomes_rest_calls_in_order(
    load: Load, service: Service, value: str, calls: list[Any]
) -> None:
    assert await sent(load, service, value) == (200, calls)


async def test_a_connection_can_leave_all_its_groups(load: Load, service: Service) -> None:
    calls = await sent(load, service, '{"action": "removeAll", "connectionId": "c"}')

    assert calls == (200, [("DELETE", "/connections/c/groups", None)])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"plain"', "no JSON object or array (Binding Object)"),
        ('"{broken}"', "broken JSON"),
        ("'[' * 100000 + ']'", "broken JSON"),
        ('b"{}"', 'unsupported type "signalR" for Python type "bytes"'),
        ("5", 'for Python type "int"'),
        ('({"target": "t"},)', 'for Python type "tuple"'),
        ('["{\\"target\\": \\"t\\"}"]', "Unsupport Binding Type."),
        ('{"target": "t", "arguments": [{1}]}', "is not JSON"),
        ('{"arguments": [1]}', "Unable to convert JObject to valid output binding type"),
        ('{"target": "t", "arguments": "no list"}', "Unable to convert JObject"),
        ('{"target": "t", "userId": ["u"]}', "Unable to convert JObject"),
        ('{"action": "delete", "userId": "u", "groupName": "g"}', "Unable to convert JObject"),
        ('{"target": ""}', "Argument cannot be null or empty."),
        ('{"action": "add", "groupName": "g"}',
         "ConnectionId and UserId cannot be null or empty together"),
        ('{"action": "add", "userId": "u"}', "groupName cannot be null or empty"),
        ('[{"target": "fine"}, {}]', "The item has no members"),
    ],
)  # fmt: skip
async def test_an_output_of_another_shape_fails_the_invocation_and_sends_nothing(
    load: Load, service: Service, log: pytest.LogCaptureFixture, value: str, words: str
) -> None:
    assert await sent(load, service, value) == (500, [])
    assert words in log.text
    assert "output 'signalRMessages'" in log.text
    assert "Traceback" not in log.text


async def test_a_call_is_signed_with_the_key_of_the_setting(load: Load, service: Service) -> None:
    await sent(load, service, '{"target": "t"}')

    claims = jwt.decode(service.tokens[0], service.key, ["HS256"], options={"verify_aud": False})
    assert claims["aud"] == f"{service.url}/api/hubs/chat/:send"


async def test_an_async_function_and_a_returned_dict_send_too(load: Load, service: Service) -> None:
    host = load(
        """
@app.route(binding_arg_name="res")
@app.generic_output_binding(arg_name="out", type="signalR", hubName="{query.hub}")
async def hello(req, res: func.Out[func.HttpResponse], out):
    return {"out": {"target": "t"}, "unknown": 1}

@app.route(binding_arg_name="res")
@app.generic_output_binding(arg_name="$return", type="signalR", hubName="%HUB%")
async def returns(req, res: func.Out[func.HttpResponse]):
    return '{"target": "r"}' if req.params else None
""",
        {SETTING: service.connection_string, "HUB": "FromSetting"},
    )
    assert (await call(host, "GET", "/api/hello?hub=One")).status == 204
    assert (await call(host, "GET", "/api/returns?x=1")).status == 204
    assert (await call(host, "GET", "/api/returns")).status == 204
    assert [path for _, path, _ in service.calls] == [
        "/api/hubs/one/:send",
        "/api/hubs/fromsetting/:send",
    ]


async def test_a_function_that_fails_sends_nothing(load: Load, service: Service) -> None:
    host = load(
        SEND.replace("VALUE", '{"target": "t"}').replace('"sent"', "{}"),
        {SETTING: service.connection_string},
    )
    assert (await call(host, "POST", "/api/send")).status == 500
    assert service.calls == []


async def test_a_refused_send_fails_the_invocation_and_names_the_setting(
    load: Load, service: Service, log: pytest.LogCaptureFixture
) -> None:
    service.status = 401

    status, calls = await sent(load, service, '[{"target": "a"}, {"target": "b"}]')

    assert (status, len(calls)) == (500, 1)
    assert f"could not be sent to {service.url}, the service of the setting '{SETTING}'" in log.text
    assert "Check that the AccessKey" in log.text
    assert service.key not in log.text
    assert service.tokens[0] not in log.text


@pytest.mark.parametrize("place", ["local.settings.json", "the environment"])
async def test_a_refused_send_says_where_the_setting_stands(
    load: Load, service: Service, log: pytest.LogCaptureFixture, place: str
) -> None:
    service.status = 401
    here, values = service.connection_string, {}
    if place == "local.settings.json":
        here, values = "", {SETTING: here}
    files = {"local.settings.json": {"IsEncrypted": False, "Values": values}}
    host = load(SEND.replace("VALUE", '{"target": "a"}'), {SETTING: here} if here else {}, files)

    await call(host, "POST", "/api/send")

    assert f"the service of the setting '{SETTING}' from {place}: Authorization failed" in log.text


async def test_a_service_that_is_away_fails_the_invocation_and_is_named(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    setting = "Endpoint=http://127.0.0.1;Port=1;AccessKey=key;Version=1.0;"
    host = load(SEND.replace("VALUE", '{"target": "t"}'), {SETTING: setting})

    assert (await call(host, "POST", "/api/send")).status == 500
    assert "could not be sent to http://127.0.0.1:1" in log.text
    assert "running and reachable from here?" in log.text


async def test_negotiate_gives_address_and_token(load: Load, service: Service) -> None:
    host = load(negotiating('hubName="Chat"'), {SETTING: service.connection_string})

    answer = await call(host, "POST", "/api/negotiate", headers=[("Origin", "http://page")])

    info = json.loads(answer.text)
    assert list(info) == ["url", "accessToken"]
    assert info["url"] == f"{service.url}/client/?hub=chat"
    claims = jwt.decode(
        info["accessToken"], service.key, ["HS256"], audience="http://127.0.0.1/client/?hub=chat"
    )
    assert claims["exp"] - claims["nbf"] == 3600
    assert "asrs.s.uid" not in claims


async def negotiated(load: Load, properties: str, **request: Any) -> tuple[int, dict[str, Any]]:
    """The status of a negotiate call, and the claims of the token."""
    host = load(
        negotiating(f'hubName="chat", connectionStringSetting="MY_SIGNALR", {properties}'),
        {
            "ConnectionStrings__MY_SIGNALR": "Endpoint=https://a.example;AccessKey=key-of-tests;",
            "HUBBUB_TRUST_PRINCIPAL_HEADERS": "true",
        },
    )
    answer = await call(host, "POST", "/api/negotiate" + request.pop("query", ""), **request)
    if answer.status != 200:
        return answer.status, {}
    token = json.loads(answer.text)["accessToken"]
    return 200, jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize(
    ("user_id", "request_", "user"),
    [
        ("{query.user}", {"query": "?user=bob"}, "bob"),
        ("{headers.x-ms-client-principal-id}", {"headers": [("X-MS-CLIENT-PRINCIPAL-ID", "p")]},
         "p"),
        ("{user}", {"body": b'{"user":"u1","tags":[1]}'}, "u1"),
        ("fixed", {}, "fixed"),
        ("", {}, ""),
    ],
)  # fmt: skip
async def test_the_user_comes_from_an_expression(
    load: Load, user_id: str, request_: dict[str, Any], user: str
) -> None:
    status, claims = await negotiated(load, f'userId="{user_id}"', **request_)

    assert (status, claims["asrs.s.uid"]) == (200, user)


@pytest.mark.parametrize("user_id", ["{headers.x-ms-client-principal-id}", "{query.u}", "{tags}"])
async def test_a_user_that_the_request_does_not_name_is_a_500(
    load: Load, log: pytest.LogCaptureFixture, user_id: str
) -> None:
    body = b'{"user":"u1","tags":[1]}'

    assert (await negotiated(load, f'userId="{user_id}"', body=body))[0] == 500
    assert "Executed 'Functions.negotiate' (Failed" in log.text


def id_token(claims: dict[str, Any]) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{payload}.x"


async def test_the_listed_claims_of_an_id_token_are_copied(load: Load) -> None:
    token = id_token({"role": ["a", "b"], "iat": 5, "level": 3, "secret": "no"})
    binding = 'idToken="{headers.x-id}", claimTypeList=["role", "iat", "level", "absent"]'

    _, claims = await negotiated(load, binding, headers=[("x-id", token)])
    _, none = await negotiated(load, 'idToken="{headers.x-id}"', headers=[("x-id", token)])

    assert claims["role"] == ["a", "b"]
    assert claims["asrs.u.iat"] == "5"
    assert claims["level"] == 3
    assert "secret" not in claims
    assert "role" not in none


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.W10.c", "a.%.c"])
async def test_an_id_token_that_is_none_is_a_500(
    load: Load, log: pytest.LogCaptureFixture, token: str
) -> None:
    binding = 'idToken="{headers.x-id}", claimTypeList=["role"]'

    assert (await negotiated(load, binding, headers=[("x-id", token)]))[0] == 500
    assert "'idToken' is no JSON web token" in log.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ("The SignalR Service connection string or endpoints are not set. Set "
         "'AzureSignalRConnectionString' in the Values of local.settings.json")),
        ({SETTING: ""}, "endpoints are not set."),
        ({SETTING: "nonsense"}, "The setting 'AzureSignalRConnectionString' cannot be used: "),
    ],
)  # fmt: skip
async def test_a_wrong_connection_setting_warns_and_fails_only_who_needs_it(
    load: Load, log: pytest.LogCaptureFixture, settings: dict[str, str], words: str
) -> None:
    source = '\n@app.route()\ndef hello(req):\n    return "ok"\n'
    host = load(source + negotiating('hubName="chat"') + SEND.replace("VALUE", '"{}"'), settings)

    (warning,) = host.warnings
    assert words in warning
    assert "Needed by: negotiate, send." in warning
    assert (await call(host, "GET", "/api/hello")).status == 200
    assert (await call(host, "POST", "/api/negotiate")).status == 500
    assert words in log.text
