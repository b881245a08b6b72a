"""Client results over REST, and streams to a client."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from tests.service.conftest import Start
from tests.service.running import Answer, Client, Service

from hubbub.protocol.codec import CODECS, JSON
from hubbub.protocol.messages import Completion, Invocation, StreamItem

PAYLOAD = b'{"target":"ask","arguments":["what",1]}'


def invoke(service: Service, body: bytes = PAYLOAD, kind: str = "application/json") -> Any:
    """Begin to invoke the only client."""
    path = f"/api/hubs/chat/connections/{service.only_connection().id}/:invoke"
    return asyncio.ensure_future(service.rest("POST", path, body, kind))


async def asked(client: Client) -> tuple[str, list[Any], str]:
    """Target, arguments and id of what the client is asked."""
    message = await client.message()
    assert isinstance(message, Invocation), message
    assert message.invocation_id is not None
    return message.target, client.codec.decode_value(message.arguments), message.invocation_id


async def answer_with(client: Client, completion: Completion) -> None:
    data = client.codec.encode(completion)
    await client.socket.send(data if client.codec.is_binary else data.decode())


@pytest.mark.parametrize("value", [None, 0, "ü", [1, {"a": [None]}], {"b": 1.5}, 2**63])
@pytest.mark.parametrize("protocol", CODECS)
async def test_a_clients_result_is_the_answer(service: Service, protocol: str, value: Any) -> None:
    client = await service.connect(protocol=protocol)
    call = invoke(service)
    target, arguments, invocation_id = await asked(client)

    result = client.codec.encode_value(value)
    await answer_with(client, Completion(invocation_id=invocation_id, result=result))

    answer: Answer = await call
    assert (target, arguments) == ("ask", ["what", 1])
    assert (answer.status, answer.json) == (200, {"result": value, "protocol": protocol})


@pytest.mark.parametrize("protocol", CODECS)
async def test_every_form_of_body_can_be_invoked(service: Service, protocol: str) -> None:
    client = await service.connect(protocol=protocol)
    record = JSON.encode(Invocation(target="ask", arguments=msgspec.Raw(b'["what",1]')))
    for kind, body in [
        ("application/x-msgpack", msgspec.msgpack.encode({"target": "ask", "arguments": ["a"]})),
        ("application/octet-stream", msgspec.msgpack.encode({"json": record})),
    ]:
        call = invoke(service, body, kind)
        if protocol == "messagepack" and kind == "application/octet-stream":
            answer = await call
            assert answer.status == 400
            assert "has no record for messagepack" in answer.json["message"]
            continue
        _, _, invocation_id = await asked(client)
        await answer_with(client, Completion(invocation_id=invocation_id))
        answer = await call
        assert answer.json["result"] is None


async def test_a_clients_error_is_told(service: Service) -> None:
    client = await service.connect()
    call = invoke(service)
    _, _, invocation_id = await asked(client)

    await answer_with(client, Completion(invocation_id=invocation_id, error="I won't."))

    answer = await call
    assert (answer.status, answer.json["code"]) == (400, "Error.Connection.InvocationFailed")
    assert answer.json["message"] == "The client answered with an error: I won't."


async def test_a_result_that_json_cannot_say_is_told(service: Service) -> None:
    client = await service.connect(protocol="messagepack")
    call = invoke(service)
    _, _, invocation_id = await asked(client)

    result = client.codec.encode_value(msgspec.msgpack.Ext(7, b"?"))
    await answer_with(client, Completion(invocation_id=invocation_id, result=result))

    answer = await call
    assert (answer.status, answer.json["code"]) == (400, "Error.Connection.InvocationFailed")


async def test_a_client_that_goes_is_not_waited_for(service: Service) -> None:
    client = await service.connect()
    call = invoke(service)
    await asked(client)

    await client.socket.close()

    answer = await call
    assert (answer.status, answer.json["code"]) == (404, "Error.Connection.NotExisted")
    assert "is disconnected" in answer.json["message"]


async def test_a_client_that_does_not_answer_is_waited_for_so_long(start: Start) -> None:
    service = await start(invoke_timeout=0.01)
    client = await service.connect()
    call = invoke(service)
    _, _, invocation_id = await asked(client)

    answer = await call
    await answer_with(client, Completion(invocation_id=invocation_id))  # too late is no error
    await service.send("still here")

    assert (answer.status, answer.json["code"]) == (504, "Error.Connection.Timeout")
    assert await client.call() == ("still here", [])
    assert repr(service.node.results) == "Results(0)"


async def test_a_client_cannot_answer_for_another(service: Service) -> None:
    asked_client = await service.connect("chat", "a")
    call = invoke(service)
    _, _, invocation_id = await asked(asked_client)
    other = await service.connect("chat", "b")

    wrong, right = JSON.encode_value("wrong"), JSON.encode_value("right")
    await answer_with(other, Completion(invocation_id=invocation_id, result=wrong))
    await service.send("both")
    assert await other.call() == ("both", [])
    await answer_with(asked_client, Completion(invocation_id=invocation_id, result=right))

    assert (await call).json["result"] == "right"


@pytest.mark.parametrize("protocol", CODECS)
async def test_a_stream_is_sent_item_by_item_and_ended(service: Service, protocol: str) -> None:
    client = await service.connect(protocol=protocol)
    path = f"/api/hubs/chat/connections/{service.only_connection().id}/streams"
    items: list[Any] = [None, {"a": 1}, [], "ü", 1.5]

    for item in items:
        body = json.dumps(item).encode()
        assert (await service.rest("POST", f"{path}/s%2F1/:send", body)).status == 202
    for suffix in ("?reason=broke", "?error=broke", "?error=", ""):
        assert (await service.rest("POST", f"{path}/s%2F1/:complete{suffix}")).status == 202
    assert (await service.rest("POST", f"{path}/s2/:send?completed=true", b"1")).status == 202

    for item in items:
        message = await client.message()
        assert isinstance(message, StreamItem)
        assert message.invocation_id == "s/1"
        assert client.codec.decode_value(message.item) == item
    for error in ("broke", "broke", None, None):
        assert await client.message() == Completion(invocation_id="s/1", error=error)
    assert isinstance(await client.message(), StreamItem)
    assert await client.message() == Completion(invocation_id="s2")
