"""Connection tokens: who may open, reopen or post to which connection of this node.

A token is opaque to clients and URL-safe. It names its node and is signed, so that a node which
did not give it out knows where it belongs without asking anyone.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final

from hubbub.service.access import ClientAccess, Refusal
from hubbub.service.settings import ServiceSettings

if TYPE_CHECKING:
    from hubbub.service.session import Connection

__all__ = ["NODE_ID_BYTES", "Ticket", "Tickets", "node_of_token"]

NODE_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 19  # with the rest, a multiple of three: no padding in the token
_MAC_BYTES: Final = 16  # half of SHA-256 is plenty for what lives for minutes


class Ticket:
    """One negotiated connection, open or not yet."""

    __slots__ = ("connection", "connection_id", "expires", "hub", "is_stateful", "token", "user_id")

    def __init__(
        self, token: str, connection_id: str, access: ClientAccess, expires: float, stateful: bool
    ) -> None:
        self.token = token
        self.connection_id = connection_id
        self.hub = access.hub.lower()
        self.user_id = access.user_id
        self.expires = expires  # of the loop's clock; counts only until the connection is open
        self.is_stateful = stateful
        self.connection: Connection | None = None

    def __repr__(self) -> str:
        return f"Ticket({self.connection_id!r}, {self.connection!r})"  # the token is a secret


class Tickets:
    """The tickets of one node, by connection token."""

    def __init__(self, settings: ServiceSettings, node_id: str) -> None:
        self._settings = settings
        self._node_id = node_id
        self._tickets: dict[str, Ticket] = {}
        # Those that nobody has opened yet, in the order in which they expire.
        self._waiting: dict[str, Ticket] = {}

    def __repr__(self) -> str:
        return f"Tickets({len(self._tickets)}, waiting={len(self._waiting)})"

    def issue(self, access: ClientAccess, *, version: int, stateful: bool) -> Ticket:
        """Reserve a connection. In version 0 of negotiation its public id is the token too."""
        if len(self._waiting) >= self._settings.max_negotiated:
            raise Refusal(429, "Too many connections are negotiated and not opened. Try later.")
        token = _sign(bytes.fromhex(self._node_id), self._settings.access_keys[0])
        connection_id = token if version == 0 else self.new_connection_id()
        expires = asyncio.get_running_loop().time() + self._settings.negotiate_timeout
        ticket = Ticket(token, connection_id, access, expires, stateful)
        self._tickets[token] = self._waiting[token] = ticket
        return ticket

    def find(self, access: ClientAccess) -> Ticket:
        """The ticket that a request names. Raises `Refusal`: a stranger's is as good as none."""
        ticket = self._tickets.get(access.connection_token or "")
        if ticket is None or ticket.hub != access.hub.lower():
            raise Refusal(404, "No Connection with that ID")
        if ticket.user_id != access.user_id:
            raise Refusal(403, "The connection belongs to another user.")
        return ticket

    def open(self, ticket: Ticket, connection: "Connection") -> None:
        """The ticket is used from here on by `connection`."""
        self._waiting.pop(ticket.token, None)
        ticket.connection = connection

    def forget(self, ticket: Ticket) -> None:
        """The connection is gone, and its token opens nothing more."""
        self._tickets.pop(ticket.token, None)

    def expire(self, now: float) -> None:
        """Forget what was negotiated and not opened in time."""
        for token, ticket in tuple(self._waiting.items()):
            if ticket.expires > now:
                break  # all wait equally long, so the rest is younger
            del self._waiting[token]
            self.forget(ticket)

    def new_connection_id(self) -> str:
        """An id that nobody can guess; it begins with the node's, so that sends find their way."""
        return self._node_id + secrets.token_urlsafe(16)


def node_of_token(token: str, keys: tuple[str, ...]) -> str | None:
    """The id of the node that gave out `token`, `None` where no node with these keys did."""
    try:
        raw = base64.urlsafe_b64decode(token)
    except ValueError:
        return None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if len(body) != NODE_ID_BYTES + _NONCE_BYTES:
        return None
    if any(hmac.compare_digest(mac, _mac(body, key)) for key in keys):
        return body[:NODE_ID_BYTES].hex()
    return None


def _sign(node_id: bytes, key: str) -> str:
    body = node_id + secrets.token_bytes(_NONCE_BYTES)
    return base64.urlsafe_b64encode(body + _mac(body, key)).decode()


def _mac(body: bytes, key: str) -> bytes:
    return hmac.digest(key.encode(), b"connection token:" + body, hashlib.sha256)[:_MAC_BYTES]
