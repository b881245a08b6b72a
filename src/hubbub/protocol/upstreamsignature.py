"""Signatures of webhooks: the one that apps of the original check, and one that covers more.

It signs and compares; which keys there are and what time it is are arguments.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Final

from hubbub.errors import ProtocolError

__all__ = ["SIGNATURE_TOLERANCE", "check_full", "is_signed", "sign_connection", "sign_full"]

_TIME: Final = re.compile(r"[0-9]{1,15}")
SIGNATURE_TOLERANCE: Final = 300  # seconds that a full signature stays good; replays end there


def sign_connection(connection_id: str, keys: Sequence[str]) -> str:
    """The value of X-ASRS-Signature: one entry for each key, primary first, no blank between.

    It proves who sent the webhook and nothing about its content (service facts, "Request").
    """
    return ",".join(f"sha256={_hex(key, connection_id.encode())}" for key in keys)


def is_signed(header: str | None, connection_id: str, keys: Sequence[str]) -> bool:
    """Whether an entry of X-ASRS-Signature was made with one of `keys`, whatever its case."""
    given = [entry.strip().lower() for entry in (header or "").split(",")]
    wanted = [f"sha256={_hex(key, connection_id.encode())}" for key in keys]
    return any(_same(one, other) for one in given for other in wanted)


def sign_full(identity: Sequence[str], body: bytes, keys: Sequence[str], *, now: int) -> str:
    """The value of X-Hubbub-Signature: `t=SECONDS,v1=HEX`, one `v1` for each key.

    What is signed is the time, each text of `identity`, and the body, joined by line feeds.
    """
    signed = _full(now, identity, body)
    return ",".join((f"t={now}", *(f"v1={_hex(key, signed)}" for key in keys)))


def check_full(
    header: str,
    identity: Sequence[str],
    body: bytes,
    keys: Sequence[str],
    *,
    now: int,
    tolerance: int = SIGNATURE_TOLERANCE,
) -> None:
    """Check what `sign_full` made. Raises `ProtocolError` that says what does not fit."""
    entries = [entry.strip().partition("=") for entry in header.split(",")]
    times = [value for name, _, value in entries if name == "t"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise ProtocolError("The full signature has no time stamp; it is t=SECONDS,v1=HEX.")
    time = int(times[0])
    if abs(now - time) > tolerance:
        raise ProtocolError(
            f"The full signature is {abs(now - time)} seconds off; {tolerance} are allowed. "
            "Compare the clocks."
        )
    given = [value.lower() for name, _, value in entries if name == "v1"]
    wanted = [_hex(key, _full(time, identity, body)) for key in keys]
    if not any(_same(one, other) for one in given for other in wanted):
        raise ProtocolError("The full signature fits none of the access keys and this body.")


def _full(time: int, identity: Sequence[str], body: bytes) -> bytes:
    return "\n".join((str(time), *identity, "")).encode() + body


def _hex(key: str, message: bytes) -> str:
    return hmac.digest(key.encode(), message, "sha256").hex()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
