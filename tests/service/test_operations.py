"""Each operation's effect and statuses, in every shape of path that is in use."""

import json
from typing import Any

import pytest
from tests.service.conftest import Start
from tests.service.running import Client, Service

from hubbub.protocol.messages import Close
from hubbub.service.operations.table import OPERATIONS

PAYLOAD = b'{"target":"hello","arguments":[1]}'
CALL = ("hello", [1])
VERSION = "?api-version=2024-12-01"


async def client_of(service: Service, user: str | None = None, hub: str = "chat") -> Client:
    return await service.connect(hub, user)


def id_of(service: Service, user: str, hub: str = "chat") -> str:
    (connection,) = service.hub(hub).users[user]
    return connection.id


async def status_of(service: Service, method: str, path: str, body: bytes | None = None) -> int:
    answer = await service.rest(method, path, body)
    return answer.status


def test_every_operation_of_the_newest_version_is_in_the_table() -> None:
    ids = {operation.id for operation in OPERATIONS if operation.since != "Hubbub"}

    assert len({(method, each.path) for each in OPERATIONS for method in each.methods}) == sum(
        len(each.methods) for each in OPERATIONS
    )
    assert ids == {
        "sendToAll", "sendToUser", "sendToConnection", "sendToGroup", "closeConnection", "closeAll",
        "closeGroup", "closeUser", "connectionExists", "groupExists", "userExists", "userIsInGroup",
        "addConnectionToGroup", "removeConnectionFromGroup", "removeConnectionFromAllGroups",
        "addUserToGroup", "removeUserFromGroup", "removeUserFromAllGroups", "generateToken",
        "execute", "invokeConnection", "sendToStream", "completeStream", "listGroupConnections",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "receivers"),
    [
        ("/api/hubs/chat/:send", "ab"),
        ("/api/hubs/chat", "ab"),
        ("/api/hubs/CHAT/:send", "ab"),
        ("/API/HUBS/chat/:SEND".replace("/API", "/api"), "ab"),
        ("/api/hubs/chat/:send/", "ab"),
        ("/api/v1/hubs/chat", "ab"),
        ("/api/v1/hubs/chat/:send", "ab"),
        ("/api/v1-preview/hub/chat", "ab"),
        ("/api/hubs/chat/users/a/:send", "a"),
        ("/api/hubs/chat/users/a", "a"),
        ("/api/v1/hubs/chat/users/a", "a"),
        ("/api/v1-preview/hub/chat/user/a", "a"),
        ("/api/v1-preview/hub/chat/users/a,b,nobody", "ab"),
        ("/api/hubs/chat/groups/g/:send", "b"),
        ("/api/hubs/chat/groups/g", "b"),
        ("/api/v1/hubs/chat/groups/g", "b"),
        ("/api/v1-preview/hub/chat/group/g", "b"),
        ("/api/v1-preview/hub/chat/groups/none,g", "b"),
        ("/api/hubs/chat/connections/A/:send", "a"),
        ("/api/hubs/chat/connections/A", "a"),
        ("/api/v1/hubs/chat/connections/A", "a"),
    ],
)
@pytest.mark.parametrize("version", [VERSION, "?api-version=2031-01-01", ""])
async def test_a_send_reaches_whom_its_path_names(
    service: Service, path: str, receivers: str, version: str
) -> None:
    clients = {name: await client_of(service, name) for name in "ab"}
    await service.rest("PUT", "/api/hubs/chat/users/b/groups/g")

    path = path.replace("/A", f"/{id_of(service, 'a')}")
    answer = await service.rest("POST", path + version, PAYLOAD)

    assert (answer.status, answer.body) == (202, b"")
    await service.send("end")
    for name, client in clients.items():
        expected = [CALL] if name in receivers else []
        assert await client.calls(len(expected) + 1) == [*expected, ("end", [])]


