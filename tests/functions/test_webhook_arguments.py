"""Arguments of clients as names in binding expressions: what they may say and what not."""

import base64
import json
from collections.abc import Callable

import pytest
from tests.functions.apps import Service
from tests.functions.test_webhook import completion, message, sign, tell, trigger

from hubbub.functions.host import Host

Load = Callable[..., Host]

WHERE = '\n@app.generic_output_binding(arg_name="$return", type="signalR", hubName="{%s}")'


@pytest.mark.parametrize(
    ("expression", "name", "argument"),
    [
        ("UserId", "userId", "alice"),
        ("Claims.role", "claims", {"role": "admin"}),
        ("Query.room", "QUERY", {"room": "1"}),
        ("Error", "error", "none"),
    ],
)
async def test_an_argument_does_not_stand_for_what_the_service_leaves_out(
    load: Load, service: Service, expression: str, name: str, argument: object
) -> None:
    host = load(
        WHERE % expression
        + trigger(body='return {"target": "t"}', extra=f'parameterNames=["{name}"]'),
        {"AzureSignalRConnectionString": service.connection_string},
    )

    answer = await tell(host, message(argument, id_="1"), X_ASRS_Signature=sign(key=service.key))

    assert completion(answer)["error"] == "Method execution failed."
    assert service.calls == []


async def test_a_list_as_an_argument_is_json_in_an_expression(load: Load, service: Service) -> None:
    host = load(
        '\n@app.generic_input_binding(arg_name="info", type="signalRConnectionInfo",'
        ' hubName="chat", userId="{room}")'
        + trigger(extra='parameterNames=["room"]')
        .replace("(context)", "(context, info)", 1)
        .replace("json.loads(context)", "info"),
        {"AzureSignalRConnectionString": service.connection_string},
    )

    answer = await tell(
        host, message(["a", 1, None], id_="1"), X_ASRS_Signature=sign(key=service.key)
    )

    token = json.loads(completion(answer)["result"])["accessToken"]
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["asrs.s.uid"] == '["a", 1, null]'


async def test_arguments_that_cannot_be_read_are_the_error_of_who_has_passed_them(
    load: Load, service: Service, log: pytest.LogCaptureFixture
) -> None:
    host = load(
        trigger(extra='parameterNames=["room"]'),
        {"AzureSignalRConnectionString": service.connection_string},
    )

    body = b'{"type":1,"invocationId":"1","target":"say","arguments":[1e999]}'
    answer = await tell(host, body, X_ASRS_Signature=sign(key=service.key))

    assert completion(answer)["error"].startswith("The arguments cannot be read")
    assert "'listen' was not called for connection c1: The arguments cannot be read" in log.text
