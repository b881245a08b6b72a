"""Secrets in upstream URLs: files, the environment, and a Key Vault behind the real Azure SDK."""

import asyncio
import logging
import os
import ssl
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.service.running import PATIENCE
from tests.service.upstream_app import result, running_app, running_service

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamsettings import SecretSource
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.upstream import secret
from hubbub.service.upstream.outcome import DeliveryError, Kind
from hubbub.service.upstream.secret import REREAD_SECONDS, KeyVault, Secrets, split_uri

URI = "https://vault.example/secrets/function-code"
REFERENCE = f"{{@Microsoft.KeyVault(SecretUri={URI})}}"


class Clock:
    """A clock that stands until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_files_and_variables_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").write_text("from-file\n")
    monkeypatch.setenv("CODE", "from-variable==")
    secrets = Secrets(SecretSource())
    url = f"http://h/?a={{@Hubbub.File(Path={tmp_path}/code)}}&b={{@hubbub.environment(name=CODE)}}"

    assert await secrets.fill(url) == "http://h/?a=from-file&b=from-variable=="
    assert await secrets.fill("http://h/{none}") == "http://h/{none}"
    assert "from" not in repr(secrets)


async def test_files_and_variables_stand_in_for_a_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "function-code").write_text("from-file")
    monkeypatch.setenv("MY_FUNCTION_CODE", "from-variable")

    for source, value in (
        (SecretSource(provider="files", folder=str(tmp_path)), "from-file"),
        (SecretSource(provider="environment", prefix="MY_"), "from-variable"),
    ):
        assert (
            await Secrets(source).fill(f"http://h/?code={REFERENCE}") == f"http://h/?code={value}"
        )


async def test_a_secret_is_read_again_every_thirty_minutes() -> None:
    values = iter(("one", "two"))
    clock = Clock()
    secrets = Secrets(SecretSource(), key_vault=lambda _: next(values), clock=clock)

    assert await secrets.fill(REFERENCE) == "one"
    clock.now = REREAD_SECONDS - 1
    await secrets.refresh()
    assert await secrets.fill(REFERENCE) == "one"
    clock.now = REREAD_SECONDS
    await secrets.refresh()
    assert await secrets.fill(REFERENCE) == "two"


async def test_a_vault_that_fails_later_leaves_the_value_there_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[str] = ["precious"]

    def vault(_: str) -> str:
        if not answers:
            raise ConfigError("The vault is away.")
        return answers.pop()

    clock = Clock()
    secrets = Secrets(SecretSource(), key_vault=vault, clock=clock)
    await secrets.fill(REFERENCE)
    clock.now = REREAD_SECONDS
    await secrets.refresh()

    assert await secrets.fill(REFERENCE) == "precious"
    assert "could not be read again: The vault is away." in caplog.text
    assert "precious" not in caplog.text


async def test_who_waits_for_a_secret_shares_the_failure_to_read_it() -> None:
    asked = 0
    all_wait = threading.Event()

    def vault(_: str) -> str:
        nonlocal asked
        asked += 1
        all_wait.wait(PATIENCE)
        raise ConfigError("The vault is away.")

    secrets = Secrets(SecretSource(), key_vault=vault)
    waiting = [asyncio.ensure_future(secrets.fill(REFERENCE)) for _ in range(5)]
    await asyncio.sleep(0)
    all_wait.set()

    got = await asyncio.gather(*waiting, return_exceptions=True)

    assert [str(each) for each in got] == ["The vault is away."] * 5
    assert asked == 1


async def test_a_vault_that_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secret, "_READ_TIMEOUT", 0.01)
    given_up = threading.Event()

    def vault(_: str) -> str:
        given_up.wait(PATIENCE)
        return "too late"

    with pytest.raises(DeliveryError, match="could not be read within") as caught:
        await Secrets(SecretSource(), key_vault=vault).fill(REFERENCE)
    given_up.set()
    assert caught.value.kind is Kind.NO_SECRET


@pytest.mark.parametrize("value", ["", " \n", "a b", "a\r\nX-Evil: 1", "é"])
async def test_a_secret_that_no_url_can_hold_is_not_used(value: str) -> None:
    secrets = Secrets(SecretSource(), key_vault=lambda _: value)

    with pytest.raises(DeliveryError, match="empty or holds characters") as caught:
        await secrets.fill(REFERENCE)
    assert caught.value.kind is Kind.NO_SECRET
    assert "X-Evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("{@Hubbub.File(Path=/nowhere/code)}", "The file /nowhere/code, .* No such file"),
        ("{@Hubbub.Environment(Name=NO_SUCH_VARIABLE)}", "no variable NO_SUCH_VARIABLE"),
        ("{@Microsoft.KeyVault(SecretUri=https://v/keys/a)}", "is no secret of a vault"),
    ],
)
async def test_a_reference_that_leads_nowhere_is_explained(reference: str, words: str) -> None:
    with pytest.raises(DeliveryError, match=words):
        await Secrets(SecretSource()).fill(reference)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("https://v.example/secrets/a-1", ("https://v.example", "a-1", "")),
        ("https://v.example/secrets/a/", ("https://v.example", "a", "")),
        ("https://v.example:8443/secrets/a/00ff", ("https://v.example:8443", "a", "00ff")),
    ],
)
def test_the_uri_of_a_secret_has_a_vault_a_name_and_perhaps_a_version(
    uri: str, parts: tuple[str, str, str]
) -> None:
    assert split_uri(uri) == parts


@pytest.mark.parametrize(
    "uri",
    [
        "http://v.example/secrets/a",
        "https:///secrets/a",
        "https://v.example/secrets/",
        "https://v.example/secrets/../../etc/passwd",
        "https://v.example/secrets/a/b/c",
        "a",
    ],
)
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="https://VAULT/secrets/NAME"):
        split_uri(uri)


async def test_an_app_gets_its_secret_and_the_log_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "code").write_text("precious")
    async with running_app() as app:
        template = Template(
            url_template=f"{app.url}/hook?code={{@Hubbub.File(Path={tmp_path}/code)}}"
        )
        async with running_service(template) as service:
            client = await service.connect()
            assert await result(client, "hello") == []
        assert app.received[0].path == "/hook?code=precious"
    async with running_service(template) as service:
        client = await service.connect()
        assert await result(client, "nobody is there") == "Invocation failed, status code 500"

    ours = [r.getMessage() for r in caplog.records if r.name.startswith("hubbub")]
    assert "/hook" in str(ours)
    assert "precious" not in str(ours)


async def test_a_whole_url_can_be_a_secret_and_lead_to_this_machine(tmp_path: Path) -> None:
    async with running_app() as app:
        (tmp_path / "url").write_text(f"{app.url}/from/{{hub}}")
        template = Template(url_template=f"{{@Hubbub.File(Path={tmp_path}/url)}}/{{event}}")
        async with running_service(template) as service:
            client = await service.connect()
            assert await result(client, "hello") == []

    assert app.received[1].path == "/from/chat/hello"


async def test_a_secret_that_makes_no_url_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    template = Template(url_template="{@Hubbub.Environment(Name=PATH)}/hook")
    async with running_service(template) as service:
        client = await service.connect()
        assert await result(client, "hello") == "Invocation failed, status code 500"

    assert "{secret}/hook" in caplog.text
    assert os.environ["PATH"] not in caplog.text


async def test_a_secret_that_cannot_be_read_ends_the_invoke() -> None:
    template = Template(url_template="http://127.0.0.1:1/{@Hubbub.File(Path=/nowhere)}")
    async with running_service(template) as service:
        client = await service.connect()

        assert await result(client, "any") == "Invocation failed, status code 500"
        assert service.node.upstream.outcomes["messages", Kind.NO_SECRET] == 1


class Credential:
    """What the Azure SDK asks for a token of a vault."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        credentials = pytest.importorskip("azure.core.credentials")
        assert scopes == ("https://localhost/.default",)
        return credentials.AccessToken("token-of-the-vault", 2**33)


