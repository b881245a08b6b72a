"""Connection tokens: who may open which connection. They say it themselves; nothing is kept.

A token is opaque to clients, URL-safe and signed, so that every node with the same access keys can
open the connection that another one has negotiated. What is kept is which ones have been used up.
"""

import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from hubbub.service.access import ClientAccess, Refusal
from hubbub.service.settings import ServiceSettings

__all__ = ["NODE_ID_BYTES", "Ticket", "Tickets", "connection_id_of", "new_connection_id"]

NODE_ID_BYTES: Final = 8
# A token is flags, end, node, nonce, user and signature; a multiple of three, so it has no padding.
_FLAGS_BYTES: Final = 1
_EXPIRES_BYTES: Final = 6  # Unix milliseconds
_NODE_BYTES: Final = 4  # of the id of the node that has made it, so that logs can say which
_NONCE_BYTES: Final = 12
_USER_BYTES: Final = 6
_MAC_BYTES: Final = 16  # half of SHA-256 is plenty for what lives for minutes
_NONCE_AT: Final = _FLAGS_BYTES + _EXPIRES_BYTES + _NODE_BYTES
_BODY_BYTES: Final = _NONCE_AT + _NONCE_BYTES + _USER_BYTES
_TOKEN_LENGTH: Final = (_BODY_BYTES + _MAC_BYTES) * 4 // 3
_STATEFUL: Final = 1
_IS_ID: Final = 2  # version 0 of negotiation: the token is the connection's public id too
_ID_BYTES: Final = 18
_GONE: Final = "No Connection with that ID"
# Seconds for which another node may not have heard that a key is replaced.
_NEWS: Final = 6.0
_logger = logging.getLogger("hubbub.service")


class Ticket(Struct, frozen=True, gc=False):
    """One negotiated connection: its token, its id, and until when (Unix seconds) it may open."""

    token: str
    connection_id: str
    expires: float
    is_stateful: bool

    def __repr__(self) -> str:
        return f"Ticket({self.connection_id!r})"  # the token is a secret


