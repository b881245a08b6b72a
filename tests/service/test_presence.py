"""Who is online: pages, counts, filters; groups of users that connect later; commands by filter."""

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from tests.service.running import Service

from hubbub.protocol.messages import Close
from hubbub.service.filter import Subject
from hubbub.service.selection import select

HUB = "/api/hubs/chat"


async def pages(service: Service, path: str) -> list[list[Any]]:
    """Every page of a listing, following nextLink as it is."""
    found = []
    while True:
        answer = await service.rest("GET", path)
        assert answer.status == 200, answer
        found.append(answer.json["value"])
        link = answer.json.get("nextLink")
        if link is None:
            return found
        assert link.startswith(service.url + "/")
        path = link.removeprefix(service.url)


async def names(service: Service, path: str, member: str) -> list[str]:
    return [entry[member] for page in await pages(service, path) for entry in page]


async def count(service: Service, path: str) -> int:
    answer = await service.rest("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")
    return int(answer.headers["X-Total-Count"])


async def put(service: Service, user: str, group: str, ttl: int | None = None) -> None:
    path = f"{HUB}/users/{quote(user, safe='')}/groups/{group}"
    answer = await service.rest("PUT", path if ttl is None else f"{path}?ttl={ttl}")
    assert answer.status == 200


async def test_the_connections_of_a_group_are_listed_in_pages(service: Service) -> None:
    clients = [await service.connect("chat", f"u{number}") for number in range(5)]
    for number in range(4):
        await put(service, f"u{number}", "g")
    expected = {(c.id, c.user_id) for c in service.hub().groups["g"]}

    found = await pages(service, f"{HUB}/groups/g/connections?api-version=x&maxpagesize=3")

    assert [len(page) for page in found] == [3, 1]
    assert {(each["connectionId"], each["userId"]) for page in found for each in page} == expected
    assert len(clients) == 5


@pytest.mark.parametrize(
    ("query", "sizes"),
    [
        ("", [5]),
        ("top=3", [3]),
        ("top=5", [5]),
        ("maxPageSize=2&top=3", [2, 1]),
        ("maxPageSize=1", [1, 1, 1, 1, 1]),
        ("MAXPAGESIZE=5&TOP=200", [5]),
    ],
)
async def test_pages_have_the_asked_size_and_end_at_top(
    service: Service, query: str, sizes: list[int]
) -> None:
    clients = [await service.connect() for _ in range(5)]

    found = await pages(service, f"{HUB}/connections?{query}")

    assert [len(page) for page in found] == sizes
    ids = [entry["connectionId"] for page in found for entry in page]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert all("userId" not in entry for page in found for entry in page)
    assert len(clients) == 5


async def test_a_listing_goes_on_where_it_was_whoever_comes_or_goes(service: Service) -> None:
    for name in ("b", "d", "f"):
        await service.connect("chat", name)
    first = await service.rest("GET", f"{HUB}/users?maxPageSize=2")
    await service.connect("chat", "a")
    await service.connect("chat", "e")
    await service.rest("POST", f"{HUB}/users/d/:closeConnections")

    rest = await names(service, first.json["nextLink"].removeprefix(service.url), "userId")

    assert rest == ["e", "f"]


async def test_a_listing_of_an_application_or_with_a_filter_stays_one(service: Service) -> None:
    for _ in range(3):
        await service.connect("shop_chat", "ada")
    await service.connect("shop_chat", "bob")

    text = quote("userId eq 'ada'")
    path = f"{HUB}/connections?application=shop&filter={text}&maxPageSize=1&api-version=1"

    assert await names(service, path, "userId") == ["ada"] * 3


async def test_users_groups_and_connections_are_told_with_their_counts(service: Service) -> None:
    for name in ("ada", "ada", "bob/ü"):
        await service.connect("chat", name)
    await service.connect("chat")
    await put(service, "ada", "red")
    await put(service, "bob/ü", "red")
    await put(service, "bob/ü", "blue")

    users = await pages(service, f"{HUB}/users")
    groups = await pages(service, f"{HUB}/groups")
    text = quote("'red' in groups and userId ne 'ada'")
    (connections,) = await pages(service, f"{HUB}/connections?filter={text}")

    assert users == [[{"userId": "ada", "connections": 2}, {"userId": "bob/ü", "connections": 1}]]
    assert groups == [[{"group": "blue", "connections": 1}, {"group": "red", "connections": 3}]]
    assert [each["groups"] for each in connections] == [["blue", "red"]]
    assert await count(service, f"{HUB}/users") == 2
    assert await count(service, f"{HUB}/groups") == 2
    assert await count(service, f"{HUB}/connections") == 4
    assert await count(service, f"{HUB}/connections?filter={text}") == 1


