"""Connections without an access key: the identity of the machine or of a client signs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import azure.identity
import pytest
from tests.functions.apps import Service, call

from hubbub.functions.connections import Connections
from hubbub.functions.host import Host, HostOptions
from hubbub.functions.identity import build_credential
from hubbub.functions.settings import AppSettings
from hubbub.protocol.tokens import decode_token

Load = Callable[..., Host]
SETTING = "AzureSignalRConnectionString"
APP = """
@app.route()
@app.generic_input_binding(
    arg_name="ci", type="signalRConnectionInfo", hubName="chat", userId="ann")
def negotiate(req, ci):
    return ci

@app.route()
@app.generic_output_binding(arg_name="out", type="signalR", hubName="chat")
def send(req, out):
    out.set('{"target": "t", "arguments": [1]}')
    return "sent"
"""


@dataclass
class FakeCredential:
    """Gives tokens, or raises as the SDK does where there is no identity."""

    error: Exception | None = None
    logins: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, login: tuple[tuple[str, str], ...]) -> "FakeCredential":
        self.logins.append(dict(login))
        return self

    def get_token(self, *scopes: str) -> Any:
        if self.error is not None:
            raise self.error
        return azure.core.credentials.AccessToken("entra-token", int(time.time()) + 3600)


async def test_an_identity_sends_and_negotiates(load: Load, service: Service) -> None:
    fake = FakeCredential()
    host = load(
        APP,
        {
            f"{SETTING}__serviceUri": service.url,
            f"{SETTING}__credential": "managedidentity",
            f"{SETTING}__clientId": "client-1",
            f"{SETTING}__clientEndpoint": "https://clients.example",
        },
        options=HostOptions(credential=fake),
    )
    sent = await call(host, "GET", "/api/send")
    info = (await call(host, "GET", "/api/negotiate")).json()

    assert host.warnings == ()
    assert sent.text == "sent"
    assert [path for _, path, _ in service.calls] == [
        "/api/hubs/chat/:send",
        "/api/v1/auth/accessKey",
    ]
    assert set(service.tokens) == {"entra-token"}
    assert fake.logins == [{"credential": "managedidentity", "clientid": "client-1"}]
    assert info["url"] == "https://clients.example/client/?hub=chat"
    claims = decode_token(info["accessToken"], [service.key], now=int(time.time()))
    assert claims["asrs.s.uid"] == "ann"


@pytest.mark.parametrize("function", ["send", "negotiate"])
async def test_an_identity_that_gets_no_token_is_a_500_with_its_reason(
    load: Load, service: Service, log: pytest.LogCaptureFixture, function: str
) -> None:
    fake = FakeCredential(azure.core.exceptions.ClientAuthenticationError("no identity here"))
    settings = {f"{SETTING}__serviceUri": service.url}
    host = load(APP, settings, options=HostOptions(credential=fake))

    assert (await call(host, "GET", f"/api/{function}")).status == 500
    assert "ClientAuthenticationError: no identity here" in log.text
    assert SETTING in log.text


def test_a_connection_string_counts_before_an_identity_and_named_identities_add_up() -> None:
    settings = {
        SETTING: "Endpoint=https://plain;AccessKey=k;",
        f"{SETTING}__serviceUri": "https://other",
        "Azure__SignalR__Endpoints__East__serviceUri": "https://east",
        "Azure__SignalR__Endpoints__East__type": "secondary",
        "Azure__SignalR__Endpoints__East__primary": "Endpoint=https://ignored;AccessKey=k;",
        "Azure__SignalR__Endpoints__West": "Endpoint=https://west;AuthType=azure.msi;ClientId=c;",
    }
    found = Connections(AppSettings(settings)).endpoints(SETTING)

    assert [(e.name, e.kind, e.endpoint.url, e.login) for e in found] == [
        ("", "Primary", "https://plain", None),
        ("East", "Secondary", "https://east", ()),
        ("West", "Primary", "https://west", None),
    ]
    assert Connections(AppSettings(settings)).keys(SETTING) is None


@pytest.mark.parametrize(
    ("login", "kind"),
    [
        ({}, "DefaultAzureCredential"),
        ({"clientid": "c"}, "DefaultAzureCredential"),
        ({"credential": "ManagedIdentity"}, "ManagedIdentityCredential"),
        ({"credential": "managedidentity", "clientid": "c"}, "ManagedIdentityCredential"),
        ({"credential": "managedidentity", "managedidentityresourceid": "/r"},
         "ManagedIdentityCredential"),
        ({"clientid": "c", "tenantid": "t", "clientsecret": "s"},
         "ClientSecretCredential"),
    ],
)  # fmt: skip
def test_a_login_becomes_a_credential_of_the_sdk(login: dict[str, str], kind: str) -> None:
    assert type(build_credential(tuple(login.items()))).__name__ == kind


async def test_a_connection_string_without_a_key_says_how_to_log_in(
    load: Load, service: Service, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCredential()
    monkeypatch.setattr(azure.identity, "ManagedIdentityCredential", lambda client_id: fake)
    host = load(APP, {SETTING: f"Endpoint={service.url};AuthType=azure.msi;ClientId=c;"})

    assert (await call(host, "GET", "/api/send")).text == "sent"
    assert (await call(host, "GET", "/api/negotiate")).status == 200
    assert set(service.tokens) == {"entra-token"}
