"""Signatures of tokens (RFC 7515): PyJWT decides what a header means, and it is asked once.

Tokens of one issuer all have the same header. A header that PyJWT has accepted is remembered as
its text, and later tokens under it cost one HMAC: it is a tenth of the whole, on the hottest path.
"""

import base64
import hmac
from collections.abc import Sequence
from typing import Final

from jwt.algorithms import HMACAlgorithm
from jwt.api_jws import PyJWS
from jwt.exceptions import InvalidSignatureError, PyJWTError

from hubbub.errors import ProtocolError

__all__ = ["SignatureError", "sign", "verified_payload"]

_DIGESTS: Final = {"HS256": "sha256", "HS512": "sha512"}
_ALGORITHMS: Final = tuple(_DIGESTS)
_MAX_HEADERS: Final = 256  # an issuer has one; more than these are not remembered


class SignatureError(ProtocolError):
    """A token that is malformed, or that none of the keys has signed."""

    def __init__(self, message: str, *, is_malformed: bool) -> None:
        super().__init__(message)
        self.is_malformed = is_malformed


class _Hmac(HMACAlgorithm):
    """HMAC without PyJWT's warning: the SDKs sign HS512 with the 44 bytes of any access key."""

    def check_key_length(self, key: bytes) -> None:
        """Accept every length; the service's settings ask for 32 bytes."""


_jws: Final = PyJWS(algorithms=())
_jws.register_algorithm("HS256", _Hmac(HMACAlgorithm.SHA256))
_jws.register_algorithm("HS512", _Hmac(HMACAlgorithm.SHA512))

# The digest that each header's text stands for. Only headers of genuine tokens get in.
_digests: Final[dict[str, str]] = {}


def sign(payload: bytes, key: str, key_id: str) -> str:
    """Make a token of `payload`, HS256; `key_id` is the header's `kid`."""
    return _jws.encode(payload, key, "HS256", headers={"kid": key_id})


def verified_payload(token: str, keys: Sequence[str]) -> bytes:
    """The payload of a token that one of `keys` has signed. Raises `SignatureError`."""
    signed, _, signature = token.rpartition(".")
    header, _, payload = signed.partition(".")
    digest = _digests.get(header)
    if digest is not None and token.isascii():
        for key in keys:
            mac = hmac.digest(key.encode(), signed.encode(), digest)
            # As text, so that one signature has one form.
            if hmac.compare_digest(_encode(mac), signature.encode()):
                return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    return _decode(token, header, keys)


def _decode(token: str, header: str, keys: Sequence[str]) -> bytes:
    """Have PyJWT verify the token: the first one under its header, and every one that is wrong."""
    for key in keys:
        try:
            decoded = _jws.decode_complete(token, key, _ALGORITHMS)
        except InvalidSignatureError:
            continue
        except (PyJWTError, ValueError, RecursionError) as error:
            raise SignatureError(f"{type(error).__name__}: {error}", is_malformed=True) from None
        # A detached payload (RFC 7797) is no matter of the signature's bytes alone.
        if len(_digests) < _MAX_HEADERS and "b64" not in decoded["header"]:
            _digests[header] = _DIGESTS[decoded["header"]["alg"]]
        payload: bytes = decoded["payload"]
        return payload
    raise SignatureError("No key has signed the token.", is_malformed=False)


def _encode(mac: bytes) -> bytes:
    return base64.urlsafe_b64encode(mac).rstrip(b"=")
