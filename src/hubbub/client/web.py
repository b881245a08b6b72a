"""HTTP as a hub client needs it: its headers, its token, one try with a new token after a 401.

It knows no hub and no transport.
"""

import asyncio
import platform
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import aiohttp
from yarl import URL

from hubbub import __version__
from hubbub.client.credentials import Credentials
from hubbub.client.failures import ConnectError, why

__all__ = ["REQUEST_TIMEOUT", "Web", "describe", "refusal"]

REQUEST_TIMEOUT: Final = 100.0  # seconds, as in the JavaScript client
_WEBSOCKET_CLOSE_TIMEOUT: Final = 1.0  # seconds a closing server is waited for
_HEADERS: Final = {
    # Asks an ASP.NET Core app for a 401 where it would show people its login page.
    "X-Requested-With": "XMLHttpRequest",
    "X-SignalR-User-Agent": f"Hubbub/{__version__} (Python {platform.python_version()})",
}
_ADVICE: Final = {
    401: "The access token is missing, expired or signed with another key.",
    403: "The access token does not allow this.",
    404: "Either this is no hub's endpoint, or the connection id is not known there: with several "
    "servers check that requests of one client reach the same one.",
    503: "It lets no client in now, as when it is stopping: try again later.",
    429: "The service has no room for another connection.",
}
_USER: Final = re.compile(r"//[^/]*@")
_Answer = TypeVar("_Answer")


class Web:
    """Sends the requests of one client. Failures to get any answer are `ConnectError`s."""

    __slots__ = ("_headers", "_http", "credentials")

    def __init__(
        self, http: aiohttp.ClientSession, credentials: Credentials, headers: Mapping[str, str]
    ) -> None:
        self._http = http
        self._headers = {**_HEADERS, **headers}
        self.credentials = credentials

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        within: float = REQUEST_TIMEOUT,
    ) -> aiohttp.ClientResponse:
        """Send a request; return the answer when its head has come. The caller releases it.

        Any status is an answer; none `within` so many seconds is an error.
        """

        async def attempt() -> aiohttp.ClientResponse:
            async with asyncio.timeout(within):
                return await self._http.request(
                    method,
                    URL(url, encoded=url.isascii()),
                    headers={**self.credentials.headers, **self._headers, **(headers or {})},
                    data=body,
                )

        response = await _reach(url, attempt)
        if response.status == 401 and self.credentials.can_refresh:
            response.release()
            await self.credentials.refresh()
            response = await _reach(url, attempt)
        return response

    async def websocket(self, url: str, *, limit: int) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket that takes messages of up to `limit` bytes. Raises `ConnectError`."""

        async def attempt() -> aiohttp.ClientWebSocketResponse:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await self._http.ws_connect(
                    URL(url, encoded=url.isascii()),
                    headers={**self.credentials.headers, **self._headers},
                    max_msg_size=limit,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_WEBSOCKET_CLOSE_TIMEOUT),
                )

        try:
            return await _reach(url, attempt)
        except ConnectError as error:
            if error.status != 401 or not self.credentials.can_refresh:
                raise
        await self.credentials.refresh()
        return await _reach(url, attempt)


async def _reach(url: str, attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
    try:
        return await attempt()
    except aiohttp.WSServerHandshakeError as error:
        raise refusal(error.status, url) from None
    except TimeoutError:
        raise ConnectError(f"{describe(url)} did not answer in time.") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ConnectError(
            f"{describe(url)} cannot be reached: {why(error)}. "
            "Is it running, and reachable from here?",
            reason=why(error),
        ) from error


def refusal(status: int, url: str) -> ConnectError:
    """The error for an answer whose status is not what was hoped for."""
    advice = _ADVICE.get(status, "")
    return ConnectError(f"{describe(url)} answered {status}. {advice}".rstrip(), status=status)


def describe(url: str) -> str:
    """`url` without its query and user, which may hold secrets."""
    return _USER.sub("//", url.partition("?")[0], count=1)
