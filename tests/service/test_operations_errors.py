"""Every documented error, and requests that are wrong on purpose: a 4xx that names the field."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from urllib.parse import quote

import msgspec
import pytest
from tests.service.conftest import Start
from tests.service.running import PATIENCE, Answer, Service

from hubbub.protocol.tokens import issue_rest_token
from hubbub.service.store import MemoryStore, StoreError

PAYLOAD = b'{"target":"hello","arguments":[1]}'
SEND = "/api/hubs/chat/:send"


def check_error(answer: Answer, status: int, target: str | None, code: str | None = None) -> str:
    """Check the form that all errors have; return the message."""
    assert answer.status == status, answer
    detail = answer.json
    assert set(detail) == {"code", "message", "target", "details", "inner"}
    assert detail["target"] == target, detail
    assert detail["code"] == answer.headers["x-ms-error-code"]
    assert answer.headers["content-type"] == "application/json"
    if code is not None:
        assert detail["code"] == code
    message: str = detail["message"]
    return message


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/connections/nobody", "Warning.Connection.NotExisted"),
        ("GET", "/users/nobody", "Warning.User.NotExisted"),
        ("GET", "/groups/none", "Warning.Group.NotExisted"),
        ("GET", "/users/nobody/groups/none", "Info.User.NotInGroup"),
        ("PUT", "/groups/g/connections/nobody", "Error.Connection.NotExisted"),
        ("DELETE", "/connections/nobody", "Warning.Connection.NotExisted"),
        ("POST", "/connections/nobody/:invoke", "Error.Connection.NotExisted"),
    ],
)
async def test_what_is_not_there_has_the_code_that_sdks_know(
    service: Service, method: str, path: str, code: str
) -> None:
    body = PAYLOAD if method == "POST" else None
    answer = await service.rest(method, f"/api/hubs/chat{path}", body)

    check_error(answer, 404, answer.json["target"], code)
    if method == "GET":
        head = await service.rest("HEAD", f"/api/hubs/chat{path}")
        assert (head.status, head.headers["x-ms-error-code"], head.body) == (404, code, b"")


async def test_a_connection_that_is_in_no_such_group_is_told_of_by_v1(service: Service) -> None:
    answer = await service.rest("DELETE", "/api/v1/hubs/chat/groups/g/connections/c")

    check_error(answer, 404, "connectionId", "Error.Connection.NotExisted")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/hubs/1chat/:send", "hub"),
        ("/api/hubs/ch%20at/:send", "hub"),
        ("/api/hubs//:send", "hub"),
        (f"/api/hubs/{'c' * 129}/:send", "hub"),
        ("/api/hubs/ch%2Fat/:send", "hub"),
        ("/api/hubs/%FF/:send", "hub"),
        ("/api/hubs/chat/:send?application=1shop", "application"),
        ("/api/hubs/chat/:send?application=a&application=b", "application"),
        ("/api/hubs/chat/groups//:send", "group"),
        ("/api/hubs/chat/groups/%20%20/:send", "group"),
        (f"/api/hubs/chat/groups/{'g' * 1025}/:send", "group"),
        ("/api/hubs/chat/groups/%C3/:send", "group"),
        ("/api/hubs/chat/users//:send", "user"),
        (f"/api/hubs/chat/users/{'u' * 1025}/:send", "user"),
        ("/api/hubs/chat/connections//:send", "connectionId"),
        ("/api/hubs/chat/connections/c/streams/%20/:send", "streamId"),
        (f"/api/hubs/chat/connections/c/streams/{'s' * 101}/:send", "streamId"),
        ("/api/hubs/chat/connections/c/streams/s/:send?completed=perhaps", "completed"),
        ("/api/hubs/chat/:closeConnections?reason=a&reason=b", "reason"),
        ("/api/hubs/chat/:generateToken?minutesToExpire=0", "minutesToExpire"),
        ("/api/hubs/chat/:generateToken?minutesToExpire=2147483648", "minutesToExpire"),
        (f"/api/hubs/chat/:generateToken?minutesToExpire={'9' * 5000}", "minutesToExpire"),
        ("/api/hubs/chat/:generateToken?minutesToExpire=%D9%A1", "minutesToExpire"),
        (f"/api/hubs/chat/:generateToken?userId={'u' * 4000}", "userId"),
        ("/api/hubs/chat/:execute?filter=userId", "filter"),
        ("/api/hubs/chat/:send?excluded=%FF", "query"),
    ],
)
async def test_a_name_or_parameter_that_is_wrong_is_named(
    service: Service, path: str, target: str
) -> None:
    check_error(await service.rest("POST", path, PAYLOAD), 400, target, "BadRequest")


@pytest.mark.parametrize("ttl", ["-1", "x", "", "1.5", "2147483648", "0x10", "1e3", " 1", "+1"])
async def test_a_ttl_is_a_whole_number_of_seconds(service: Service, ttl: str) -> None:
    path = f"/api/hubs/chat/users/u/groups/g?ttl={quote(ttl)}"

    message = check_error(await service.rest("PUT", path), 400, "ttl")

    assert message == "ttl is a whole number from 0 to 2147483647."


@pytest.mark.parametrize(
    ("body", "target"),
    [
        (b"", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b"hello", "body"),
        (b'{"target":"x"', "body"),
        (b"{}", "target"),
        (b'{"target":null}', "target"),
        (b'{"target":""}', "target"),
        (b'{"target":1}', "target"),
        (b'{"target":["x"]}', "target"),
        (b'{"arguments":[]}', "target"),
        (b'{"target":"x","arguments":1}', "arguments"),
        (b'{"target":"x","arguments":{}}', "arguments"),
        (b'{"target":"x","arguments":[}', "body"),
        (b'{"target":"x","TARGET":"y"}', "target"),
        (b'{"target":"x","arguments":["\xff"]}', "body"),
        (b'{"target":"x","arguments":["\x1e"]}', "body"),
        (b'{"target":"x","arguments":[' + b"[" * 100_000, "body"),
        (b'{"target":"\xed\xa0\x80"}', "body"),
    ],
)
async def test_a_body_that_is_wrong_is_refused_with_the_field(
    service: Service, body: bytes, target: str
) -> None:
    check_error(await service.rest("POST", SEND, body), 400, target, "BadRequest")


@pytest.mark.parametrize(
    ("body", "target"),
    [
        (b"{}", "body"),
        (b'{"type":"SendMessage"}', "body"),
        (b'[{"type":"Dance"}]', "body"),
        (b"[{}]", "body"),
        (b'[{"type":[]}]', "body"),
        (b'[{"type":"JoinGroup"}]', "body"),
        (b'[{"type":"JoinGroup","group":null}]', "body"),
        (b'[{"type":"JoinGroup","group":" "}]', "group"),
        (b'[{"type":"SendMessage","message":{"target":""}}]', "target"),
        (b'[{"type":"SendMessage","message":3}]', "body"),
        (b'[{"type":"CloseConnection","reason":3}]', "body"),
        (json.dumps([{"type": "LeaveGroup", "group": "g"}] * 101).encode(), "body"),
    ],
)
async def test_commands_that_are_wrong_are_refused_and_none_is_done(
    service: Service, body: bytes, target: str
) -> None:
    await service.connect()
    body = body.replace(b"[{", b'[{"type":"JoinGroup","group":"x"},{', 1)

    check_error(await service.rest("POST", "/api/hubs/chat/:execute", body), 400, target)

    assert service.hub().groups == {}


@pytest.mark.parametrize("body", [b"", b"{", b"1 2", b"\xff", b"NaN", b"[" * 100_000])
async def test_an_item_of_a_stream_is_json(service: Service, body: bytes) -> None:
    path = "/api/hubs/chat/connections/c/streams/s/:send"

    check_error(await service.rest("POST", path, body), 400, "body")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/msgpack"])
async def test_a_body_of_another_type_is_refused(service: Service, kind: str) -> None:
    message = check_error(await service.rest("POST", SEND, PAYLOAD, kind), 415, "Content-Type")

    assert "application/json, application/octet-stream, application/x-msgpack" in message


async def test_a_body_over_the_limit_is_refused_before_it_is_all_there(start: Start) -> None:
    service = await start(max_body_size=1000)

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 100

    token = service.rest_token(SEND)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for body in (b" " * 1001, pieces(11)):
        async with service.http.post(service.url + SEND, data=body, headers=headers) as response:
            answer = Answer(response.status, response.headers, await response.read())
        check_error(answer, 413, "body", "PayloadTooLarge")
    fits = PAYLOAD.ljust(1000)
    assert (await service.rest("POST", SEND, fits)).status == 202


async def test_a_body_that_is_announced_too_long_is_not_waited_for(service: Service) -> None:
    reader, writer = await asyncio.open_connection(*service.url.removeprefix("http://").split(":"))
    head = f"POST {SEND} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.rest_token(SEND)}"
    writer.write(f"{head}\r\nContent-Length: 1048577\r\n\r\n".encode())

    async with asyncio.timeout(PATIENCE):
        status = await reader.readline()

    assert status.startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_an_address_over_12_kb_is_refused(service: Service) -> None:
    path = f"{SEND}?excluded={'x' * 12 * 1024}"

    check_error(await service.rest("POST", path, PAYLOAD), 414, "uri", "UriTooLong")


async def test_headers_over_16_kb_are_refused(service: Service) -> None:
    headers = {f"X-Filler-{number}": "x" * 4000 for number in range(5)}

    answer = await service.request("POST", SEND, body=PAYLOAD, headers=headers)

    check_error(answer, 431, "headers", "RequestHeaderFieldsTooLarge")


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/nothing",
        "/api/hubs",
        "/api/v2/hubs/chat",
        "/api//hubs/chat",
        "/api/hub/chat",
        "/api/v1-preview/hubs/chat",
        "/api/hubs/chat/:dance",
        "/api/hubs/chat/rooms/r/:send",
        "/api/hubs/chat/connections/c/d/:send",
        "/api/hubs/chat/groups/:send",
        "/api/hubs/chat/a/b/c/d/e/f/g/h",
    ],
)
async def test_a_path_without_an_operation_is_not_found(service: Service, path: str) -> None:
    message = check_error(await service.rest("POST", path, PAYLOAD), 404, None, "NotFound")

    assert "/api/hubs/{hub}/" in message


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", SEND, "POST"),
        ("PATCH", "/api/hubs/chat/users/u/groups/g", "HEAD, GET, PUT, DELETE"),
        ("POST", "/api/health", "GET, HEAD"),
        ("GET", "/api/v1-preview/hub/chat", "POST"),
    ],
)
async def test_another_method_is_refused_with_those_that_are_allowed(
    service: Service, method: str, path: str, allow: str
) -> None:
    answer = await service.rest(method, path)

    check_error(answer, 405, None, "MethodNotAllowed")
    assert answer.headers["Allow"] == allow


async def test_a_call_without_a_token_is_told_how_to_have_one(service: Service) -> None:
    answer = await service.request("POST", SEND, body=PAYLOAD)

    assert "Authorization: Bearer TOKEN" in check_error(answer, 401, None, "Unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_client_token_is_refused_by_name_on_the_rest_api(service: Service) -> None:
    answer = await service.request("POST", SEND, token=service.token(), body=PAYLOAD)

    message = check_error(answer, 401, None, "Unauthorized")
    assert "This is a client token: it opens connections and cannot call the REST API." in message
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert service.token() not in message


async def test_a_token_of_another_call_or_of_yesterday_is_refused(service: Service) -> None:
    other = service.rest_token("/api/hubs/chat/users/u/:send")
    url = service.url + SEND
    old = issue_rest_token(service.endpoint, url, now=int(time.time()) - 86400, lifetime=60)

    for token, reason in [(other, "audience"), (old, "expired"), ("x.y.z", "malformed")]:
        answer = await service.request("POST", SEND, token=token, body=PAYLOAD)
        assert reason in check_error(answer, 401, None, "Unauthorized")


async def test_a_token_over_4096_characters_is_refused(service: Service) -> None:
    answer = await service.request("POST", SEND, token="x" * 4097, body=PAYLOAD)

    check_error(answer, 413, None, "PayloadTooLarge")


async def test_a_store_that_cannot_write_is_said_to_be_unavailable(service: Service) -> None:
    class FullStore(MemoryStore):
        async def add(self, hub: str, user: str, group: str, ttl: int | None) -> None:
            raise StoreError("The disk is full.")

    service.node.store = FullStore()

    answer = await service.rest("PUT", "/api/hubs/chat/users/u/groups/g")

    assert check_error(answer, 503, None, "ServiceUnavailable").startswith("The disk is full.")


async def test_a_defect_is_answered_without_its_details(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenStore(MemoryStore):
        async def add(self, hub: str, user: str, group: str, ttl: int | None) -> None:
            raise RuntimeError("secret")

    service.node.store = BrokenStore()

    answer = await service.rest("PUT", "/api/hubs/chat/users/u/groups/g")

    assert "secret" not in check_error(answer, 500, None, "InternalServerError")
    assert "secret" in caplog.text


async def test_a_request_that_ends_in_its_body_is_no_failure_of_the_service(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection(*service.url.removeprefix("http://").split(":"))
    head = f"POST {SEND} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.rest_token(SEND)}"
    writer.write(f"{head}\r\nContent-Length: 100\r\n\r\n{{".encode())
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()

    assert (await service.rest("POST", SEND, PAYLOAD)).status == 202
    assert "failed" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\x81",
        b"\x81\xa4json",
        b"\x81\xa4json\xc4",
        b"\x81\xa4json\xc4\xff{}",
        b"\x91" * 100_000,
        b"\x80",
        msgspec.msgpack.encode({"json": "text"}),
        msgspec.msgpack.encode({"xml": b"<a/>"}),
        msgspec.msgpack.encode({"json": b'{"type":1,"target":"x","arguments":[]}'}),
        msgspec.msgpack.encode({"json": b'{"type":1,"target":"x","arguments":[]}\x1e{}\x1e'}),
        msgspec.msgpack.encode({"json": b'{"type":6}\x1e'}),
        msgspec.msgpack.encode({"json": b'{"type":7}\x1e'}),
        msgspec.msgpack.encode({"json": b'{"type":1,"target":"","arguments":[]}\x1e'}),
        msgspec.msgpack.encode({"messagepack": b"\x02\x91\x06"}),
        msgspec.msgpack.encode({"messagepack": b"\xff\xff\xff\xff\x7f"}),
        msgspec.msgpack.encode({"messagepack": b""}),
    ],
)
@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-msgpack"])
async def test_a_binary_body_that_is_no_message_is_refused(
    service: Service, kind: str, body: bytes
) -> None:
    answer = await service.rest("POST", SEND, body, kind)

    check_error(answer, 400, answer.json["target"], "BadRequest")
    assert answer.json["target"] in {"body", "json", "messagepack", "target"}
