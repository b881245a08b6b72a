"""The WebSockets transport: text messages for text encodings, binary ones for binary."""

from typing import Final

import aiohttp

from hubbub.client.failures import ConnectionLostError
from hubbub.client.web import Web

__all__ = ["WebSocketTransport", "open_websocket"]

_ABNORMAL: Final = 1006  # RFC 6455, 7.4.1: the connection ended without a close frame


class WebSocketTransport:
    """One WebSocket. Satisfies `Transport`."""

    name: Final = "WebSockets"
    keeps_alive: Final = False

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, binary: bool) -> None:
        self._socket = socket
        self._binary = binary

    async def receive(self) -> bytes:
        """The bytes of the next message."""
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data).encode()
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ConnectionLostError(f"WebSocket closed with an error: {message.data}.")
        reason = str(message.extra or "no reason given")
        code = self._socket.close_code or _ABNORMAL
        # The JavaScript client's sentence, so that what people search for is what they see.
        raise ConnectionLostError(f"WebSocket closed with status code: {code} ({reason}).")

    async def send(self, data: bytes) -> None:
        """Send one message."""
        try:
            if self._binary:
                await self._socket.send_bytes(data)
            else:
                await self._socket.send_str(data.decode())
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"WebSocket closed: {error}.") from error

    async def close(self) -> None:
        """Say good-bye; wait for the answer for as long as `Web.websocket` allows."""
        await self._socket.close()


async def open_websocket(web: Web, url: str, *, binary: bool, limit: int) -> WebSocketTransport:
    """Open a WebSocket at `url`. Raises `ConnectError`."""
    return WebSocketTransport(await web.websocket(url, limit=limit), binary=binary)