async def test_excluded_connections_get_nothing(service: Service) -> None:
    clients = {name: await client_of(service, name) for name in "abc"}
    left_out = "&".join(f"excluded={id_of(service, name)}" for name in "ab")
    for name in "abc":
        await service.rest("PUT", f"/api/hubs/chat/users/{name}/groups/g")

    for path in ("/api/hubs/chat/:send", "/api/hubs/chat/groups/g/:send"):
        assert await status_of(service, "POST", f"{path}{VERSION}&{left_out}", PAYLOAD) == 202

    await service.send("end")
    assert await clients["c"].calls(3) == [CALL, CALL, ("end", [])]
    assert await clients["a"].call() == await clients["b"].call() == ("end", [])


async def test_an_application_has_hubs_of_its_own(service: Service) -> None:
    ours = await client_of(service, hub="shop_chat")
    others = await client_of(service, hub="chat")

    path = "/api/hubs/Chat/:send?application=Shop&api-version=2024-12-01"
    assert await status_of(service, "POST", path, PAYLOAD) == 202
    await service.send("end", hub="chat")

    assert await ours.call() == CALL
    assert await others.call() == ("end", [])


@pytest.mark.parametrize("name", ["a/b", "ü ☃", "50%", "a+b", "%2F", "..", "a?b#c", ":send", "a,b"])
async def test_a_name_in_a_path_is_decoded_once(service: Service, name: str) -> None:
    client = await client_of(service, name)
    escaped = "".join(f"%{byte:02X}" for byte in name.encode())

    assert await status_of(service, "HEAD", f"/api/hubs/chat/users/{escaped}") == 200
    await service.send("hello", 1, to=f"/users/{escaped}")

    assert await client.call() == CALL


@pytest.mark.parametrize(
    ("method", "path", "status", "v1_status"),
    [
        ("HEAD", "/connections/{id}", 200, 200),
        ("GET", "/connections/{id}", 200, 200),
        ("HEAD", "/users/a", 200, 200),
        ("GET", "/users/a", 200, 200),
        ("HEAD", "/groups/g", 200, 200),
        ("GET", "/groups/g", 200, 200),
        ("HEAD", "/users/a/groups/g", 200, 200),
        ("GET", "/users/a/groups/g", 200, 200),
        ("GET", "/groups/g/users/a", 200, 200),
        ("PUT", "/groups/h/connections/{id}", 200, 200),
        ("PUT", "/connections/{id}/groups/h", 200, 200),
        ("DELETE", "/groups/g/connections/{id}", 200, 200),
        ("DELETE", "/connections/{id}/groups/g", 200, 200),
        ("DELETE", "/connections/{id}/groups", 200, 200),
        ("DELETE", "/connections/nobody/groups", 200, 200),
        ("DELETE", "/groups/none/connections/{id}", 200, 404),
        ("PUT", "/users/a/groups/h", 200, 202),
        ("PUT", "/users/nobody/groups/h", 200, 202),
        ("PUT", "/groups/h/users/a?ttl=60", 200, 202),
        ("DELETE", "/users/a/groups/g", 204, 202),
        ("DELETE", "/users/nobody/groups/g", 204, 202),
        ("DELETE", "/users/a/groups", 204, 200),
        ("DELETE", "/connections/{id}", 200, 202),
        ("DELETE", "/connections/nobody", 404, 202),
        ("POST", "/:closeConnections", 204, 204),
        ("POST", "/users/a/:closeConnections", 204, 204),
        ("POST", "/users/nobody/:closeConnections", 204, 204),
        ("POST", "/groups/g/:closeConnections", 204, 204),
        ("POST", "/connections/nobody/:send", 202, 202),
        ("POST", "/users/nobody/:send", 202, 202),
        ("POST", "/groups/none/:send", 202, 202),
        ("POST", "/connections/{id}/streams/s/:send", 202, 202),
        ("POST", "/connections/{id}/streams/s/:complete", 202, 202),
        ("POST", "/connections/nobody/streams/s/:send", 404, 404),
        ("POST", "/connections/nobody/streams/s/:complete", 404, 404),
        ("POST", "/:execute", 202, 202),
        ("POST", "/:generateToken", 200, 200),
    ],
)
@pytest.mark.parametrize("prefix", ["/api/hubs/chat", "/api/v1/hubs/chat"])
async def test_an_operation_is_answered_with_its_status(
    service: Service, prefix: str, method: str, path: str, status: int, v1_status: int
) -> None:
    await client_of(service, "a")
    await service.rest("PUT", "/api/hubs/chat/users/a/groups/g")
    path = prefix + path.replace("{id}", id_of(service, "a"))
    body = b"[]" if path.endswith(":execute") else PAYLOAD if method == "POST" else None

    answer = await service.rest(method, path, body)

    assert answer.status == (status if "/v1/" not in prefix else v1_status), answer
    assert "connection: close" not in str(answer.headers).lower()
    if answer.status < 300 and not path.endswith(":generateToken"):
        assert answer.body == b""


