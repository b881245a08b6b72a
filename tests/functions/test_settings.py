"""host.json, local.settings.json and the environment: what wins, and what is refused how."""

import json
from pathlib import Path
from typing import Any

import pytest

from hubbub.errors import ConfigError
from hubbub.functions.settings import (
    AppSettings,
    HostSettings,
    LocalSettings,
    merge_local_settings,
    parse_host_settings,
    parse_local_settings,
    read_host_settings,
    read_local_settings,
)
from hubbub.functions.timespan import parse_time_span


def host(members: dict[str, Any], **environ: str) -> HostSettings:
    return parse_host_settings(json.dumps({"version": "2.0"} | members), environ)


def test_an_app_without_settings_files_has_the_defaults(tmp_path: Path) -> None:
    assert read_host_settings(tmp_path, {}) == HostSettings()
    assert read_local_settings(tmp_path) == LocalSettings()
    assert HostSettings().route_prefix == "api"


def test_comments_trailing_commas_and_a_byte_order_mark_are_no_errors(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(
        '\ufeff{ // comment "with" quotes\n"version": "2.0", /* a\nb */\n'
        '"extensions": {"http": {"routePrefix": "a//b",}},}'
    )
    assert read_host_settings(tmp_path, {}).route_prefix == "a//b"


def test_host_settings_are_read_from_their_places() -> None:
    settings = host(
        {
            "functionTimeout": "00:05:30",
            "functions": ["Ping", "negotiate"],
            "extensions": {
                "http": {
                    "routePrefix": "/v1/",
                    "customHeaders": {"X-Frame-Options": "DENY"},
                    "maxOutstandingRequests": 5,
                }
            },
            "logging": {"logLevel": {"default": "Warning", "Host.Results": "Error"}},
            "extensionBundle": {"id": "ignored"},
        }
    )
    assert settings == HostSettings(
        route_prefix="v1",
        function_timeout=330.0,
        functions=frozenset({"ping", "negotiate"}),
        custom_headers=(("X-Frame-Options", "DENY"),),
        max_outstanding_requests=5,
        log_levels={"default": "Warning", "Host.Results": "Error"},
    )


def test_the_environment_overrides_host_json_ignoring_case() -> None:
    settings = host(
        {"extensions": {"http": {"routePrefix": "file"}}, "functions": ["a"]},
        AzureFunctionsJobHost__extensions__http__routePrefix="",
        azurefunctionsjobhost__FUNCTIONTIMEOUT="-1",
        AzureFunctionsJobHost__functions__1="b",
    )
    assert settings.route_prefix == ""
    assert settings.function_timeout is None
    assert settings.functions == frozenset({"a", "b"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "host.json line 1"),
        ('{"version": "2.0",\n "a": tru}', "host.json line 2, column 7"),
        ("[]", "must hold one JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ("{}", "missing the required 'version' property"),
        ('{"version": "1.0"}', "'1.0' is an invalid value"),
        ('{"version": "2.0", "functionTimeout": "5"}', "hours:minutes:seconds"),
        ('{"version": "2.0", "functionTimeout": "00:00:00"}', "at least one second"),
        ('{"version": "2.0", "functionTimeout": {"a": 1}}', "'functionTimeout' must be one plain"),
        (
            '{"version": "2.0", "extensions": {"http": {"maxOutstandingRequests": "many"}}}',
            "'extensions.http.maxOutstandingRequests' is 'many'",
        ),
        *(
            (
                f'{{"version": "2.0", "extensions": {{"http": {{"customHeaders": {headers}}}}}}}',
                "a header has a name of letters",
            )
            for headers in ('{"X": "\u043f"}', '{"X": "a\\nY: b"}', '{"X Y": "1"}', '{"": "1"}')
        ),
    ],
)
def test_a_wrong_host_json_says_what_to_change(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"host\.json") as raised:
        parse_host_settings(text, {})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:01", 1.0),
        ("01:02:03", 3723.0),
        ("1.00:00:00", 86400.0),
        ("00:05", 300.0),
        ("00:00:01.5", 1.5),
        ("24:00:00", None),
        ("5", None),
        ("", None),
    ],
)
def test_a_time_span_is_read_as_dotnet_reads_it(text: str, seconds: float | None) -> None:
    assert parse_time_span(text) == seconds


def test_local_settings_are_read_from_their_places() -> None:
    settings = parse_local_settings(
        json.dumps(
            {
                "IsEncrypted": False,
                "Values": {"A": "1", "EMPTY": "", "NULL": None},
                "ConnectionStrings": {"X": "x", "Y": {"ConnectionString": "y"}},
                "Host": {
                    "LocalHttpPort": 7072,
                    "LocalHttpAddress": "0.0.0.0",
                    "CORS": "http://a:1, http://b/",
                    "CORSCredentials": True,
                },
            }
        )
    )
    assert settings == LocalSettings(
        values={"A": "1", "EMPTY": ""},
        connection_strings={"X": "x", "Y": "y"},
        port=7072,
        address="0.0.0.0",
        cors=("http://a:1", "http://b"),
        cors_credentials=True,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n"Values": {\n"A" "b"}}', "line 3"),
        ('{"IsEncrypted": true}', "func settings decrypt"),
        ('{"Values": {"A": 5}}', "'Values.A' must be a text in quotes"),
        ('{"Values": {"A": {"B": "c"}}}', "'Values.A'"),
        ('{"Values": []}', "'Values' must be an object"),
        ('{"Host": 5}', "'Host' must be an object"),
        ('{"Host": {"LocalHttpPort": 70000}}', "'Host.LocalHttpPort' is 70000"),
        ('{"Host": {"LocalHttpPort": true}}', "'Host.LocalHttpPort' is True"),
        ('{"Host": {"CORS": ["*"]}}', "'Host.CORS' must be one text"),
        ('{"Host": {"CORSCredentials": "yes"}}', "'Host.CORSCredentials' must be true or false"),
    ],
)
def test_a_wrong_local_settings_file_says_what_to_change(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"local.settings\.json") as raised:
        parse_local_settings(text)
    assert words in str(raised.value)


def test_a_settings_file_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_bytes(b"\xff\xfe{}")

    with pytest.raises(ConfigError, match="not UTF-8"):
        read_local_settings(tmp_path)


def test_a_set_variable_wins_over_a_local_value_with_a_warning() -> None:
    environ = {"A": "environment", "B": ""}
    local = LocalSettings(
        values={"A": "file", "B": "file", "C": "file", "": "nameless"},
        connection_strings={"D": "file"},
    )
    warnings = merge_local_settings(local, environ)

    assert environ == {
        "A": "environment", "B": "file", "C": "file", "ConnectionStrings:D": "file",
    }  # fmt: skip
    assert warnings[0] == (
        "Skipping 'A' from local settings as it's already defined in current environment variables."
    )
    assert "not a usable name" in warnings[1]


def test_a_setting_is_found_ignoring_case_and_by_either_separator() -> None:
    settings = AppSettings({"My__Section__Key": "value", "Flag": "YES"})

    assert settings.find("my:section:KEY") == "value"
    assert settings.find("My") is None
    assert settings.is_true("flag")


def test_connection_strings_come_before_plain_settings() -> None:
    settings = AppSettings({"X": "plain", "ConnectionStrings__X": "named", "Y": "plain", "Z": ""})

    assert settings.connection_string("x") == "named"
    assert settings.connection_string("Y") == "plain"
    assert settings.connection_string("Z") is None
