"""The management client's requests, byte for byte as the Azure SDK makes them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.client.recording import KEY, Recorder
from tests.protocol.signing import payload_of
from tests.vectors.reading import cases, read

from hubbub import __version__
from hubbub.client.management import HubContext, ServiceClient
from hubbub.client.rest import encode_invocation
from hubbub.protocol.endpoints import parse_connection_string
from hubbub.protocol.tokens import decode_token

VERSION = "api-version=2024-12-01"
Action = Callable[[HubContext], Awaitable[object]]


SENDS: dict[str, tuple[Action, str]] = {
    "all": (lambda hub: hub.clients.all.send("t", 1), f"/:send?{VERSION}"),
    "all but some": (
        lambda hub: hub.clients.all_except(["a", "b&c"]).send("t", 1),
        f"/:send?{VERSION}&excluded=a&excluded=b%26c",
    ),
    "a user": (
        lambda hub: hub.clients.user("ann").send("t", 1),
        f"/users/ann/:send?{VERSION}",
    ),
    "a user of every character": (
        lambda hub: hub.clients.user("a/b c%+é?#:;=@~.-_'").send("t", 1),
        f"/users/a%2Fb%20c%25%2B%C3%A9%3F%23%3A%3B%3D%40~.-_%27/:send?{VERSION}",
    ),
    "a group": (
        lambda hub: hub.clients.group("g 1").send("t", 1),
        f"/groups/g%201/:send?{VERSION}",
    ),
    "a group but some": (
        lambda hub: hub.clients.group_except("g", ["a"]).send("t", 1),
        f"/groups/g/:send?{VERSION}&excluded=a",
    ),
    "a connection": (
        lambda hub: hub.clients.client("c=/1").send("t", 1),
        f"/connections/c%3D%2F1/:send?{VERSION}",
    ),
}


@pytest.mark.parametrize(("act", "path"), SENDS.values(), ids=SENDS)
async def test_a_send_is_posted_as_the_azure_sdk_does(
    recorder: Recorder, recorded: HubContext, act: Action, path: str
) -> None:
    await act(recorded)
    asked = recorder.only
    assert (asked.method, asked.target) == ("POST", f"/api/hubs/chat{path}")
    assert asked.body == b'{"Target":"t","Arguments":[1]}'
    assert asked.headers["Content-Type"] == "application/json; charset=utf-8"
    assert asked.headers["Asrs-User-Agent"].startswith(f"Hubbub/{__version__} (Python ")


MEMBERSHIPS: dict[str, tuple[Action, str, str]] = {
    "a connection in": (
        lambda hub: hub.groups.add("c/1", "g/1"),
        "PUT",
        "/groups/g%2F1/connections/c%2F1",
    ),
    "a connection out": (
        lambda hub: hub.groups.remove("c/1", "g/1"),
        "DELETE",
        "/groups/g%2F1/connections/c%2F1",
    ),
    "a connection out of all": (
        lambda hub: hub.groups.remove_all("c/1"),
        "DELETE",
        "/connections/c%2F1/groups",
    ),
    "a user in": (
        lambda hub: hub.user_groups.add("u/1", "g/1"),
        "PUT",
        "/users/u%2F1/groups/g%2F1",
    ),
    "a user out": (
        lambda hub: hub.user_groups.remove("u/1", "g/1"),
        "DELETE",
        "/users/u%2F1/groups/g%2F1",
    ),
    "a user out of all": (
        lambda hub: hub.user_groups.remove_all("u/1"),
        "DELETE",
        "/users/u%2F1/groups",
    ),
}


@pytest.mark.parametrize(("act", "method", "path"), MEMBERSHIPS.values(), ids=MEMBERSHIPS)
async def test_a_membership_is_changed_without_a_body(
    recorder: Recorder, recorded: HubContext, act: Action, method: str, path: str
) -> None:
    await act(recorded)
    asked = recorder.only
    assert (asked.method, asked.target) == (method, f"/api/hubs/chat{path}?{VERSION}")
    assert asked.body == b""
    assert "Content-Type" not in asked.headers


async def test_each_request_has_a_token_for_it_alone(
    recorder: Recorder, recorded: HubContext
) -> None:
    await recorded.clients.user("a/b").send("t")
    await recorded.groups.add("c", "g")
    for asked, path in zip(
        recorder.asked,
        ("/api/hubs/chat/users/a%2Fb/:send", "/api/hubs/chat/groups/g/connections/c"),
        strict=True,
    ):
        scheme, token = asked.headers["Authorization"].split()
        claims = payload_of(token)
        assert scheme == "Bearer"
        assert decode_token(token, [KEY], now=claims["iat"]) == claims
        assert claims["aud"] == recorder.url + path
        assert claims["exp"] - claims["iat"] == 3600
        assert claims["nameid"]


async def test_the_name_of_the_server_in_the_tokens_stays_the_same(
    recorder: Recorder, recorded: HubContext
) -> None:
    for _ in range(2):
        await recorded.clients.all.send("t")
    names = {payload_of(asked.headers["Authorization"].split()[1])["nameid"]
             for asked in recorder.asked}  # fmt: skip
    assert len(names) == 1


@pytest.mark.parametrize("vector", cases(read("rest_bodies")["json"], written=True))
def test_a_body_is_written_as_the_azure_sdk_writes_it(vector: dict[str, Any]) -> None:
    assert encode_invocation(vector["target"], vector["arguments"]) == vector["text"].encode()


async def test_what_is_no_json_is_refused_before_anything_is_sent(
    recorder: Recorder, recorded: HubContext
) -> None:
    with pytest.raises(TypeError):
        await recorded.clients.all.send("t", object())
    assert recorder.asked == []


@pytest.mark.parametrize(
    ("suffix", "path"),
    [("", "/api/hubs"), ("/base", "/base/api/hubs"), ("/base/", "/base/api/hubs")],
)
async def test_the_address_for_servers_is_used_where_there_is_one(
    recorder: Recorder, suffix: str, path: str
) -> None:
    text = (
        f"Endpoint=https://elsewhere.invalid;AccessKey={KEY};ServerEndpoint={recorder.url}{suffix}"
    )
    async with ServiceClient(text) as client:
        await client.hub("chat").clients.all.send("t")
    assert recorder.only.target == f"{path}/chat/:send?{VERSION}"


async def test_an_endpoint_may_be_given_in_place_of_a_connection_string(
    recorder: Recorder,
) -> None:
    async with ServiceClient(parse_connection_string(recorder.connection_string)) as client:
        await client.hub("chat").clients.all.send("t")
    assert len(recorder.asked) == 1
