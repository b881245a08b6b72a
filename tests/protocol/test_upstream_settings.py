"""Upstream settings as people write them."""

import json
from typing import Any

import pytest

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamsettings import Identity, SecretSource, parse_upstream_settings
from hubbub.protocol.upstreamtemplate import Template

URL = "http://localhost:7071/runtime/webhooks/signalr"


def settings(*templates: Any, **rest: Any) -> str:
    return json.dumps({"UpstreamSettings": {"Templates": list(templates), **rest}})


def test_the_emulators_file_is_read() -> None:
    text = """\ufeff
    {
      // the emulator allows comments
      "UpstreamSettings": {
        "Templates": [
          {
            "UrlTemplate": "http://localhost:7071/runtime/webhooks/signalr", /* and these */
            "EventPattern": "*",
            "HubPattern": "a,b",
            "CategoryPattern": "messages",
          },
        ]
      },
      "Logging": {"LogLevel": "Debug"}
    }""".removeprefix("\ufeff")

    found = parse_upstream_settings(text, "settings.json")

    assert found.templates == (
        Template(url_template=URL, hub_pattern="a,b", category_pattern="messages"),
    )
    assert found.warnings == ()


@pytest.mark.parametrize("wrapped", [True, False], ids=["properties", "upstream alone"])
def test_properties_of_arm_are_read(wrapped: bool) -> None:
    upstream = {
        "upstream": {
            "templates": [
                {
                    "urlTemplate": URL,
                    "hubPattern": "chat",
                    "auth": {
                        "type": "ManagedIdentity",
                        "managedIdentity": {"resource": "api://my-app"},
                    },
                },
                {"urlTemplate": URL, "auth": {"type": "None"}},
            ]
        }
    }
    document = {"properties": upstream} if wrapped else upstream

    found = parse_upstream_settings(json.dumps(document), "arm.json")

    assert found.templates == (
        Template(url_template=URL, hub_pattern="chat", resource="api://my-app"),
        Template(url_template=URL),
    )


def test_options_of_a_template_are_read_as_values_and_as_texts() -> None:
    options = {"RejectConnections": "True", "SignBody": True, "Retries": "3", "Timeout": 2.5}

    (template,) = parse_upstream_settings(
        settings({"UrlTemplate": URL, **options}), "settings.json"
    ).templates

    assert template == Template(
        url_template=URL, reject_connections=True, sign_body=True, retries=3, timeout=2.5
    )


def test_a_pattern_that_is_null_matches_nothing() -> None:
    (template,) = parse_upstream_settings(
        settings({"UrlTemplate": URL, "EventPattern": None}), "settings.json"
    ).templates

    assert template.event_pattern == ""


@pytest.mark.parametrize("text", ["{}", '{"UpstreamSettings":{}}', '{"UpstreamSettings":null}'])
def test_a_file_may_have_no_upstream(text: str) -> None:
    assert parse_upstream_settings(text, "settings.json").templates == ()


def test_what_has_no_effect_is_told() -> None:
    text = settings({"UrlTemplate": URL, "UrlTemplte": "x"}, Identity={"Kind": "Azure"})

    assert parse_upstream_settings(text, "settings.json").warnings == (
        "settings.json: template 0: UrlTemplte is not known and has no effect.",
        "settings.json: UpstreamSettings: Identity: Kind is not known and has no effect.",
    )


