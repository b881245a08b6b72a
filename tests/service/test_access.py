"""Who is let in: tokens and hubs of clients and REST calls, and what those refused are told."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.protocol.signing import sign
from tests.service.conftest import Start
from tests.service.fakes import access_of
from tests.service.running import Client, Service
from websockets.exceptions import InvalidStatus

from hubbub.protocol.tokens import issue_client_token
from hubbub.service.access import HUB_NAME_RULE, is_hub_name

NOW = int(time.time())
KEY_2 = "0123456789" * 4
SEND = "/api/hubs/chat/:send"


@pytest.fixture
async def bystander(service: Service) -> AsyncIterator[Client]:
    """Another client of the hub, who must still receive when the test is over."""
    client = await service.connect()
    yield client
    await service.send("still there")
    assert await client.call() == ("still there", [])


async def negotiate(service: Service, token: str | None) -> tuple[int, str | None]:
    answer = await service.request("POST", "/client/negotiate?hub=chat", token=token)
    return answer.status, answer.headers.get("WWW-Authenticate")


async def connect(service: Service, token: str | None) -> tuple[int, str | None]:
    query = {"hub": "chat"} if token is None else {"hub": "chat", "access_token": token}
    with pytest.raises(InvalidStatus) as caught:
        await service.open(query=query)
    response = caught.value.response
    return response.status_code, response.headers.get("WWW-Authenticate")


async def call_rest(service: Service, token: str | None) -> tuple[int, str | None]:
    headers = {"Content-Type": "application/json"}
    answer = await service.request(
        "POST", SEND, token=token, body=b'{"target":"t"}', headers=headers
    )
    return answer.status, answer.headers.get("WWW-Authenticate")


Way = Callable[[Service, str | None], Awaitable[tuple[int, str | None]]]
CLIENT_WAYS = [negotiate, connect]
CLIENT_AUDIENCE = "http://localhost/client/?hub=chat"
REST_AUDIENCE = f"http://localhost{SEND}"

# What is wrong with a token, what its sender is told, and what the log says was expected.
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "another key": (
        {"key": KEY_2},
        "The signature key was not found",
        "compare the AccessKey",
    ),
    "alg none": (
        {"header": {"alg": "none"}},
        "The token is malformed",
        "alg value is not allowed",
    ),
    "a foreign alg": (
        {"header": {"alg": "RS256"}},
        "The token is malformed",
        "alg value is not allowed",
    ),
    "expired": (
        {"payload": {"exp": 1_700_000_000}},
        "The token expired at '11/14/2023 22:13:20'",
        "compare the clocks",
    ),
    "not yet valid": (
        {"payload": {"nbf": 4_102_444_800, "exp": 4_102_448_400}},
        "The token is not valid before '01/01/2100 00:00:00'",
        "compare the clocks",
    ),
    "no end": ({"payload": {"exp": None}}, "The token has no expiration", "Add the claim exp"),
    "another audience": (
        {"payload": {"aud": "http://localhost/elsewhere"}},
        "The audience 'http://localhost/elsewhere' is invalid",
        "needs an audience that ends in",
    ),
    "no audience": (
        {"payload": {"aud": None}},
        "The audience '(null)' is invalid",
        "needs an audience that ends in",
    ),
}


@pytest.mark.parametrize("way", [*CLIENT_WAYS, call_rest])
@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_token_is_answered_with_its_reason_and_logged_with_what_was_expected(
    service: Service,
    bystander: Client,
    caplog: pytest.LogCaptureFixture,
    way: Way,
    wrong: str,
) -> None:
    caplog.set_level(logging.INFO, "hubbub")
    change, reason, expected = WRONG[wrong]
    audience = REST_AUDIENCE if way is call_rest else CLIENT_AUDIENCE
    payload = {"aud": audience, "exp": NOW + 600, **change.get("payload", {})}
    token = sign(payload, change.get("header"), **{"key": change["key"]} if "key" in change else {})

    status, challenge = await way(service, token)

    assert status == 401
    assert challenge == f'Bearer error="invalid_token", error_description="{reason}"'
    (line,) = [record.getMessage() for record in caplog.records]
    assert "refused" in line
    assert reason in line
    assert expected in line
    for part in token.split("."):
        assert not part or part not in line


@pytest.mark.parametrize("way", [*CLIENT_WAYS, call_rest])
async def test_a_missing_token_is_asked_for(
    service: Service, bystander: Client, caplog: pytest.LogCaptureFixture, way: Way
) -> None:
    caplog.set_level(logging.INFO, "hubbub")
    assert await way(service, None) == (401, "Bearer")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "Authorization: Bearer TOKEN" in line


@pytest.mark.parametrize("way", [*CLIENT_WAYS, call_rest])
async def test_a_token_over_4_kilobytes_is_too_large(
    service: Service, bystander: Client, way: Way
) -> None:
    status, _ = await way(service, sign({"exp": NOW + 600, "x": "x" * 4000}))
    assert status == 413


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "bearer", "Negotiate x", "Bearer\tx", "é"],
)
async def test_a_header_without_a_token_is_no_token(
    service: Service, bystander: Client, authorization: str
) -> None:
    answer = await service.request(
        "POST", "/client/negotiate?hub=chat", headers={"Authorization": authorization}
    )
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.body == b""


async def test_the_scheme_of_the_header_is_read_ignoring_case(service: Service) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {service.token()}"}
        answer = await service.request("POST", "/client/negotiate?hub=chat", headers=headers)
        assert answer.status == 200


async def test_a_client_token_is_told_that_it_cannot_call_the_rest_api(
    service: Service, bystander: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hubbub")
    status, challenge = await call_rest(service, service.token())
    assert status == 401
    assert "client/?hub=chat" in str(challenge)
    assert "This is a client token" in caplog.text


async def test_a_rest_token_is_told_that_it_cannot_connect(
    service: Service, bystander: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hubbub")
    status, _ = await connect(service, service.rest_token(SEND))
    assert status == 401
    assert "This is a REST token" in caplog.text


async def test_a_token_of_another_hub_is_refused(service: Service, bystander: Client) -> None:
    for way in CLIENT_WAYS:
        status, challenge = await way(service, service.token("news"))
        assert status == 401
        assert "hub=news' is invalid" in str(challenge)


async def test_a_rest_token_of_another_call_is_refused(service: Service, bystander: Client) -> None:
    status, _ = await call_rest(service, service.rest_token("/api/hubs/news/:send"))
    assert status == 401


async def test_tokens_of_every_key_are_accepted(start: Start) -> None:
    primary = "primary-" * 5
    service = await start(access_keys=(primary, KEY_2))
    for key in (primary, KEY_2):
        client_token = sign({"aud": CLIENT_AUDIENCE, "exp": NOW + 600}, key=key)
        rest_token = sign({"aud": REST_AUDIENCE, "exp": NOW + 600}, key=key)
        assert (await negotiate(service, client_token))[0] == 200
        assert (await call_rest(service, rest_token))[0] == 202


async def test_a_token_may_stand_in_the_address_of_a_websocket(service: Service) -> None:
    client = await service.open(query={"hub": "chat", "access_token": service.token()})
    assert await client.handshake() == b"{}\x1e"


async def test_the_header_wins_over_the_address(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.token(user='ann')}"}
    query = {"hub": "chat", "access_token": service.token(user="bob")}
    client = await service.open(query=query, headers=headers)
    await client.handshake()
    assert service.only_connection().user_id == "ann"

    for authorization in ("Bearer wrong", "Basic dXNlcjpwYXNz", ""):
        with pytest.raises(InvalidStatus):
            await service.open(query=query, headers={"Authorization": authorization})


async def test_the_last_token_of_an_address_counts(service: Service) -> None:
    path = f"/client/?hub=chat&access_token=wrong&access_token={service.token(user='ann')}"
    client = await service.open(path=path, query={})
    assert await client.handshake() == b"{}\x1e"
    assert service.only_connection().user_id == "ann"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/client/negotiate?hub=chat"), ("GET", "/client/?hub=chat&id=x")]
)
async def test_a_token_in_the_address_of_another_request_does_not_count(
    service: Service, bystander: Client, method: str, path: str
) -> None:
    answer = await service.request(method, f"{path}&access_token={service.token()}")
    assert answer.status == 401


async def test_a_token_in_the_address_of_a_rest_call_does_not_count(
    service: Service, bystander: Client
) -> None:
    path = f"{SEND}?access_token={service.rest_token(SEND)}"
    answer = await service.request("POST", path, body=b'{"target":"t"}')
    assert answer.status == 401


async def test_a_token_in_the_address_never_reaches_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = service.token("news")
    with pytest.raises(InvalidStatus):
        await service.open(query={"hub": "chat", "access_token": token})
    client = await service.open()
    await client.handshake()
    for logged in caplog.records:
        if logged.name.startswith(("hubbub", "uvicorn")):
            assert token not in logged.getMessage()


# Hubs.


@pytest.mark.parametrize(
    ("query", "explanation"),
    [
        ("", "The query names one hub, as in ?hub=chat; there is none."),
        ("?x=1", "there is none"),
        ("?hub=chat&hub=chat", "there is more than one"),
        ("?hub=chat&HUB=news", "there is more than one"),
        ("?hub=", HUB_NAME_RULE),
        ("?hub=1chat", HUB_NAME_RULE),
        ("?hub=cha%20t", HUB_NAME_RULE),
        ("?hub=chat%0A", HUB_NAME_RULE),
        ("?hub=%ff", HUB_NAME_RULE),
        ("?hub=" + "a" * 129, HUB_NAME_RULE),
    ],
)
async def test_a_client_names_one_hub(
    service: Service, bystander: Client, query: str, explanation: str
) -> None:
    answer = await service.request("POST", f"/client/negotiate{query}", token=service.token("chat"))
    assert answer.status == 400
    assert explanation in answer.text
    headers = {"Authorization": f"Bearer {service.token('chat')}"}
    with pytest.raises(InvalidStatus) as caught:
        await service.open(path=f"/client/{query}", query={}, headers=headers)
    assert caught.value.response.status_code == 400
    assert explanation in (caught.value.response.body or b"").decode()


@pytest.mark.parametrize("name", ["a", "A9", "chat_`,.[]", "a" * 128])
def test_a_hub_name_may_have_these_characters(name: str) -> None:
    assert is_hub_name(name)


@pytest.mark.parametrize("name", ["", "9a", "_a", "a b", "a/b", "é", "a\n", "a-b", "a" * 129])
def test_a_hub_name_may_not_have_other_characters(name: str) -> None:
    assert not is_hub_name(name)


# What a token says about its client.


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({}, None),
        ({"asrs.s.uid": "a", "nameid": "b", "sub": "c"}, "a"),
        ({"nameid": "b", "sub": "c"}, "b"),
        ({"sub": "c"}, "c"),
        ({"nameid": ["b", "d"]}, "b"),
        ({"nameid": []}, None),
        ({"nameid": 7}, "7"),
        ({"nameid": ""}, ""),
        ({"name": "n"}, None),
    ],
)
def test_the_user_is_the_one_that_the_token_names_first(
    claims: dict[str, Any], user: str | None
) -> None:
    assert access_of(**claims).user_id == user


@pytest.mark.parametrize(
    ("value", "is_detailed"),
    [("True", True), ("true", True), (True, True), ("False", False), ("", False), (1, False)],
)
def test_detailed_errors_are_for_clients_whose_token_says_so(value: Any, is_detailed: bool) -> None:
    assert access_of(**{"asrs.s.derror": value}).detailed_errors is is_detailed


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5), (5, 5), ("0", 1), ("99", 30), ("x", None), (None, None), ([], None), ("1e3", None)],
)
def test_the_handshake_timeout_of_a_token_is_1_to_30_seconds(
    value: Any, seconds: int | None
) -> None:
    assert access_of(**{"asrs.s.cht": value}).handshake_timeout == seconds


def test_a_hub_keeps_the_case_in_which_a_client_wrote_it() -> None:
    assert access_of("Chat").hub == "Chat"


async def test_the_query_is_kept_without_what_is_secret(service: Service) -> None:
    token = issue_client_token(service.endpoint, "chat", now=NOW)
    path = f"/client/?hub=chat&a=1&Access%5FToken=x&b=%26&access_token={token}&c="
    client = await service.open(path=path, query={})
    await client.handshake()
    kept = service.only_connection().access.query
    assert kept == "hub=chat&a=1&b=%26&c="
