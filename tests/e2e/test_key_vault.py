"""Secrets of upstream URLs from Lowkey Vault, other people's Key Vault, by the real Azure SDK.

Its jar comes from Maven Central, or from the file that LOWKEY_VAULT_JAR names.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from hubbub.protocol.upstreamsettings import SecretSource
from hubbub.service.upstream.outcome import DeliveryError
from hubbub.service.upstream.secret import KeyVault, Secrets

_VERSION: Final = "7.1.13"
_ARTIFACT: Final = f"com.github.nagyesta.lowkey-vault:lowkey-vault-app:{_VERSION}"
_MAVEN_SECONDS: Final = 60
_API: Final = "7.6"  # the newest that Lowkey Vault and the SDK both know
_START_SECONDS: Final = 120  # a Spring application on a busy machine


class Credential:
    """A token of anybody: Lowkey Vault only looks whether there is one."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        credentials = pytest.importorskip("azure.core.credentials")
        return credentials.AccessToken(f"token for {scopes[0]}", 2**33)


def lowkey_vault_jar(folder: Path) -> Path:
    """The vault's program, or a skip that says why there is none."""
    named = os.environ.get("LOWKEY_VAULT_JAR")
    if named:
        return Path(named)
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, and LOWKEY_VAULT_JAR is not set")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    command = ("mvn", "-B", "-q", goal, f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}")
    try:
        copied = subprocess.run(command, capture_output=True, timeout=_MAVEN_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"Maven did not bring {_ARTIFACT} within {_MAVEN_SECONDS} seconds")
    if copied.returncode != 0:
        pytest.skip(f"Maven Central has no {_ARTIFACT}; LOWKEY_VAULT_JAR may name its jar")
    return folder / f"lowkey-vault-app-{_VERSION}.jar"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a Lowkey Vault, and the certificate to trust."""
    pytest.importorskip("azure.keyvault.secrets")
    folder = tmp_path_factory.mktemp("vault")
    jar = lowkey_vault_jar(folder)
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else "java"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = (str(java), "-jar", str(jar), f"--server.port={port}", "--server.address=127.0.0.1")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(process, f"https://localhost:{port}/ping", folder / "log")
        certificate = folder / "certificate.pem"
        certificate.write_text(ssl.get_server_certificate(("localhost", port)))
        yield f"https://localhost:{port}", certificate
    finally:
        process.terminate()
        process.wait(30)


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when the vault answers."""
    trusting = ssl._create_unverified_context()
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            text = log.read_text(errors="replace")
            if "UnsupportedClassVersionError" in text:
                pytest.skip("this Lowkey Vault needs a newer Java")
            pytest.fail(f"Lowkey Vault ended:\n{text[-2000:]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=5, context=trusting).close()
            return
        time.sleep(0.2)  # between two tries
    pytest.fail("Lowkey Vault did not start in time")


async def test_a_secret_of_a_real_vault_stands_in_an_upstream_url(vault: tuple[str, Path]) -> None:
    from azure.keyvault.secrets import SecretClient

    url, certificate = vault
    options = {
        "connection_verify": str(certificate),
        "verify_challenge_resource": False,
        "api_version": _API,
    }
    client = SecretClient(url, Credential(), **options)
    older = client.set_secret("function-code", "s3cret")
    client.set_secret("function-code", "newer")
    secrets = Secrets(SecretSource(), key_vault=KeyVault(Credential(), **options))

    newest = f"https://app/?code={{@Microsoft.KeyVault(SecretUri={url}/secrets/function-code)}}"
    assert await secrets.fill(newest) == "https://app/?code=newer"
    versioned = f"https://app/?code={{@Microsoft.KeyVault(SecretUri={older.id})}}"
    assert await secrets.fill(versioned) == "https://app/?code=s3cret"


async def test_a_secret_that_a_real_vault_does_not_have_is_named(vault: tuple[str, Path]) -> None:
    url, certificate = vault
    options = {
        "connection_verify": str(certificate),
        "verify_challenge_resource": False,
        "api_version": _API,
    }
    secrets = Secrets(SecretSource(), key_vault=KeyVault(Credential(), **options))

    with pytest.raises(DeliveryError, match="gave no secret 'absent'"):
        await secrets.fill(f"{{@Microsoft.KeyVault(SecretUri={url}/secrets/absent)}}")
