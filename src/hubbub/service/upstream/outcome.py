"""What became of one event that was sent to an app, as a value. Nothing is decided here."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from hubbub.errors import UpstreamError

__all__ = ["MAX_ANSWER", "DeliveryError", "Kind", "Outcome"]

MAX_ANSWER: Final = 16 * 1024 * 1024  # bytes, as in the official emulator


class Kind(StrEnum):
    """How a delivery can end. The values are labels for metrics."""

    ANSWERED = "answered"  # 200 or 204
    STATUS = "status"  # any other status
    NO_TEMPLATE = "no_template"
    UNREACHABLE = "unreachable"  # no connection could be made, so nothing was sent
    NO_TLS = "no_tls"  # there is somebody, but no TLS that can be trusted; nothing was sent
    BROKEN = "broken"  # the connection ended before the answer began, or it was no HTTP
    CUT_OFF = "cut_off"  # the answer began and did not end
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"  # to where it is not followed
    FORBIDDEN_ADDRESS = "forbidden_address"
    BAD_URL = "bad_url"
    NO_SECRET = "no_secret"  # noqa: S105 - a label
    NO_TOKEN = "no_token"  # noqa: S105 - a label
    UNUSABLE = "unusable"  # answered with something that is no completion


class Outcome(Struct, frozen=True, kw_only=True):
    """The end of one delivery. `where` is fit for logs: it has no query and no secrets."""

    kind: Kind
    where: str = ""
    status: int = 0
    reason: str = ""  # the reason phrase that came with the status
    challenge: str = ""  # the answer's WWW-Authenticate
    body: bytes = b""
    detail: str = ""  # for the log alone, never for a client
    attempts: int = 1
    seconds: float = 0.0

    @property
    def is_success(self) -> bool:
        """Whether the app has taken the event."""
        return self.kind is Kind.ANSWERED


class DeliveryError(UpstreamError):
    """A delivery that got no answer, or none that can be used. The message is for the log."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
