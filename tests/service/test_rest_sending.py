"""Sending by REST: whom it reaches, which bodies are understood, and what the others are told."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.service.conftest import Start
from tests.service.running import Client, Service
from tests.vectors.reading import cases, read

VECTORS = read("rest_bodies")
SEND = "/api/hubs/chat/:send"


@pytest.fixture
async def bystander(service: Service) -> AsyncIterator[Client]:
    """Another client of the hub, who must still receive when the test is over."""
    client = await service.connect()
    yield client
    await service.send("still there")
    assert await client.call() == ("still there", [])


async def test_a_broadcast_reaches_everyone_of_the_hub(service: Service) -> None:
    clients = [await service.connect(), await service.connect(protocol="messagepack")]
    elsewhere = await service.connect("news")

    await service.send("ping", "a", {"b": [1, None]})
    await service.send("other", hub="news")

    assert [await client.call() for client in clients] == [("ping", ["a", {"b": [1, None]}])] * 2
    assert await elsewhere.call() == ("other", [])


async def test_a_user_a_group_and_a_connection_are_reached(service: Service) -> None:
    ann, bob = await service.connect(user="ann"), await service.connect(user="bob")
    of_bob = next(c for c in service.hub().connections if c.user_id == "bob")
    service.node.registry.add_to_group(service.hub(), "g", of_bob)

    await service.send("user", to="/users/ann")
    await service.send("group", to="/groups/g")
    await service.send("connection", to=f"/connections/{of_bob.id}")
    await service.send("all")

    assert await ann.calls(2) == [("user", []), ("all", [])]
    assert await bob.calls(3) == [("group", []), ("connection", []), ("all", [])]


async def test_excluded_connections_are_left_out(service: Service) -> None:
    kept = await service.connect()
    (first, first_id), (second, second_id) = [await service.connect_negotiated() for _ in range(2)]
    for connection in service.hub().connections:
        service.node.registry.add_to_group(service.hub(), "g", connection)

    for path, target in (("", "all"), ("/groups/g", "group")):
        body = json.dumps({"target": target}).encode()
        query = f"excluded={first_id}&EXCLUDED={second_id}&excluded=unknown&api-version=x"
        answer = await service.rest("POST", f"/api/hubs/chat{path}/:send?{query}", body)
        assert answer.status == 202
    await service.send("last")

    assert await kept.calls(3) == [("all", []), ("group", []), ("last", [])]
    assert await first.call() == await second.call() == ("last", [])


async def test_nobody_to_send_to_is_no_error(service: Service) -> None:
    for to in ("", "/users/nobody", "/groups/nobody", "/connections/nobody"):
        await service.send("t", to=to)
        await service.send("t", to=to, hub="never")


@pytest.mark.parametrize(
    "path",
    [
        "/api/hubs/chat/:send",
        "/api/hubs/chat",
        "/api/hubs/chat/",
        "/api/hubs/Chat/:send",
        "/api/v1/hubs/chat",
        "/api/v1/hubs/chat/:send",
        "/api/hubs/chat/:send?api-version=2022-06-01",
        "/api/hubs/chat/:send?api-version=unknown",
        "/api/hubs/chat/:send?More=1&more",
    ],
)
async def test_every_form_of_the_address_sends(service: Service, path: str) -> None:
    client = await service.connect()
    answer = await service.rest("POST", path, b'{"target":"t"}')
    assert (answer.status, answer.body) == (202, b"")
    assert await client.call() == ("t", [])


@pytest.mark.parametrize(
    ("user", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("a+b", "a+b"),
        ("é", "%C3%A9"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("a:b", "a:b"),
        ("a?b#c", "a%3Fb%23c"),
        ("..", "%2E%2E"),
        ("x" * 1024, "x" * 1024),
    ],
)
async def test_a_name_in_the_path_is_decoded_once(
    service: Service, user: str, segment: str
) -> None:
    client = await service.connect(user=user)
    await service.send("t", to=f"/users/{segment}")
    assert await client.call() == ("t", [])


@pytest.mark.parametrize("vector", cases(VECTORS["json"]))
async def test_a_json_body_is_understood(service: Service, vector: dict[str, Any]) -> None:
    text, binary = await service.connect(), await service.connect(protocol="messagepack")
    answer = await service.rest("POST", SEND, vector["text"].encode())
    assert answer.status == 202
    expected = (vector["target"], vector["arguments"])
    assert [await text.call(), await binary.call()] == [expected, expected]


async def test_a_binary_body_brings_a_record_for_each_encoding(service: Service) -> None:
    vector = VECTORS["octet_stream"]
    text, binary = await service.connect(), await service.connect(protocol="messagepack")
    answer = await service.rest(
        "POST", SEND, bytes.fromhex(vector["bytes"]), "application/octet-stream"
    )
    assert answer.status == 202
    expected = (vector["target"], vector["arguments"])
    assert [await text.call(), await binary.call()] == [expected, expected]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"],
)
async def test_json_is_named_in_any_of_these_ways(service: Service, content_type: str) -> None:
    answer = await service.rest("POST", SEND, b'{"target":"t"}', content_type)
    assert answer.status == 202


@pytest.mark.parametrize(
    "arguments",
    [
        b"[1.0,1e2,-0.0,100000000000000000000000]",
        b'["\\u00e9\\n\\/",  "\xc3\xa9"]',
        b'[{"b":1,"a":2,"b":3}]',
        b'["2024-01-01T00:00:00Z"]',
        b"[" * 100 + b"]" * 100,
    ],
)
async def test_json_arguments_pass_byte_for_byte(service: Service, arguments: bytes) -> None:
    client = await service.connect()
    await service.rest("POST", SEND, b'{"arguments":%b,"target":"t"}' % arguments)
    assert await client.frame() == b'{"type":1,"target":"t","arguments":%b}\x1e' % arguments


async def test_what_a_messagepack_client_cannot_be_told_costs_it_that_message_alone(
    service: Service,
) -> None:
    text, binary = await service.connect(), await service.connect(protocol="messagepack")
    await service.send("big", 2**64)
    await service.send("next")
    assert await text.calls(2) == [("big", [2**64]), ("next", [])]
    assert await binary.call() == ("next", [])


# What is wrong with a body, and the field that is named.
WRONG_BODIES = [
    (b"", "body"),
    (b"{", "body"),
    (b"hello", "body"),
    (b"null", "body"),
    (b"[]", "body"),
    (b'"target"', "body"),
    (b'{"target":"t"}x', "body"),
    (b'\xff\xfe{"target":"t"}', "body"),
    (b"[" * 100_000, "body"),
    (b"{}", "target"),
    (b'{"arguments":[]}', "target"),
    (b'{"target":null}', "target"),
    (b'{"target":""}', "target"),
    (b'{"target":1}', "target"),
    (b'{"target":["t"]}', "target"),
    (b'{"Target":{},"Arguments":[]}', "target"),
    (b'{"target":"t","arguments":{}}', "arguments"),
    (b'{"target":"t","arguments":"a"}', "arguments"),
    (b'{"target":"t","arguments":1}', "arguments"),
    (b'{"Target":"t","Arguments":false}', "arguments"),
]


@pytest.mark.parametrize(("body", "field"), WRONG_BODIES, ids=lambda value: str(value[:30]))
async def test_a_wrong_body_is_refused_and_its_field_named(
    service: Service, bystander: Client, body: bytes, field: str
) -> None:
    answer = await service.rest("POST", SEND, body)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-ms-error-code"] == answer.json["code"] == "BadRequest"
    assert answer.json["target"] == field
    assert answer.json["message"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"target":"t","arguments":["\xff"]}',
        b'{"target":"t","arguments":["\xed\xa0\x80"]}',
        b'{"target":"t","arguments":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'{"target":"t","arguments":[01]}',
        b'{"target":"t","arguments":[NaN]}',
        b'{"target":"t","arguments":["a\x1eb"]}',
        b'{"target":"t","arguments":[1,]}',
        b'{"target":"t","arguments":[] ,}',
    ],
)
async def test_what_would_break_the_clients_is_refused(
    service: Service, bystander: Client, body: bytes
) -> None:
    answer = await service.rest("POST", SEND, body)
    assert answer.status == 400
    assert answer.json["target"] in {"body", "arguments"}


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x90", b"\x80", b"\x81\xa1x\xc4\x00", b"\x81\xa4json\xc4\x01x"],
)
async def test_a_wrong_binary_body_is_refused(
    service: Service, bystander: Client, body: bytes
) -> None:
    answer = await service.rest("POST", SEND, body, "application/octet-stream")
    assert answer.status == 400
    assert answer.json["code"] == "BadRequest"


async def test_another_content_type_is_refused(service: Service, bystander: Client) -> None:
    answer = await service.rest("POST", SEND, b'{"target":"t"}', "text/plain")
    assert answer.status == 415
    assert answer.json["code"] == answer.headers["x-ms-error-code"] == "UnsupportedMediaType"
    assert "application/json" in answer.json["message"]
    assert "text/plain" in answer.json["message"]


async def test_a_body_over_the_limit_is_refused_however_it_comes(start: Start) -> None:
    service = await start(max_body_size=1000)
    client = await service.connect()
    body = json.dumps({"target": "t", "arguments": ["x" * 1000]}).encode()

    async def dripping() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    whole = await service.rest("POST", SEND, body)
    chunked = await service.rest("POST", SEND, dripping())  # type: ignore[arg-type]
    await service.send("fits", "x" * 900)

    assert (whole.status, chunked.status) == (413, 413)
    assert whole.json["message"] == chunked.json["message"] == "A body is at most 1000 bytes long."
    assert await client.call() == ("fits", ["x" * 900])


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/hubs",
        "/api/hubs/chat/:sing",
        "/api/hubs/chat/more/:send",
        "/api/hubs/chat/groups/g/h/:send",
        "/api/hubs/chat/users/:send/:send",
        "/api/v2/hubs/chat/:send",
        "/api/nothing",
    ],
)
async def test_an_unknown_operation_is_not_found(
    service: Service, bystander: Client, path: str
) -> None:
    answer = await service.rest("POST", path, b'{"target":"t"}')
    assert answer.status == 404
    assert answer.headers["x-ms-error-code"] == answer.json["code"] == "NotFound"
    assert path in answer.json["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_send_is_posted(service: Service, bystander: Client, method: str) -> None:
    answer = await service.rest(method, SEND)
    assert answer.status == 405
    assert answer.json["code"] == "MethodNotAllowed"
    assert method in answer.json["message"]
    assert "POST" in answer.json["message"]


@pytest.mark.parametrize("hub", ["1chat", "cha%20t", "%FF", "a" * 129, "%C3%A9"])
async def test_a_hub_has_a_valid_name(service: Service, bystander: Client, hub: str) -> None:
    answer = await service.rest("POST", f"/api/hubs/{hub}/:send", b'{"target":"t"}')
    assert answer.status == 400
    assert answer.json["target"] == "hub"


@pytest.mark.parametrize("path", ["/api/health", "/api/v1/health", "/api/health/"])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_health_is_told_without_a_token(service: Service, path: str, method: str) -> None:
    answer = await service.request(method, path)
    assert (answer.status, answer.body) == (200, b"")


async def test_health_has_no_other_methods(service: Service) -> None:
    answer = await service.request("POST", "/api/health")
    assert answer.status == 405
    assert answer.json["code"] == "MethodNotAllowed"


async def test_an_answer_that_is_waited_for_says_that_the_message_is_on_its_way(
    service: Service,
) -> None:
    # Two calls, one after the other's answer: their messages keep that order.
    client = await service.connect()
    for number in range(50):
        await service.send(str(number))
    assert await client.calls(50) == [(str(number), []) for number in range(50)]
