"""Opens a connection to a hub: negotiates, then tries the transports that are left to it in turn.

The hub's handshake is not its affair.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from hubbub.client.credentials import Credentials
from hubbub.client.failures import ConnectError
from hubbub.client.negotiation import Offer, ask, connect_url, negotiate
from hubbub.client.settings import ClientSettings
from hubbub.client.transports.longpolling import open_longpolling
from hubbub.client.transports.sse import open_sse
from hubbub.client.transports.transport import Transport
from hubbub.client.transports.websocket import open_websocket
from hubbub.client.web import Web
from hubbub.protocol.negotiate import TransportOffer

__all__ = ["Link", "dial"]

_logger = logging.getLogger("hubbub.client")
_OPENERS: Final[dict[str, Callable[..., Awaitable[Transport]]]] = {
    "WebSockets": open_websocket,
    "ServerSentEvents": open_sse,
    "LongPolling": open_longpolling,
}
_WEBSOCKETS: Final = "WebSockets"


class Link:
    """An open transport, what was agreed on for it, and the way to open another like it."""

    __slots__ = ("_opening", "connection_id", "is_stateful", "transport")

    def __init__(
        self,
        transport: Transport,
        opening: Callable[[], Awaitable[Transport]],
        *,
        connection_id: str | None = None,
        is_stateful: bool = False,
    ) -> None:
        self.transport = transport
        self.connection_id = connection_id
        self.is_stateful = is_stateful
        self._opening = opening

    def __repr__(self) -> str:
        return f"Link({self.transport.name}, id={self.connection_id!r})"

    async def reopen(self) -> None:
        """Open the transport of the same connection anew. Raises `ConnectError`."""
        self.transport = await self._opening()


async def dial(http: aiohttp.ClientSession, settings: ClientSettings) -> Link:
    """Open a connection as `settings` say. Raises `ConnectError` or `ProtocolError`."""
    web = Web(http, Credentials(settings.access_token), settings.headers)
    if settings.skip_negotiation:
        await web.credentials.refresh()
        opening = _opening(web, settings, _WEBSOCKETS, settings.address)
        return Link(await opening(), opening)
    offer = await negotiate(web, settings.address, stateful=settings.stateful)
    failures = []
    used = False  # a connection token opens one transport only, whether that works or not
    for transport in offer.transports:
        obstacle = _obstacle(transport, settings)
        if obstacle is not None:
            failures.append(f"{transport.transport} failed: {obstacle}")
            continue
        if used:
            offer = await ask(web, offer.url, stateful=settings.stateful)
        used = True
        try:
            return await _open(web, settings, transport.transport, offer)
        except ConnectError as error:
            _logger.info("! %s failed: %s", transport.transport, error)
            failures.append(f"{transport.transport} failed: {error}")
    raise ConnectError(
        " ".join(
            ("Unable to connect to the server with any of the available transports.", *failures)
        )
    )


async def _open(web: Web, settings: ClientSettings, name: str, offer: Offer) -> Link:
    opening = _opening(web, settings, name, connect_url(offer.url, offer.connection_token))
    return Link(
        await opening(),
        opening,
        connection_id=offer.connection_id,
        # Only sockets can be swapped (TransportProtocols.md, "Stateful Reconnect").
        is_stateful=settings.stateful and offer.stateful and name == _WEBSOCKETS,
    )


def _opening(
    web: Web, settings: ClientSettings, name: str, url: str
) -> Callable[[], Awaitable[Transport]]:
    options: dict[str, Any] = {
        "binary": settings.codec.is_binary,
        # A server may join several records in one of the transport's own messages.
        "limit": 2 * settings.max_message_size,
    }
    return lambda: _OPENERS[name](web, url, **options)


def _obstacle(offer: TransportOffer, settings: ClientSettings) -> str | None:
    """Why this client does not take what is offered, `None` where it does."""
    name = offer.transport
    if name not in _OPENERS:
        return "it is not supported by this client."
    if settings.transport not in {None, name}:
        return "it is disabled by the client."
    if settings.codec.is_binary and "Binary" not in offer.transfer_formats:
        return f"it does not carry {settings.encoding}, which is binary."
    return None
