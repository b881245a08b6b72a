"""The long polling transport: requests that the server answers when it has something to say."""

import asyncio
import logging
import time
from typing import Final

import aiohttp

from hubbub.client.failures import ConnectError, ConnectionLostError
from hubbub.client.transports.transport import post
from hubbub.client.web import Web, refusal

__all__ = ["LongPollingTransport", "open_longpolling"]

_logger = logging.getLogger("hubbub.client")
_POLL_TIMEOUT: Final = 100.0  # seconds; servers answer an idle poll after 90
_CLOSE_TIMEOUT: Final = 2.0  # seconds


class LongPollingTransport:
    """One poll after another, and requests the other way. Satisfies `Transport`."""

    name: Final = "LongPolling"
    keeps_alive: Final = True  # a poll that the server does not answer is noticed

    def __init__(self, web: Web, url: str, *, binary: bool) -> None:
        self._web = web
        self._url = url
        self._binary = binary
        self._response: aiohttp.ClientResponse | None = None
        self._ended = False

    async def poll(self) -> aiohttp.ClientResponse:
        """One poll. The first one opens the connection and is answered at once, without data."""
        # A number that changes, so that no cache on the way answers.
        mark = "&" if "?" in self._url else "?"
        url = f"{self._url}{mark}_={time.time_ns() // 1_000_000}"
        return await self._web.request("GET", url, within=_POLL_TIMEOUT)

    async def receive(self) -> bytes:
        """The next bytes of this poll's answer, or of the next one's."""
        try:
            if self._response is None:
                self._response = await self._next_answer()
            async with asyncio.timeout(_POLL_TIMEOUT):
                data = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, ConnectError) as error:
            raise ConnectionLostError(f"A poll failed: {error}") from error
        if not data:
            self._response.release()
            self._response = None
        return data

    async def send(self, data: bytes) -> None:
        """Send records in a request."""
        await post(self._web, self._url, data, binary=self._binary)

    async def close(self) -> None:
        """Tell the server, unless it was the one that ended the connection."""
        if self._response is not None:
            self._response.close()
        if self._ended:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                (await self._web.request("DELETE", self._url)).release()
        except (ConnectError, TimeoutError) as error:
            # The server ends the connection itself when no poll comes.
            _logger.debug("! DELETE of a long polling connection failed: %s", error)

    async def _next_answer(self) -> aiohttp.ClientResponse:
        response = await self.poll()
        if response.status == 200:
            return response
        response.release()
        self._ended = True
        if response.status == 204:
            raise ConnectionLostError("The server ended the polling.")
        raise ConnectionLostError(
            f"The server answered {response.status} to a poll.", status=response.status
        )


async def open_longpolling(web: Web, url: str, *, binary: bool, limit: int) -> LongPollingTransport:
    """Open a connection at `url` by a first poll. Raises `ConnectError`.

    Answers are read piece by piece, so none is too large and `limit` does not matter here.
    """
    transport = LongPollingTransport(web, url, binary=binary)
    response = await transport.poll()
    response.release()
    if response.status != 200:
        raise refusal(response.status, url)
    return transport
