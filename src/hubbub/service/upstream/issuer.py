"""Tokens that the service issues itself, and the keys by which apps check them.

Apps find the keys as they would find those of any OpenID provider, so no cloud is needed.
"""

import asyncio
import hashlib
import importlib
import os
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import jwt

from hubbub.errors import ConfigError

__all__ = ["CONFIGURATION_PATH", "JWKS_PATH", "ServiceIssuer"]

JWKS_PATH: Final = "/.well-known/jwks.json"
CONFIGURATION_PATH: Final = "/.well-known/openid-configuration"
_KEY_BITS: Final = 2048
_LIFETIME: Final = 3600  # seconds
_SUBJECT: Final = "hubbub"


class ServiceIssuer:
    """Issues RS256 tokens in the service's own name. Needs the package cryptography."""

    def __init__(self, issuer: str, key_file: str | None = None) -> None:
        """`key_file` keeps the key over restarts and shares it; `None` makes one for this run."""
        self.issuer = issuer.rstrip("/")
        self._key_file = Path(key_file) if key_file is not None else None
        self._key: Any = None
        self._key_id = ""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"ServiceIssuer({self.issuer!r})"

    async def issue(self, resource: str, now: int) -> tuple[str, int]:
        """A token for the audience `resource`, and when it expires in Unix seconds."""
        await self._opened()
        claims: Mapping[str, Any] = {
            "iss": self.issuer,
            "aud": resource,
            "sub": _SUBJECT,
            "appid": _SUBJECT,
            "iat": now,
            "nbf": now,
            "exp": now + _LIFETIME,
        }
        # Signing takes a millisecond, once an hour.
        token = jwt.encode(dict(claims), self._key, "RS256", headers={"kid": self._key_id})
        return token, now + _LIFETIME

    async def keys(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set."""
        await self._opened()
        algorithms = importlib.import_module("jwt.algorithms")
        key: dict[str, Any] = algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        key.pop("key_ops", None)
        return {"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": "RS256"}]}

    def configuration(self) -> dict[str, Any]:
        """What an OpenID provider says of itself, as far as checking tokens needs it."""
        return {
            "issuer": self.issuer,
            "jwks_uri": self.issuer + JWKS_PATH,
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        }

    async def _opened(self) -> None:
        if self._key is None:
            await asyncio.to_thread(self._open)

    def _open(self) -> None:
        with self._lock:
            if self._key is not None:
                return
            try:
                serialization = importlib.import_module(
                    "cryptography.hazmat.primitives.serialization"
                )
            except ImportError:
                raise ConfigError(
                    "Tokens that the service issues need the package cryptography: "
                    "pip install 'hubbub[azure]'."
                ) from None
            key = _read(self._key_file, serialization) if self._key_file else _generate()
            public = key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self._key_id = hashlib.sha256(public).hexdigest()[:16]
            self._key = key


def _generate() -> Any:
    rsa = importlib.import_module("cryptography.hazmat.primitives.asymmetric.rsa")
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


def _read(path: Path, serialization: Any) -> Any:
    """The key in the file, which is made where there is none."""
    rsa = importlib.import_module("cryptography.hazmat.primitives.asymmetric.rsa")
    try:
        if not path.exists():
            _write(path, serialization)
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"Identity.KeyFile {path} cannot be read or made: {error.strerror}. Name a file in a "
            "folder that this service may write to."
        ) from None
    try:
        key = serialization.load_pem_private_key(text, None)
    except Exception as error:  # whatever the library says of what is no key that it knows
        raise ConfigError(
            f"Identity.KeyFile {path} holds no RSA key in PEM: {type(error).__name__}. "
            "Remove the file to have a new one made."
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _KEY_BITS:
        raise ConfigError(f"Identity.KeyFile {path} is no RSA key of {_KEY_BITS} bits or more.")
    return key


def _write(path: Path, serialization: Any) -> None:
    # Only its owner may read it, and nobody ever sees a part of it. The name is nobody else's:
    # services in containers that share a folder may have the same process id.
    descriptor, partial = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(
                _generate().private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        with suppress(FileExistsError):  # another was quicker; its key is everybody's
            os.link(partial, path)
    finally:
        os.unlink(partial)
