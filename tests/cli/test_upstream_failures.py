"""`hubbub upstream check` explains apps that do not answer as they should, and what to change."""

import socket
import threading
from pathlib import Path

import pytest
from tests.cli.upstream_app import WEBHOOKS, Answer, Result, app, check, functions, settings

from hubbub.protocol import challenge
from hubbub.protocol.webhooks import receive_webhook
from hubbub.service.settings import EMULATOR_KEY


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUBBUB_ACCESS_KEY", raising=False)
    monkeypatch.delenv("AzureSignalRConnectionString", raising=False)
    return tmp_path


def explained(result: Result, *words: str) -> None:
    assert result.status == 1
    for word in words:
        assert word in result.text


# The failure kinds, each with what to change.


def test_a_wrong_key_is_explained() -> None:
    with app(functions):
        result = check("--probe", "--access-key", "another-key-" * 4)

    explained(result, "answered 401", "another access key", "compare the AccessKey")


def test_a_missing_system_key_is_explained() -> None:
    with app(lambda *_: Answer(401)):
        explained(check("--probe"), "answered 401", "?code=KEY", "signalr_extension")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (challenge.SYSTEM_KEY, ["?code=KEY", "signalr_extension"]),
        (challenge.ACCESS_KEY, ["another access key", "compare the AccessKey"]),
        (challenge.NO_ACCESS_KEY, ["no access key to check", "connection string in its settings"]),
        (challenge.FULL_SIGNATURE, ["set SignBody in the template"]),
    ],
)
def test_which_check_of_a_function_app_has_failed_is_explained(
    wanted: str, words: list[str]
) -> None:
    with app(lambda *_: Answer(401, challenge=wanted)):
        result = check("--probe")

    explained(result, "answered 401", *words)
    assert ("signalr_extension" in result.text) == (wanted == challenge.SYSTEM_KEY)


def test_the_key_of_the_connection_string_in_the_environment_signs_the_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = "Endpoint=http://localhost;Port=8888;AccessKey=another-key;Version=1.0;"
    monkeypatch.setenv("AzureSignalRConnectionString", other)
    with app(functions):
        explained(check("--probe"), "another access key")
        assert check("--probe", "--access-key", EMULATOR_KEY).status == 0
        monkeypatch.setenv(
            "AzureSignalRConnectionString", other.replace("another-key", EMULATOR_KEY)
        )
        assert check("--probe").status == 0


def test_missing_credentials_of_another_app_are_explained() -> None:
    with app(lambda *_: Answer(403), path="/hook"):
        explained(check("--probe"), "answered 403", "set Auth in the template")


def test_a_wrong_path_is_explained() -> None:
    with app(lambda *_: Answer(404), path="/api/webhook"):
        explained(check("--probe"), "answered 404", "Nothing is at this path", WEBHOOKS)


def test_a_missing_function_is_explained() -> None:
    with app(functions):
        result = check("--probe", event="unknown")

    explained(
        result,
        "has no function for this",
        "hubName 'chat', category 'messages' and event 'unknown'",
    )


def test_a_host_that_is_down_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings({"UrlTemplate": f"http://127.0.0.1:{port}/"})

    explained(check("--probe"), f"Cannot connect to host 127.0.0.1:{port}", "Start the app")


def test_an_app_that_is_slow_is_explained() -> None:
    gate = threading.Event()

    def wait(*_: object) -> Answer:
        gate.wait(20)
        return Answer(200)

    with app(wait) as url:
        settings({"UrlTemplate": url, "Timeout": 0.2})
        result = check("--probe")
        gate.set()

    explained(result, "no whole answer after 0.2 seconds", "raise Timeout")


def test_an_app_that_fails_is_explained() -> None:
    with app(lambda *_: Answer(500, b"stack trace")):
        explained(check("--probe"), "answered 500", "Look at its log for the exception")


def test_an_app_that_answers_garbage_is_explained() -> None:
    with app(lambda *_: Answer(200, b"OK")):
        explained(check("--probe"), "whole records of json", "a framed completion")


def test_an_app_that_answers_too_much_is_explained() -> None:
    with app(lambda *_: Answer(200, b"x" * (16 * 1024 * 1024 + 1))):
        explained(check("--probe"), "larger than 16777216 bytes", "Answer with less")


def test_a_redirect_to_another_host_is_explained() -> None:
    with app(lambda *_: Answer(307, location="http://elsewhere.invalid/x?code=secret")):
        result = check("--probe")

    explained(result, "another host: http://elsewhere.invalid/x", "Put the final URL into")
    assert "secret" not in result.text


def test_a_link_local_address_is_explained() -> None:
    settings({"UrlTemplate": "http://169.254.169.254/metadata"})

    explained(check("--probe"), "cloud metadata", "Correct the host")


def test_a_bad_placeholder_is_explained() -> None:
    settings({"UrlTemplate": "http://host/{Hub}"})

    result = check()
    assert result.status == 2
    assert "settings.json: template 0: {Hub} is no placeholder" in result.text
    assert "Did you mean {hub}?" in result.text


def test_names_that_need_percent_encoding_are_shown_as_they_are_sent() -> None:
    paths = []

    def remember(headers: dict[str, str], body: bytes) -> Answer:
        webhook = receive_webhook(headers, body, (EMULATOR_KEY,))
        paths.append((webhook.hub, webhook.event))
        return Answer(200)

    with app(remember, path="/{hub}/{event}") as url:
        result = check("--probe", hub="a.b[c]", event="say hällo/?")

    assert result.status == 0
    assert f"It goes to {url}/a.b%5Bc%5D/say%20h%C3%A4llo%2F%3F" in result.text
    assert paths == [("a.b[c]", "say hällo/?")]


def test_a_file_saved_half_way_is_explained() -> None:
    Path("settings.json").write_text('{"UpstreamSettings": {\n  "Templates": [{"Url')

    result = check()
    assert result.status == 2
    assert "settings.json line 2, column 18: this is not valid JSON" in result.text


def test_a_secret_that_cannot_be_read_is_explained() -> None:
    settings({"UrlTemplate": "http://host/?code={@Hubbub.Environment(Name=NO_SUCH_VARIABLE)}"})

    explained(check("--probe"), "no variable NO_SUCH_VARIABLE", "Correct the reference")