class Vault(BaseHTTPRequestHandler):
    """A Key Vault as far as reading a secret goes (Key Vault REST API, "Get Secret")."""

    def do_GET(self) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        path = self.path.partition("?")[0]
        if self.headers.get("Authorization") != "Bearer token-of-the-vault":
            self.send_response(401)
            self.send_header(
                "WWW-Authenticate",
                f'Bearer authorization="https://localhost:{port}/tenant", '
                'resource="https://localhost"',
            )
            body = b""
        elif path.rstrip("/") == "/secrets/code":
            self.send_response(200)
            body = b'{"value":"from-vault","id":"https://localhost/secrets/code/1","attributes":{}}'
        else:
            self.send_response(404)
            body = b'{"error":{"code":"SecretNotFound","message":"There is no such secret."}}'
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a vault with TLS, and the certificate to trust."""
    certificate = self_signed(tmp_path / "vault.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Vault) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}", certificate
        server.shutdown()
        thread.join()


def self_signed(path: Path) -> Path:
    """A key and a certificate for localhost in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


async def test_without_the_sdk_a_vault_is_no_use_and_the_error_says_what_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "azure.keyvault.secrets", None)

    with pytest.raises(DeliveryError, match=r"pip install 'hubbub\[azure\]'.*Files or Environment"):
        await Secrets(SecretSource()).fill(REFERENCE)


async def test_the_real_sdk_reads_a_vault(vault: tuple[str, Path]) -> None:
    pytest.importorskip("azure.keyvault.secrets", reason="the extra azure is not installed")
    address, certificate = vault
    key_vault = KeyVault(
        Credential(),
        verify_challenge_resource=False,
        connection_verify=str(certificate),
        retry_total=0,
    )
    secrets = Secrets(SecretSource(), key_vault=key_vault)

    for path in ("code", "code/"):
        reference = f"{{@Microsoft.KeyVault(SecretUri={address}/secrets/{path})}}"
        assert await secrets.fill(reference) == "from-vault"
    with pytest.raises(DeliveryError, match=r"gave no secret 'other'.*no such secret"):
        await secrets.fill(f"{{@Microsoft.KeyVault(SecretUri={address}/secrets/other)}}")
