"""What a hub client asks of a transport, and how HTTP transports send: the same on both."""

from typing import Final, Protocol

from hubbub.client.failures import ConnectError, ConnectionLostError
from hubbub.client.web import Web

__all__ = ["Transport", "post"]

_TEXT: Final = {"Content-Type": "text/plain;charset=UTF-8"}
_BINARY: Final = {"Content-Type": "application/octet-stream"}


class Transport(Protocol):
    """Carries the bytes of one connection. One task receives and one task sends."""

    @property
    def name(self) -> str:
        """Its name in a negotiate response."""

    @property
    def keeps_alive(self) -> bool:
        """Whether it notices itself that the other end is gone, without pings."""

    async def receive(self) -> bytes:
        """The next bytes, possibly none. Raises `ConnectionLostError` at the end."""

    async def send(self, data: bytes) -> None:
        """Send whole records. Raises `ConnectionLostError`."""

    async def close(self) -> None:
        """End it, whatever state it is in. Takes a few seconds at most and raises nothing."""


async def post(web: Web, url: str, data: bytes, *, binary: bool) -> None:
    """Send `data` to the connection at `url` in a request of its own."""
    try:
        response = await web.request("POST", url, headers=_BINARY if binary else _TEXT, body=data)
    except ConnectError as error:
        raise ConnectionLostError(str(error)) from error
    response.release()
    if response.status >= 300:
        raise ConnectionLostError(
            f"The server answered {response.status} to a message.", status=response.status
        )