async def test_an_operation_on_a_hub_without_clients_does_as_little(service: Service) -> None:
    for method, path, status in [
        ("POST", "/:send", 202),
        ("POST", "/:closeConnections", 204),
        ("POST", "/groups/g/:closeConnections", 204),
        ("DELETE", "/connections/c", 404),
        ("DELETE", "/connections/c/groups", 200),
        ("DELETE", "/users/u/groups", 204),
        ("HEAD", "/users/u", 404),
        ("HEAD", "/groups/g", 404),
        ("HEAD", "/connections/c", 404),
    ]:
        body = PAYLOAD if method == "POST" else None
        assert await status_of(service, method, f"/api/hubs/empty{path}", body) == status


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("/:closeConnections", set()),
        ("/users/a/:closeConnections", {"b", "c"}),
        ("/groups/g/:closeConnections", {"c"}),
    ],
)
async def test_closing_many_closes_those_and_tells_why(
    service: Service, path: str, left: set[str]
) -> None:
    clients = {name: await client_of(service, name) for name in "abc"}
    for name in "ab":
        await service.rest("PUT", f"/api/hubs/chat/users/{name}/groups/g")

    assert await status_of(service, "POST", f"/api/hubs/chat{path}?reason=night%20falls") == 204

    for name in set("abc") - left:
        assert await clients[name].end() == (
            Close(error="night falls", allow_reconnect=True),
            1000,
        )
    assert set(service.node.registry.hub("chat").users if left else ()) == left  # type: ignore[union-attr]


async def test_closing_spares_the_excluded(service: Service) -> None:
    clients = {name: await client_of(service, name) for name in "ab"}
    spared = id_of(service, "b")

    path = f"/api/hubs/chat/:closeConnections?excluded={spared}"
    assert await status_of(service, "POST", path) == 204

    close, _ = await clients["a"].end()
    assert close == Close(allow_reconnect=True)
    await service.send("still here")
    assert await clients["b"].call() == ("still here", [])


async def test_a_client_that_is_closed_has_first_got_all_that_was_sent_to_it(
    service: Service,
) -> None:
    client = await client_of(service, "a")
    commands: list[dict[str, Any]] = [
        {"type": "SendMessage", "message": {"target": "last words"}},
        {"type": "CloseConnection", "reason": "done"},
    ]

    body = json.dumps(commands).encode()
    assert await status_of(service, "POST", "/api/hubs/chat/:execute", body) == 202

    assert await client.call() == ("last words", [])
    assert (await client.end())[0] == Close(error="done", allow_reconnect=True)


async def test_health_is_told_to_everybody(service: Service) -> None:
    for method in ("GET", "HEAD"):
        for path in ("/api/health", "/api/v1/health", "/api/health?api-version=2024-12-01"):
            answer = await service.request(method, path)
            assert (answer.status, answer.body) == (200, b"")


async def test_a_generated_token_lets_a_client_in_as_that_user(service: Service) -> None:
    path = "/api/hubs/chat/:generateToken?userId=ada&minutesToExpire=5&application=shop"
    answer = await service.rest("POST", path)

    query = {"hub": "shop_chat", "access_token": answer.json["token"]}
    client = await service.open("shop_chat", query=query)
    await client.handshake()

    assert service.only_connection("shop_chat").user_id == "ada"


async def test_both_keys_of_a_service_open_it(start: Start) -> None:
    service = await start(access_keys=("1" * 40, "2" * 40))
    other = await start(access_keys=("2" * 40,))

    token = other.rest_token("/api/hubs/chat/:generateToken")

    answer = await service.request("POST", "/api/hubs/chat/:generateToken", token=token)
    assert answer.status == 200
