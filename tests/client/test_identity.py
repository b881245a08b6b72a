"""Connection strings without an access key: whose identity stands in for it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.client.recording import KEY, Recorder

from hubbub.client.identity import credential_for
from hubbub.client.management import ServiceClient
from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import parse_connection_string

APPLICATION = "ClientId=app;TenantId=tenant"


class Asked:
    """Stands in for a credential of the Azure SDK: remembers what it was made of."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def get_token(self, *_: str) -> Any:
        class Token:
            token = "from-azure"
            expires_on = 2.0**40

        return Token()


class DefaultAzureCredential(Asked): ...


class ManagedIdentityCredential(Asked): ...


class ClientSecretCredential(Asked): ...


class CertificateCredential(Asked): ...


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the package azure-identity that are used."""
    monkeypatch.setitem(sys.modules, "azure.identity", sys.modules[__name__])


@pytest.mark.usefixtures("azure")
@pytest.mark.parametrize(
    ("rest", "kind", "options"),
    [
        ("AuthType=azure", DefaultAzureCredential, {}),
        ("AuthType=azure.msi", ManagedIdentityCredential, {"client_id": None}),
        ("AuthType=azure.msi;ClientId=id", ManagedIdentityCredential, {"client_id": "id"}),
        ("AuthType=aad", ManagedIdentityCredential, {"client_id": None}),
        (
            f"AuthType=azure.app;{APPLICATION};ClientSecret=s",
            ClientSecretCredential,
            {"tenant_id": "tenant", "client_id": "app", "client_secret": "s"},
        ),
        (
            f"AuthType=aad;{APPLICATION};ClientCert=/c.pem",
            CertificateCredential,
            {"tenant_id": "tenant", "client_id": "app", "certificate_path": "/c.pem"},
        ),
    ],
)
def test_the_auth_type_names_the_credential(
    rest: str, kind: type[Asked], options: dict[str, str | None]
) -> None:
    found = credential_for(parse_connection_string(f"Endpoint=http://localhost;{rest}"))

    assert isinstance(found, kind)
    assert found.options == options


@pytest.mark.usefixtures("azure")
async def test_calls_carry_the_token_of_the_identity_that_the_string_names(
    recorder: Recorder,
) -> None:
    async with ServiceClient(f"Endpoint={recorder.url};AuthType=azure") as client:
        await client.hub("chat").clients.all.send("t")
        with pytest.raises(ConfigError, match=r"no AccessKey.*negotiate_by_identity"):
            client.hub("chat").negotiate()

    assert recorder.only.headers["Authorization"] == "Bearer from-azure"


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("azure.identity", reason="the extra azure is not installed")
    path = tmp_path / "none.pem"
    text = f"Endpoint=http://localhost;AuthType=azure.app;{APPLICATION};ClientCert={path}"

    with pytest.raises(ConfigError, match=rf"ClientCert {path} .*No such file"):
        ServiceClient(text)


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)

    with pytest.raises(ConfigError, match=r"AuthType=azure.*hubbub\[azure\].*credential="):
        ServiceClient("Endpoint=http://localhost;AuthType=azure")
    ServiceClient(f"Endpoint=http://localhost;AccessKey={KEY}")