class Tickets:
    """Makes and checks connection tokens; remembers those whose connections have ended."""

    def __init__(
        self,
        settings: ServiceSettings,
        clock: Callable[[], float] = time.time,
        issuer: Callable[[], str] = lambda: "",
    ) -> None:
        """`clock` gives Unix seconds, which nodes agree on; `issuer` this node's id."""
        self._settings = settings
        self._issuer = issuer
        # Keys that are replaced, and until when there may be tokens that they have signed.
        self._former: dict[str, float] = {}
        self.clock = clock
        # Until when the ids of ended connections have tokens that would open them again.
        self._spent: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"Tickets(spent={len(self._spent)})"

    def use(self, settings: ServiceSettings) -> None:
        """Go by other settings from here on. What replaced keys have signed stays good."""
        end = self.clock() + self._settings.negotiate_timeout + _NEWS
        for key in set(self._settings.access_keys) - set(settings.access_keys):
            self._former[key] = end
        self._settings = settings

    def issue(self, access: ClientAccess, *, version: int, stateful: bool) -> Ticket:
        """Make a token. In version 0 of negotiation the connection's public id is the token too."""
        expires = int((self.clock() + self._settings.negotiate_timeout) * 1000)
        flags = _STATEFUL * stateful | _IS_ID * (version == 0)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        node = bytes.fromhex(self._issuer())[:_NODE_BYTES].ljust(_NODE_BYTES, b"\0")
        tag = _tag(nonce, access)
        body = b"%c%b%b%b%b" % (flags, expires.to_bytes(_EXPIRES_BYTES), node, nonce, tag)
        key = self._settings.access_keys[0]
        token = base64.urlsafe_b64encode(body + _mac(body, access, key)).decode()
        return Ticket(token, _id_of(token, flags), expires / 1000, stateful)

    def open(self, access: ClientAccess) -> Ticket:
        """The ticket with which a request opens a connection.

        Raises `Refusal`: what is forged, too old, used up or another hub's is as good as none.
        """
        token = access.connection_token or ""
        raw = _decode(token)
        if raw is None:
            raise Refusal(404, _GONE)
        body, mac = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
        expires = int.from_bytes(body[_FLAGS_BYTES:][:_EXPIRES_BYTES]) / 1000
        if not any(
            hmac.compare_digest(mac, _mac(body, access, key)) for key in self._keys(expires)
        ):
            raise Refusal(404, _GONE)
        nonce = body[_NONCE_AT:][:_NONCE_BYTES]
        if not hmac.compare_digest(body[-_USER_BYTES:], _tag(nonce, access)):
            _log(body, "it belongs to another user")
            raise Refusal(403, "The connection belongs to another user.")
        connection_id = _id_of(token, body[0])
        if expires <= self.clock():
            _log(body, "it is too old")
            raise Refusal(404, _GONE)
        if connection_id in self._spent:
            _log(body, "its connection has ended")
            raise Refusal(404, _GONE)
        return Ticket(token, connection_id, expires, bool(body[0] & _STATEFUL))

    def spend(self, connection_id: str, expires: float) -> None:
        """The connection has ended: its token, good until `expires`, opens nothing more."""
        if expires > self.clock():
            self._spent[connection_id] = expires

    def is_spent(self, connection_id: str) -> bool:
        """Whether the connection has ended, and its token would be good still."""
        return connection_id in self._spent

    def expire(self) -> None:
        """Forget tokens that are too old to open anything. Called now and then."""
        now = self.clock()
        for those in (self._spent, self._former):
            for name in [each for each, end in those.items() if end <= now]:
                del those[name]

    def _keys(self, expires: float) -> Iterator[str]:
        """Keys that may have signed a token which is good until `expires`."""
        yield from self._settings.access_keys
        for key, end in self._former.items():
            # Later ones were not made while it was in force.
            if self.clock() < end >= expires:
                yield key


def connection_id_of(token: str) -> str | None:
    """The id of the connection that `token` is for, unchecked; `None` where it is no token.

    Who holds a token whose id is that of an open connection has the token of that connection:
    nobody can find another one with the same id.
    """
    raw = _decode(token)
    return _id_of(token, raw[0]) if raw is not None else None


def new_connection_id() -> str:
    """An id, which nobody can guess, for a connection that was not negotiated."""
    return secrets.token_urlsafe(_ID_BYTES)


def _decode(token: str) -> bytes | None:
    if len(token) != _TOKEN_LENGTH:
        return None
    try:
        raw = base64.urlsafe_b64decode(token)
    except ValueError:
        return None
    # There is one way to write a token, as its text counts where it is an id.
    return raw if base64.urlsafe_b64encode(raw).decode() == token else None


def _id_of(token: str, flags: int) -> str:
    if flags & _IS_ID:
        return token
    # Without a key: an id stays the same when keys are replaced. It does not tell the token.
    digest = hashlib.sha256(b"connection id:" + token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:_ID_BYTES]).decode()


def _log(body: bytes, why: str) -> None:
    issuer = body[_FLAGS_BYTES + _EXPIRES_BYTES :][:_NODE_BYTES].hex()
    _logger.debug("a connection token made by node %s… is refused: %s", issuer, why)


def _tag(nonce: bytes, access: ClientAccess) -> bytes:
    """What tells one user from another; no user at all is one as well."""
    user = (
        b"\1" + access.user_id.encode("utf-8", "surrogatepass")
        if access.user_id is not None
        else b""
    )
    return hashlib.sha256(nonce + user).digest()[:_USER_BYTES]


def _mac(body: bytes, access: ClientAccess, key: str) -> bytes:
    text = b"connection token:" + body + access.hub.lower().encode()
    return hmac.digest(key.encode(), text, "sha256")[:_MAC_BYTES]
