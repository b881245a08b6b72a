"""Secrets that upstream URLs refer to: read from a vault, files or the environment, kept a while.

Values are never logged and never part of an error.
"""

import asyncio
import importlib
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamsettings import SecretSource
from hubbub.protocol.upstreamtemplate import SECRET
from hubbub.service.upstream.outcome import DeliveryError, Kind
from hubbub.service.upstream.shared import Shared

__all__ = ["REREAD_SECONDS", "KeyVault", "Secrets"]

_logger = logging.getLogger("hubbub.service")
REREAD_SECONDS: Final = 30 * 60  # "Key Vault secret references", concept-upstream
_READ_TIMEOUT: Final = 60.0  # seconds; the Azure SDK would try for many minutes
_SECRET_PATH: Final = re.compile(r"/secrets/([0-9A-Za-z-]{1,127})(?:/([0-9A-Za-z]*))?/?")
_UNFIT: Final = re.compile(r"[^!-~]")

Read = Callable[[str], str]  # from what a reference names to the secret; it may block


class KeyVault:
    """Reads secrets by URI through the Azure SDK, which the extra `azure` installs."""

    def __init__(self, credential: Any = None, **options: Any) -> None:
        """`credential` defaults to whatever identity this machine has in Azure."""
        self._credential = credential
        self._options = options
        self._clients: dict[str, Any] = {}

    def __call__(self, uri: str) -> str:
        """The value at `uri`, https://VAULT/secrets/NAME[/VERSION]. Raises `ConfigError`."""
        vault, name, version = split_uri(uri)
        try:
            value = self._client(vault).get_secret(name, version or None).value
        except ImportError:
            raise ConfigError(
                "References to Azure Key Vault need the Azure SDK: pip install 'hubbub[azure]'. "
                "Or set Secrets.Provider to Files or Environment."
            ) from None
        except _azure_errors() as error:
            # The SDK's message may be long; its first line says what is wrong.
            first = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{vault} gave no secret {name!r}: {first}") from None
        return str(value or "")

    def _client(self, vault: str) -> Any:
        client = self._clients.get(vault)
        if client is None:
            secrets = importlib.import_module("azure.keyvault.secrets")
            if self._credential is None:
                identity = importlib.import_module("azure.identity")
                self._credential = identity.DefaultAzureCredential()
            client = secrets.SecretClient(vault, self._credential, **self._options)
            self._clients[vault] = client
        return client


class Secrets:
    """The secrets that templates refer to, by reference."""

    def __init__(
        self,
        source: SecretSource,
        *,
        key_vault: Read | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readers: dict[str, Read] = {
            "microsoft.keyvault": key_vault or _vault_reader(source),
            "hubbub.file": _read_file,
            "hubbub.environment": _read_variable,
        }
        self._clock = clock
        self._values: dict[tuple[str, str], str] = {}
        self._read_at: dict[tuple[str, str], float] = {}
        self._reading = Shared(self._read)

    def __repr__(self) -> str:
        return f"Secrets({len(self._values)})"

    async def fill(self, text: str) -> str:
        """`text` with secrets in place of references. Raises `DeliveryError` where one fails."""
        if "{@" not in text:
            return text
        for found in SECRET.finditer(text):
            reference = (found["source"].lower(), found["value"])
            if reference not in self._values:
                await self._reading.outcome(reference)
        return SECRET.sub(lambda found: self._values[found["source"].lower(), found["value"]], text)

    async def refresh(self) -> None:
        """Read again what is older than thirty minutes. A failure keeps the value there is."""
        now = self._clock()
        for reference, read_at in tuple(self._read_at.items()):
            if now - read_at < REREAD_SECONDS:
                continue
            try:
                await self._reading.outcome(reference)
            except DeliveryError as error:
                self._read_at[reference] = now
                _logger.warning("upstream: a secret could not be read again: %s", error)

    async def _read(self, reference: tuple[str, str]) -> None:
        kind, name = reference
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                value = (await asyncio.to_thread(self._readers[kind], name)).strip()
        except TimeoutError:
            raise DeliveryError(
                Kind.NO_SECRET, f"{name} could not be read within {_READ_TIMEOUT:g} seconds."
            ) from None
        except ConfigError as error:
            raise DeliveryError(Kind.NO_SECRET, str(error)) from None
        if not value or _UNFIT.search(value):
            raise DeliveryError(
                Kind.NO_SECRET,
                f"The secret {name} is empty or holds characters that no URL may hold.",
            )
        self._values[reference] = value
        self._read_at[reference] = self._clock()


def split_uri(uri: str) -> tuple[str, str, str]:
    """Vault, name and version of a secret's URI; the version may be empty."""
    parts = urlsplit(uri)
    path = _SECRET_PATH.fullmatch(parts.path)
    if parts.scheme != "https" or not parts.netloc or path is None:
        raise ConfigError(
            f"{uri!r} is no secret of a vault. Expected: https://VAULT/secrets/NAME or "
            "https://VAULT/secrets/NAME/VERSION."
        )
    return f"https://{parts.netloc}", path[1], path[2] or ""


def _vault_reader(source: SecretSource) -> Read:
    """Who answers for a Key Vault: the vault, or what stands in for it here."""
    if source.provider == "files":
        folder = Path(source.folder or "")
        return lambda uri: _read_file(str(folder / split_uri(uri)[1]))
    if source.provider == "environment":
        return lambda uri: _read_variable(
            source.prefix + split_uri(uri)[1].upper().replace("-", "_")
        )
    return KeyVault()


def _read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(
            f"The file {path}, which holds a secret, cannot be read: {why}."
        ) from None


def _read_variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigError(
            f"The environment has no variable {name}, which is to hold a secret."
        ) from None


def _azure_errors() -> tuple[type[Exception], ...]:
    exceptions = importlib.import_module("azure.core.exceptions")
    return (exceptions.AzureError, ValueError)
