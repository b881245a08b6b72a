"""`hubbub upstream`: what is in the settings, and what would be sent where."""

import json
from pathlib import Path

import pytest
from tests.cli.upstream_app import WEBHOOKS, Answer, app, check, functions, hubbub, settings

from hubbub.protocol.webhooks import receive_webhook
from hubbub.service.settings import EMULATOR_KEY


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUBBUB_ACCESS_KEY", raising=False)
    return tmp_path


def test_init_writes_the_emulators_file_and_list_shows_it_as_the_emulator_does() -> None:
    assert hubbub("upstream", "init") == (0, "Exported default settings to 'settings.json'.\n")
    assert hubbub("upstream", "list") == (
        0,
        (
            "Loaded upstream settings from 'settings.json'\n"
            "\t[0]http://localhost:7071/runtime/webhooks/signalr(event:'*',hub:'*',category:'*')\n"
        ),
    )


def test_init_leaves_a_file_that_is_there_unless_it_is_told_to_replace_it(here: Path) -> None:
    hubbub("upstream", "init", "-o", "new/folder")
    path = here / "new/folder/settings.json"
    written = path.read_text()
    path.write_text("mine")

    refused = hubbub("upstream", "init", "--output", "new/folder")
    assert (refused.status, path.read_text()) == (2, "mine")
    assert "--force" in refused.text
    assert hubbub("upstream", "init", "-o", "new/folder", "--force").status == 0
    assert path.read_text() == written


def test_list_as_json_and_from_a_folder() -> None:
    hubbub("upstream", "init", "-o", "there")

    assert json.loads(hubbub("upstream", "list", "-c", "there", "--json").text) == {
        "file": "there/settings.json",
        "templates": [
            {
                "number": 0,
                "url": "http://localhost:7071/runtime/webhooks/signalr",
                "event": "*",
                "hub": "*",
                "category": "*",
            }
        ],
    }


def test_list_without_templates_says_how_to_get_some() -> None:
    settings()

    assert "No upstream is set yet. Use 'upstream init'" in hubbub("upstream", "list").text


def test_a_file_that_is_asked_for_and_not_there_is_named_as_by_the_emulator() -> None:
    assert hubbub("upstream", "list", "-c", "no.json") == (
        2,
        (
            "Unable to find config file 'no.json' or 'no.json/settings.json'. "
            "`hubbub upstream init` writes one."
        ),
    )


def test_check_tells_which_template_matches_and_why_the_others_do_not() -> None:
    settings(
        {"UrlTemplate": "http://user:pass@one/?code=secret", "HubPattern": "other"},
        {"UrlTemplate": "http://two/{hub}/{event}?code=secret", "EventPattern": "hi, hello"},
        {"UrlTemplate": "http://three/"},
    )

    assert check(hub="Chat") == (
        0,
        (
            "Upstream settings: settings.json\n"
            "  [0]http://one/(event:'*',hub:'other',category:'*')\n"
            "      does not match: its hub pattern 'other' does not hold 'chat'\n"
            "  [1]http://two/{hub}/{event}(event:'hi, hello',hub:'*',category:'*')\n"
            "      matches\n"
            "  [2]http://three/(event:'*',hub:'*',category:'*')\n"
            "      would match, but the first that does is taken\n"
            "It goes to http://two/chat/hello\n"
        ),
    )


def test_check_says_what_no_match_means() -> None:
    settings({"UrlTemplate": "http://one/", "EventPattern": "Hello"})

    result = check()
    assert result.status == 1
    assert "they differ in case" in result.text
    assert "No template takes messages/'hello' of hub 'chat': an invoke ends with" in result.text
    facts = json.loads(check("--json", "--probe").text)
    assert (facts["chosen"], "probe" in facts) == (None, False)
    assert "differ in case" in facts["templates"][0]["mismatch"]


def test_check_without_a_file_goes_by_what_hubbub_start_does() -> None:
    result = check()

    assert "the default, as there is no settings.json here" in result.text
    assert "http://localhost:7071/runtime/webhooks/signalr" in result.text


def test_check_sends_a_signed_probe_when_asked_to() -> None:
    with app(functions) as url:
        result = check("--probe")
        facts = json.loads(check("--probe", "--json").text)

    assert result.status == 0
    assert f"{url}{WEBHOOKS} answered 200 after" in result.text
    assert 'The client gets: {"said": [], "by": null}' in result.text
    assert facts["probe"] == {
        "kind": "answered",
        "status": 200,
        "explanation": None,
        "result": {"said": [], "by": None},
        "error": None,
    }


def test_trigger_sends_what_a_client_would() -> None:
    with app(functions):
        result = hubbub(
            "upstream", "trigger", "chat", "messages", "hello", "plain", '{"a": 1}', "7",
            "--user", "bob", "--claim", "role=admin", "--query", "a=1",
        )  # fmt: skip

    assert result.status == 0
    assert 'The client gets: {"said": ["plain", {"a": 1}, 7], "by": "bob"}' in result.text


@pytest.mark.parametrize("option", ["--messagepack", "--send"])
def test_trigger_can_be_another_kind_of_client(option: str) -> None:
    kinds = []

    def remember(headers: dict[str, str], body: bytes) -> Answer:
        webhook = receive_webhook(headers, body, (EMULATOR_KEY,))
        kinds.append((headers["Content-Type"], webhook.wants_answer))
        return Answer(200, webhook.complete(1))

    with app(remember):
        assert hubbub("upstream", "trigger", "chat", "messages", "hello", option).status == 0

    messagepack, json_ = ("application/x-msgpack", True), ("application/json", False)
    assert kinds == [messagepack if option == "--messagepack" else json_]


def test_trigger_shows_the_apps_own_error() -> None:
    def fail(headers: dict[str, str], body: bytes) -> Answer:
        return Answer(200, receive_webhook(headers, body, (EMULATOR_KEY,)).fail("It is closed."))

    with app(fail):
        result = hubbub("upstream", "trigger", "chat", "messages", "hello")

    assert result.status == 1
    assert "The client gets the error: It is closed." in result.text


@pytest.mark.parametrize("event", ["connected", "disconnected"])
def test_trigger_sends_connection_events(event: str) -> None:
    bodies = []

    def remember(_: dict[str, str], body: bytes) -> Answer:
        bodies.append(body)
        return Answer(200)

    with app(remember):
        assert hubbub("upstream", "trigger", "chat", "connections", event).status == 0

    assert bodies == [b'{"type":10}' if event == "connected" else b'{"type":11}']


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--claim", "role"), "--claim is NAME=VALUE"),
        (("123456789012345678901234567890", "--messagepack"), "cannot be said in messagepack"),
    ],
)
def test_trigger_refuses_what_it_cannot_send(arguments: tuple[str, ...], words: str) -> None:
    settings({"UrlTemplate": "http://127.0.0.1:1/"})
    result = hubbub("upstream", "trigger", "chat", "messages", "hello", *arguments)

    assert result.status == 2
    assert words in result.text


def test_what_has_no_effect_in_the_file_is_told() -> None:
    settings({"UrlTemplate": "http://host/", "Retires": 3})

    assert "Retires is not known and has no effect" in check().text
