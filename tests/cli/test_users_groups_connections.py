"""`hubbub users`, `groups` and `connections`: who is there, for people and for programs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cli.calling import call, invoke, read
from tests.cli.programs import run, running
from tests.service.running import Client, Running, Service

from hubbub.protocol.messages import Close
from hubbub.service.settings import ServiceSettings


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Running(ServiceSettings()) as running:
        yield running


@pytest.fixture
async def clients(service: Service) -> dict[str, Client]:
    """Two clients; ann is in the group red, as a user."""
    clients = {name: await service.connect("chat", name) for name in ("ann", "bob")}
    await service.rest("PUT", "/api/hubs/chat/users/ann/groups/red")
    return clients


def id_of(service: Service, user: str) -> str:
    (connection,) = service.hub().users[user]
    return connection.id


async def test_who_is_online_is_told(service: Service, clients: dict[str, Client]) -> None:
    ann = id_of(service, "ann")

    assert await read(service, "users", "list", "chat") == [
        {"userId": "ann", "connections": 1},
        {"userId": "bob", "connections": 1},
    ]
    assert await read(service, "groups", "list", "chat") == [{"group": "red", "connections": 1}]
    assert await read(service, "groups", "members", "chat", "red") == [
        {"connectionId": ann, "userId": "ann"}
    ]
    assert await read(service, "connections", "list", "chat", "--filter", "userId eq 'ann'") == [
        {"connectionId": ann, "userId": "ann", "groups": ["red"]}
    ]
    assert await read(service, "connections", "count", "chat") == {"connections": 2}
    assert await call(service, "connections", "count", "chat", "--filter", "false") == "0\n"
    (stored,) = await read(service, "users", "groups", "chat", "ann")
    assert stored["group"] == "red"


async def test_a_table_is_for_people(service: Service, clients: dict[str, Client]) -> None:
    table = await call(service, "connections", "list", "chat")

    head, *rows = table.splitlines()
    assert head.split() == ["connectionId", "userId", "groups"]
    assert sorted(row.split()[1:] for row in rows) == [["ann", "red"], ["bob"]]


async def test_a_name_cannot_change_the_terminal(service: Service) -> None:
    await service.connect("chat", "\x1b[31mred\n")

    table = await call(service, "users", "list", "chat")

    assert "\x1b" not in table
    assert "\\x1b[31mred\\n" in table


async def test_a_hub_without_clients_is_a_sentence_or_an_empty_list(service: Service) -> None:
    assert await call(service, "users", "list", "chat") == "No user is on chat.\n"
    assert await call(service, "groups", "list", "chat") == "No group of chat has members.\n"
    assert await call(service, "groups", "members", "chat", "g") == "Nobody is in g.\n"
    assert await call(service, "connections", "list", "chat") == "Nobody is on chat.\n"
    assert await read(service, "connections", "list", "chat") == []


async def test_members_are_added_and_removed(service: Service, clients: dict[str, Client]) -> None:
    bob = id_of(service, "bob")

    await call(service, "groups", "add", "chat", "blue", "--connection", bob)
    await call(service, "groups", "add", "chat", "green", "--user", "ann", "--ttl", "60")
    assert set(service.hub().groups) == {"red", "blue", "green"}
    told = await call(service, "groups", "remove", "chat", "blue", "--connection", bob)
    await call(service, "groups", "remove", "chat", "red", "--user", "ann")

    assert told == f"{bob} is not in blue any more.\n"
    assert set(service.hub().groups) == {"green"}


async def test_connections_are_closed(service: Service, clients: dict[str, Client]) -> None:
    await call(service, "users", "close", "chat", "ann", "--reason", "enough")
    told = await read(service, "connections", "close", "chat", id_of(service, "bob"))

    assert told["closed"]
    assert (await clients["ann"].end())[0] == Close(error="enough", allow_reconnect=True)
    assert (await clients["bob"].end())[0] == Close(allow_reconnect=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("groups", "add", "chat", "g", "--connection", "c"), "There is no connection c on chat."),
        (
            ("groups", "remove", "chat", "g", "--connection", "c"),
            "There is no connection c on chat.",
        ),
        (("groups", "remove", "chat", "g", "--user", "u"), "There is no user u in g or on chat."),
        (("connections", "close", "chat", "c"), "There is no connection c on chat."),
        (("users", "close", "chat", "u"), "The user u has no connection on chat."),
    ],
)
async def test_who_is_not_there_is_no_success(
    service: Service, clients: dict[str, Client], arguments: tuple[str, ...], sentence: str
) -> None:
    options = ("--connection-string", service.connection_string)

    result = await asyncio.to_thread(invoke, *arguments, *options)

    assert result.exit_code == 1
    assert str(result.exception) == sentence
    assert result.stdout == ""


@pytest.mark.parametrize("member", ["stored", "bob"])
async def test_a_user_who_is_away_or_only_connected_is_taken_out(
    service: Service, clients: dict[str, Client], member: str
) -> None:
    await service.rest("PUT", "/api/hubs/chat/users/stored/groups/red")

    told = await call(service, "groups", "remove", "chat", "red", "--user", member)

    assert told == f"{member} is not in red any more.\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Pass either --user or --connection."),
        (["--user", "a", "--connection", "c"], "Pass either --user or --connection."),
        (["--connection", "c", "--ttl", "1"], "--ttl goes with --user"),
        (["--user", ""], "A name is not empty."),
        (["--user", "a", "--ttl", "-1"], "-1 is not in the range"),
    ],
)
def test_a_member_is_a_user_or_a_connection(options: list[str], sentence: str) -> None:
    result = invoke("groups", "add", "chat", "g", *options)

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_membership_survives_a_service_that_is_killed(tmp_path: Path) -> None:
    options = ("service", "--port", "0", "--data", str(tmp_path / "data"))
    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (process, facts):
        text = facts["service"]["connectionString"]
        added = invoke(
            "groups", "add", "chat", "red", "--user", "ann", AzureSignalRConnectionString=text
        )
        assert added.exit_code == 0
        process.kill()
        process.wait()

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        text = facts["service"]["connectionString"]
        told = invoke("users", "groups", "chat", "ann", AzureSignalRConnectionString=text)
        second = run("service", "--port", "0", "--data", str(tmp_path / "data"))

    assert "red" in told.stdout
    assert second.returncode == 2
    assert "Is another service using the same folder?" in second.stderr