def test_identity_and_secrets_are_read() -> None:
    text = settings(
        Identity={
            "Type": "TokenEndpoint",
            "Url": "https://login.example/token",
            "ClientId": "hubbub",
            "ClientSecret": "{@Hubbub.File(Path=/run/secrets/id)}",
        },
        Secrets={"Provider": "Files", "Folder": "/run/secrets"},
    )

    found = parse_upstream_settings(text, "settings.json")

    assert found.identity == Identity(
        kind="tokenendpoint",
        url="https://login.example/token",
        client_id="hubbub",
        client_secret="{@Hubbub.File(Path=/run/secrets/id)}",
    )
    assert found.secrets == SecretSource(provider="files", folder="/run/secrets")
    assert "secrets" not in repr(found.identity)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"UpstreamSettings": {"Templ', "settings.json line 1, column 23: this is not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "settings.json is an object"),
        ('{"UpstreamSettings": []}', "UpstreamSettings is an object"),
        ('{"UpstreamSettings": {"Templates": {}}}', "Templates is a list"),
        (settings("http://host/"), "template 0 is an object"),
        (settings({"HubPattern": "*"}), "template 0 has no UrlTemplate. Write"),
        (settings({"UrlTemplate": 7}), "UrlTemplate is a text, not 7"),
        (settings({"UrlTemplate": "http://h/{hubb}"}), r"template 0: \{hubb\} is no placeholder"),
        (settings({"UrlTemplate": URL}, {"UrlTemplate": "x"}), "template 1: the URL x"),
        (settings({"UrlTemplate": URL, "Timeout": 0}), "Timeout is a number from 0.1 to 3600"),
        (settings({"UrlTemplate": URL, "Timeout": "nan"}), "Timeout is a number"),
        (settings({"UrlTemplate": URL, "Timeout": True}), "Timeout is a number"),
        (settings({"UrlTemplate": URL, "Retries": 11}), "Retries is a number from 0 to 10, not 11"),
        (settings({"UrlTemplate": URL, "Retries": []}), "Retries is a number"),
        (settings({"UrlTemplate": URL, "SignBody": 1}), "SignBody is true or false, not 1"),
        (settings({"UrlTemplate": URL, "Auth": "None"}), "Auth is an object"),
        (
            settings({"UrlTemplate": URL, "Auth": {"Type": "Key"}}),
            "Type is None or ManagedIdentity",
        ),
        (
            settings({"UrlTemplate": URL, "Auth": {"Type": "ManagedIdentity"}}),
            "ManagedIdentity needs a Resource",
        ),
        (settings(Identity={"Type": "Google"}), "Type is Service, TokenEndpoint or Azure"),
        (settings(Identity={"Type": "TokenEndpoint"}), "TokenEndpoint needs Url, ClientId"),
        (
            settings(Identity={"Type": "TokenEndpoint", "ClientId": "a", "Url": "http://[bad/"}),
            r"Identity: Url: the URL http://\[bad/ is not a valid absolute URI",
        ),
        (
            settings(Identity={"ClientSecret": "{@Vault.File(Path=/x)}"}),
            r"Identity: ClientSecret: \{@Vault\.File\(Path=…\)\} is no reference to a secret",
        ),
        (
            settings({"UrlTemplate": URL}).replace("}]", ', "Timeout": 1%s}]' % ("0" * 400)),
            "Timeout",
        ),
        ("1" * 5000, "settings.json is not valid JSON"),
        (settings(Secrets={"Provider": "Safe"}), "Provider is KeyVault, Files or Environment"),
        (settings(Secrets={"Provider": "Files"}), "Files needs a Folder"),
    ],
)
def test_a_wrong_document_is_refused_with_what_to_change(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_upstream_settings(text, "settings.json")


def test_the_environment_wins_over_the_file_as_in_the_emulator() -> None:
    found = parse_upstream_settings(
        settings({"UrlTemplate": "http://file/", "HubPattern": "a"}),
        "settings.json",
        {
            "UpstreamSettings__Templates__0__UrlTemplate": "http://zero/",
            "UPSTREAMSETTINGS__TEMPLATES__1__URLTEMPLATE": "http://one/",
            "UpstreamSettings__Templates__1__Auth__Type": "ManagedIdentity",
            "UpstreamSettings__Templates__1__Auth__ManagedIdentity__Resource": "api://one",
            "PATH": "/bin",
            "UpstreamSettings__Other": "x",
        },
    )

    assert found.templates == (
        Template(url_template="http://zero/", hub_pattern="a"),
        Template(url_template="http://one/", resource="api://one"),
    )


def test_the_environment_may_have_more_than_ten_templates() -> None:
    variables = {
        f"UpstreamSettings__Templates__{number}__UrlTemplate": f"http://{number}/"
        for number in range(12)
    }

    found = parse_upstream_settings("{}", "x", variables)

    assert [template.url_template for template in found.templates] == [*variables.values()]


@pytest.mark.parametrize("number", ["1", "x", "-1"])
def test_the_environment_numbers_templates_without_gaps(number: str) -> None:
    with pytest.raises(ConfigError, match="numbered from 0 without gaps, and there are 0"):
        parse_upstream_settings(
            "{}", "x", {f"UpstreamSettings__Templates__{number}__UrlTemplate": URL}
        )
