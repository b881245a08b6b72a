"""Which service a command calls, and the one sentence that says why it could not be called."""

import asyncio
import json
import socket
from pathlib import Path

import pytest
from tests.cli.calling import invoke
from tests.cli.programs import run
from tests.cli.test_doctor import answering
from tests.service.running import Running

from hubbub.cli import chosen
from hubbub.cli.asking import is_service
from hubbub.errors import ConfigError, ServiceError
from hubbub.protocol.endpoints import format_connection_string
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings

OTHER_KEY = "another key, which has at least 32 bytes"
LIST = ("users", "list", "chat")


@pytest.fixture
def nobody() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port: int = gone.getsockname()[1]
    return port


async def test_without_a_connection_string_it_is_the_emulators_that_runs_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Running(ServiceSettings()) as service:
        await service.connect("chat", "ann")
        monkeypatch.setattr(chosen, "_EMULATOR_URL", service.url)

        result = await asyncio.to_thread(invoke, *LIST)

    assert result.exit_code == 0
    assert "ann" in result.stdout
    assert result.stderr == (
        "hubbub: no AzureSignalRConnectionString is set, so this is the service on "
        f"{service.url}.\n"
    )


@pytest.mark.parametrize(
    ("status", "health", "is_one"),
    [(200, "ok", True), (503, "draining", True), (503, "else", False)],
)
def test_a_service_that_is_drained_is_one_still(status: int, health: str, is_one: bool) -> None:
    with answering(status=status, health=health) as url:
        assert is_service(url) is is_one


@pytest.mark.parametrize("command", [LIST, ("token", "client", "chat"), ("listen", "chat")])
def test_without_one_that_runs_here_a_command_asks_which(
    nobody: int, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(chosen, "_EMULATOR_URL", f"http://127.0.0.1:{nobody}")

    result = invoke(*command)

    assert isinstance(result.exception, ConfigError)
    assert "Which service? Set AzureSignalRConnectionString, or pass --conn" in str(
        result.exception
    )


def write_settings(text: str, name: str = chosen.SETTING) -> None:
    """Make the current folder that of an app with this connection string."""
    Path("local.settings.json").write_text(json.dumps({"Values": {name: text}}))


async def test_in_the_folder_of_an_app_it_is_the_service_of_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Running(ServiceSettings()) as service:
        await service.connect("chat", "ann")
        write_settings(service.connection_string, chosen.SETTING.lower())  # any case, as in .NET

        result = await asyncio.to_thread(invoke, *LIST)

    assert result.exit_code == 0
    assert "ann" in result.stdout
    assert result.stderr == (
        f"hubbub: this is the service on {service.url}, of AzureSignalRConnectionString in "
        "local.settings.json.\n"
    )


async def test_the_environment_goes_before_the_folder_of_an_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_settings("which is not read")
    async with Running(ServiceSettings()) as service:
        environment = {chosen.SETTING: service.connection_string}

        result = await asyncio.to_thread(lambda: invoke(*LIST, **environment))

    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("Endpoint=http://localhost", "AzureSignalRConnectionString in local.settings.json cannot"),
        (
            f"Endpoint=http://127.0.0.1;Port=NOBODY;AccessKey={EMULATOR_KEY};",
            "correct AzureSignalRConnectionString in local.settings.json.",
        ),
    ],
)
def test_what_is_wrong_with_the_setting_of_an_app_is_said_with_its_place(
    nobody: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_settings(setting.replace("NOBODY", str(nobody)))

    assert sentence in str(invoke(*LIST).exception)


async def test_a_key_that_nobody_has_named_is_the_emulators_and_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Running(ServiceSettings(access_keys=(OTHER_KEY,))) as service:
        monkeypatch.setattr(chosen, "_EMULATOR_URL", service.url)
        result = await asyncio.to_thread(lambda: invoke(*LIST))

    assert isinstance(result.exception, ServiceError)
    sentence = "has another access key than the emulator's. Set AzureSignalRConnectionString, or"
    assert sentence in str(result.exception)


def test_something_else_on_that_port_is_not_taken_for_a_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(chosen, "_EMULATOR_URL", url)

        assert isinstance(invoke(*LIST).exception, ConfigError)


def test_a_text_that_a_shell_has_cut_is_told_to_be_put_in_quotes() -> None:
    result = invoke(*LIST, AzureSignalRConnectionString="Endpoint=http://localhost")

    assert isinstance(result.exception, ConfigError)
    text = str(result.exception)
    assert text.startswith("AzureSignalRConnectionString in the environment cannot be used: ")
    assert text.endswith("as in export AzureSignalRConnectionString='Endpoint=…'.")


@pytest.mark.parametrize(
    ("given", "where"),
    [("option", "--connection-string"), ("environment", f"{chosen.SETTING} in the environment")],
)
@pytest.mark.parametrize("command", [LIST, ("connections", "count", "chat")])
async def test_another_key_than_the_services_is_said_with_its_place(
    command: tuple[str, ...], given: str, where: str
) -> None:
    async with Running(ServiceSettings(access_keys=(OTHER_KEY,))) as service:
        text = format_connection_string(service.url, EMULATOR_KEY)
        options = ("--connection-string", text) if given == "option" else ()
        environment = {chosen.SETTING: text} if given == "environment" else {}

        result = await asyncio.to_thread(lambda: invoke(*command, *options, **environment))

    assert isinstance(result.exception, ServiceError)
    assert str(result.exception) == (
        f"The service at {service.url} has another access key than {where} says. "
        "Use the connection string that it printed when it was started, with the key that "
        "`hubbub keys rotate` has printed since, if it has."
    )


async def test_a_client_with_another_key_is_told_so_too() -> None:
    async with Running(ServiceSettings(access_keys=(OTHER_KEY,))) as service:
        text = format_connection_string(service.url, EMULATOR_KEY)

        ended = await asyncio.to_thread(run, "listen", "chat", "--connection-string", text)

    assert ended.returncode == 1
    assert "has another access key than --connection-string says." in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [LIST, ("listen", "chat")])
def test_a_service_that_is_not_there_is_one_sentence(nobody: int, command: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{nobody}"
    text = format_connection_string(url, EMULATOR_KEY)

    result = invoke(*command, "--connection-string", text)

    assert isinstance(result.exception, ServiceError)
    assert str(result.exception) == (
        f"No service answers at {url}: Connection refused. "
        "Start one with `hubbub start`, or correct --connection-string."
    )


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("connections", "list", "chat", "--filter", "foo eq"), "Invalid filter: Unexpected 'foo'"),
        (
            ("send", "chat", "hi", "--connection", "c", "--wait"),
            "There is no connection 'c'.",
        ),
    ],
)
async def test_what_the_service_refuses_is_told_in_its_own_words_alone(
    command: tuple[str, ...], sentence: str
) -> None:
    async with Running(ServiceSettings()) as service:
        options = ("--connection-string", service.connection_string)
        result = await asyncio.to_thread(invoke, *command, *options)

    assert isinstance(result.exception, ServiceError)
    assert str(result.exception).startswith(sentence)
    assert "{" not in str(result.exception)
