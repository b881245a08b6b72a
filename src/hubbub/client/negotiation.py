"""Negotiation, the client's side: ask where and how to connect, follow redirects.

It opens no transport. TransportProtocols.md, "POST [endpoint-base]/negotiate request".
"""

import asyncio
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec

from hubbub.client.failures import ConnectError
from hubbub.client.web import REQUEST_TIMEOUT, Web, describe, refusal
from hubbub.errors import ProtocolError
from hubbub.protocol.negotiate import NegotiateResponse, TransportOffer

__all__ = ["Offer", "ask", "connect_url", "negotiate", "negotiate_url"]

_MAX_REDIRECTS: Final = 100  # as in the JavaScript and .NET clients
_MAX_ANSWER: Final = 65_536  # bytes
_OLD_SERVER: Final = (
    "Detected a connection attempt to an ASP.NET SignalR Server. This client only supports "
    "connecting to an ASP.NET Core SignalR Server. See https://aka.ms/signalr-core-differences "
    "for details."
)


class _Answer(NegotiateResponse, frozen=True, kw_only=True):
    """Any server's answer. ASP.NET servers, of before ASP.NET Core, are told by the member here."""

    protocol_version: str | None = msgspec.field(default=None, name="ProtocolVersion")


_decoder: Final = msgspec.json.Decoder(_Answer)


class Offer(msgspec.Struct, frozen=True):
    """What a server offers: a connection at `url`, over one of `transports`."""

    url: str
    connection_id: str | None
    connection_token: str | None  # what `connect_url` takes; in version 0 the connection id
    transports: tuple[TransportOffer, ...]
    stateful: bool


async def negotiate(web: Web, url: str, *, stateful: bool) -> Offer:
    """Ask the server at `url`, and those it names, with a new token.

    Raises `ConnectError` or `ProtocolError`.
    """
    await web.credentials.refresh()
    for _ in range(_MAX_REDIRECTS):
        answer = await _post(web, url, stateful=stateful)
        if answer.access_token:
            web.credentials.replace(answer.access_token)
        if not answer.url:
            return _offer(url, answer)
        url = answer.url
    raise ConnectError("Negotiate redirection limit exceeded.")


async def ask(web: Web, url: str, *, stateful: bool) -> Offer:
    """Ask once more where `negotiate` has ended: a connection token opens one transport only."""
    return _offer(url, await _post(web, url, stateful=stateful))


def negotiate_url(url: str, *, stateful: bool) -> str:
    """The address that is asked for a connection to the hub at `url`."""
    path, _, query = url.partition("?")
    parts = [query] if query else []
    if "negotiateVersion" not in query:
        parts.append("negotiateVersion=1")
    if stateful and "useStatefulReconnect" not in query:
        parts.append("useStatefulReconnect=true")
    return f"{path.removesuffix('/')}/negotiate?{'&'.join(parts)}"


def connect_url(url: str, connection_token: str | None) -> str:
    """The address of a negotiated connection to the hub at `url`."""
    if not connection_token:
        return url
    return f"{url}{'&' if '?' in url else '?'}id={quote(connection_token, safe='')}"


async def _post(web: Web, url: str, *, stateful: bool) -> NegotiateResponse:
    address = negotiate_url(url, stateful=stateful)
    try:
        response = await web.request("POST", address)
        try:
            if response.status != 200:
                raise refusal(response.status, address)
            async with asyncio.timeout(REQUEST_TIMEOUT):
                body = await response.content.read(_MAX_ANSWER)
                while len(body) < _MAX_ANSWER and (more := await response.content.readany()):
                    body += more
        finally:
            response.release()
    except TimeoutError:
        raise ConnectError(f"{describe(address)} did not answer in time.") from None
    except aiohttp.ClientError as error:
        raise ConnectError(
            f"{describe(address)} did not answer: {error or type(error).__name__}."
        ) from error
    return _decode(body, address)


def _decode(body: bytes, address: str) -> NegotiateResponse:
    try:
        answer = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(
            f"What {describe(address)} answered is not a negotiate response: {error}. Is this the "
            "URL of a hub, or of an app with a negotiate function, without its /negotiate?"
        ) from None
    if answer.protocol_version is not None:
        raise ProtocolError(_OLD_SERVER)
    if answer.error:
        raise ConnectError(f"{describe(address)} refused to negotiate: {answer.error}")
    return answer


def _offer(url: str, answer: NegotiateResponse) -> Offer:
    version = answer.negotiate_version or 0
    return Offer(
        url=url,
        connection_id=answer.connection_id,
        connection_token=answer.connection_token if version > 0 else answer.connection_id,
        transports=answer.available_transports or (),
        stateful=answer.use_stateful_reconnect,
    )
