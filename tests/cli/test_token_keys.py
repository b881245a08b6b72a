"""`hubbub token` and `hubbub keys`: tokens that work, and what is wrong with those that do not."""

import json
import time

import pytest
from tests.cli.calling import invoke

from hubbub.protocol.endpoints import parse_connection_string
from hubbub.protocol.tokens import (
    check_rest_audience,
    decode_token,
    issue_client_token,
    issue_rest_token,
)
from hubbub.service.settings import ServiceSettings

KEY = "k" * 32
TEXT = f"Endpoint=http://localhost;Port=8888;AccessKey={KEY};Version=1.0;"
ENDPOINT = parse_connection_string(TEXT)
OPTIONS = ("--connection-string", TEXT)


def test_a_new_key_is_good_for_a_service() -> None:
    keys = invoke("keys", "new", "--count", "2").stdout.split()

    ServiceSettings(access_keys=tuple(keys))
    assert len(set(keys)) == 2
    assert len(json.loads(invoke("keys", "new", "--json").stdout)["accessKeys"]) == 1


def test_a_client_token_is_made() -> None:
    options = ("--user", "ann", "--claim", "role=admin", "--lifetime", "60")
    facts = json.loads(invoke("token", "client", "Chat", *options, *OPTIONS, "--json").stdout)

    claims = decode_token(facts["accessToken"], [KEY], now=int(time.time()))
    assert facts["url"] == "http://localhost:8888/client/?hub=chat"
    assert (claims["asrs.s.uid"], claims["role"]) == ("ann", "admin")
    assert claims["exp"] - claims["iat"] == 60


def test_a_rest_token_is_made_for_one_call() -> None:
    made = invoke("token", "rest", "/api/hubs/chat/:send", *OPTIONS).stdout.strip()

    check_rest_audience(decode_token(made, [KEY], now=int(time.time())), "/api/hubs/chat/:send")


def test_a_good_token_is_called_good() -> None:
    token = issue_client_token(ENDPOINT, "chat", now=int(time.time()), user_id="ann")

    result = invoke("token", "verify", f"Bearer {token}", "--hub", "chat", *OPTIONS)

    assert result.exit_code == 0
    assert result.stdout.startswith("The token is good.\n")
    assert "  asrs.s.uid: ann\n" in result.stdout
    assert " UTC)\n" in result.stdout


NOW = int(time.time())
CLIENT = issue_client_token(ENDPOINT, "chat", now=NOW)
REST = issue_rest_token(ENDPOINT, "http://localhost:8888/api/hubs/chat/:send", now=NOW)
OTHER_KEY = parse_connection_string(f"Endpoint=http://localhost;AccessKey={'o' * 32}")


@pytest.mark.parametrize(
    ("token", "options", "problem", "expected"),
    [
        (CLIENT, ["--path", "/api/hubs/chat/:send"], "audience", "This is a client token"),
        (REST, ["--hub", "chat"], "audience", "This is a REST token"),
        (CLIENT, ["--hub", "shop"], "audience", "ends in /client/?hub=shop"),
        (issue_client_token(ENDPOINT, "chat", now=NOW - 9999), [], "expired at", "fetch a new"),
        (issue_client_token(ENDPOINT, "chat", now=NOW + 9999), [], "not valid before", "clocks"),
        (issue_client_token(OTHER_KEY, "chat", now=NOW), [], "key was not found", "AccessKey"),
        ("abc", [], "malformed", "DecodeError"),
        ("a.b.c", [], "malformed", "Error"),
        ("", [], "malformed", "DecodeError"),
        ("x" * 5000, [], "5000 characters", "At most 4096"),
        ("e30.MQ.x", [], "malformed", "Error"),
    ],
)
def test_what_is_wrong_with_a_token_is_told_and_what_was_expected(
    token: str, options: list[str], problem: str, expected: str
) -> None:
    result = invoke("token", "verify", *options, *OPTIONS, "--", token)
    facts = json.loads(invoke("token", "verify", *options, *OPTIONS, "--json", "--", token).stdout)

    assert result.exit_code == 1
    assert result.stdout.startswith("The token is refused: ")
    assert facts["valid"] is False
    assert problem in facts["problem"]
    assert expected in facts["expected"]
    assert facts["expected"] in result.stdout


@pytest.mark.parametrize("claim", ["role", "=x", ""])
def test_a_claim_has_a_name_and_a_value(claim: str) -> None:
    result = invoke("token", "client", "chat", "--claim", claim, *OPTIONS)

    assert result.exit_code == 2
    assert "is no NAME=VALUE" in result.stderr
