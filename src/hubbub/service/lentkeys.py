"""Keys that are lent to holders of an Entra token, to sign tokens for clients with for a while.

They follow from the access keys, so every node knows them and nothing has to be kept.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import jwt
from msgspec import Struct

__all__ = ["LentKey", "keys_lent_for", "lend_key"]

# The original's are good for 90 minutes, and the last token signed with one for an hour more.
_LIFETIME: Final = 3 * 3600  # seconds
_PREFIX: Final = "lent-"
_MAX_DIGITS: Final = 12


class LentKey(Struct, frozen=True, rename="pascal"):
    """A key and its name, which tokens have as their `kid`; as the Azure SDK reads it."""

    key_id: str
    access_key: str

    def __repr__(self) -> str:
        return f"LentKey({self.key_id!r})"


def lend_key(access_key: str, *, now: int) -> LentKey:
    """A key that follows from `access_key`. `now` is Unix seconds."""
    key_id = f"{_PREFIX}{now + _LIFETIME}"
    return LentKey(key_id, _derived(access_key, key_id))


def keys_lent_for(token: str, access_keys: Sequence[str], *, now: int) -> list[str]:
    """The keys that may have signed `token`; none where it names no lent key, or one of before."""
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return []
    if not isinstance(key_id, str) or not key_id.startswith(_PREFIX):
        return []
    end = key_id.removeprefix(_PREFIX)
    if not (end.isascii() and end.isdigit() and len(end) <= _MAX_DIGITS) or int(end) < now:
        return []
    return [_derived(access_key, key_id) for access_key in access_keys]


def _derived(access_key: str, key_id: str) -> str:
    digest = hmac.digest(access_key.encode(), b"lent key:" + key_id.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode()
