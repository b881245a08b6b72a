"""`hubbub users`, `groups` and `connections`: who is there, for people and for programs."""

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

    assert told == f"{bob} is not in blue.\n"
    assert set(service.hub().groups) == {"green"}


async def test_connections_are_closed(service: Service, clients: dict[str, Client]) -> None:
    await call(service, "users", "close", "chat", "ann", "--reason", "enough")
    told = await read(service, "connections", "close", "chat", id_of(service, "bob"))

    assert told["closed"]
    assert (await clients["ann"].end())[0] == Close(error="enough", allow_reconnect=True)
    assert (await clients["bob"].end())[0] == Close(allow_reconnect=True)


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