@pytest.mark.parametrize("collection", ["connections", "users", "groups", "groups/g/connections"])
async def test_a_hub_without_clients_has_an_empty_page(service: Service, collection: str) -> None:
    assert await pages(service, f"/api/hubs/empty/{collection}") == [[]]


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("maxPageSize=0", "maxPageSize"),
        ("maxPageSize=201", "maxPageSize"),
        ("maxPageSize=-1", "maxPageSize"),
        ("top=0", "top"),
        ("top=99999999999", "top"),
        ("continuationToken=%21", "continuationToken"),
        ("continuationToken=x", "continuationToken"),
        ("continuationToken=____", "continuationToken"),
        ("continuationToken=%FC", "query"),
        ("continuationToken=%C3%BC", "continuationToken"),
        ("continuationToken=a&continuationToken=b", "continuationToken"),
        ("filter=(((", "filter"),
    ],
)
async def test_a_wrong_parameter_of_a_listing_is_named(
    service: Service, query: str, target: str
) -> None:
    answer = await service.rest("GET", f"{HUB}/connections?{query}")

    assert (answer.status, answer.json["target"]) == (400, target)


async def test_a_stored_membership_is_told_with_its_end(service: Service) -> None:
    await put(service, "ada", "red", 60)
    await put(service, "ada", "blue")

    ((blue, red),) = await pages(service, f"{HUB}/users/ada/groups")

    assert (blue["group"], red["group"]) == ("blue", "red")
    assert red["expires"] < blue["expires"]
    assert red["expires"].endswith("Z")


async def test_a_client_that_connects_later_is_in_the_groups_of_its_user(service: Service) -> None:
    await put(service, "ada", "red")
    await put(service, "ada", "now-only", 0)
    ada, bob = await service.connect("chat", "ada"), await service.connect("chat", "bob")

    await service.send("hello", to="/groups/red")
    await service.send("nobody", to="/groups/now-only")
    await service.send("end")

    assert await ada.calls(2) == [("hello", []), ("end", [])]
    assert await bob.call() == ("end", [])


async def test_a_ttl_of_zero_is_for_those_who_are_connected(service: Service) -> None:
    ada = await service.connect("chat", "ada")
    await put(service, "ada", "red", 0)

    await service.send("hello", to="/groups/red")

    assert await ada.call() == ("hello", [])
    assert (await service.rest("HEAD", f"{HUB}/users/ada/groups/red")).status == 404


async def test_a_user_that_leaves_a_group_leaves_with_all_connections(service: Service) -> None:
    for _ in range(2):
        await service.connect("chat", "ada")
    for group in ("red", "blue"):
        await put(service, "ada", group)
    await service.rest(
        "PUT", f"{HUB}/groups/own/connections/{next(iter(service.hub().connections)).id}"
    )

    await service.rest("DELETE", f"{HUB}/users/ada/groups/red")
    assert set(service.hub().groups) == {"blue", "own"}
    await service.rest("DELETE", f"{HUB}/users/ada/groups")
    assert service.hub().groups == {}


async def execute(service: Service, text: str, *commands: dict[str, Any]) -> None:
    path = f"{HUB}/:execute?filter={quote(text)}"
    answer = await service.rest("POST", path, json.dumps(commands).encode())
    assert (answer.status, answer.body) == (202, b"")


async def test_commands_are_done_in_order_for_whom_the_filter_chooses(service: Service) -> None:
    clients = {name: await service.connect("chat", f"listener-{name}") for name in "ab"}
    other = await service.connect("chat", "speaker")

    await execute(
        service,
        "startswith(userId, 'listener-')",
        {"type": "JoinGroup", "group": "g"},
        {"type": "SendMessage", "message": {"target": "first", "arguments": [1]}},
        {"type": "SendMessage", "message": {"Target": "second"}},
    )
    await service.send("to group", to="/groups/g")
    await execute(service, "'g' in groups", {"type": "LeaveGroup", "group": "g"})
    assert service.hub().groups == {}
    await execute(service, "endswith(userId, 'a')", {"type": "CloseConnection", "reason": "bye"})
    await service.send("end")

    expected = [("first", [1]), ("second", []), ("to group", [])]
    assert await clients["a"].calls(3) == expected
    assert (await clients["a"].end())[0] == Close(error="bye", allow_reconnect=True)
    assert await clients["b"].calls(4) == [*expected, ("end", [])]
    assert await other.call() == ("end", [])


async def test_commands_without_a_filter_are_for_everybody(service: Service) -> None:
    client = await service.connect()

    answer = await service.rest(
        "POST", f"{HUB}/:execute", b'[{"type":"SendMessage","message":{"target":"x"}}]'
    )

    assert answer.status == 202
    assert await client.call() == ("x", [])


async def test_a_long_choice_lets_others_have_their_turn(service: Service) -> None:
    for _ in range(3):
        await service.connect()
    turns: list[None] = []

    def slow(_: Subject) -> bool:
        asyncio.get_running_loop().call_soon(turns.append, None)
        time.sleep(0.005)  # work that takes longer than a choice may hold the loop
        return True

    turns_before = [len(turns) async for _ in select(service.hub().connections, slow)]

    assert turns_before == [0, 1, 2]


async def test_a_link_leads_where_the_caller_came_in(service: Service) -> None:
    for _ in range(2):
        await service.connect()
    token = service.rest_token(f"{HUB}/connections")

    answer = await service.request(
        "GET",
        f"{HUB}/connections?maxPageSize=1",
        token=token,
        headers={"Host": "hubbub.example:8443", "X-Forwarded-Proto": "https"},
    )

    link = urlsplit(answer.json["nextLink"])
    assert (link.scheme, link.netloc) == ("https", "hubbub.example:8443")
