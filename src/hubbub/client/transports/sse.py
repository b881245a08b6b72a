"""The Server-Sent Events transport: an endless response brings messages, requests send them."""

from typing import Final

import aiohttp

from hubbub.client.failures import ConnectionLostError
from hubbub.client.transports.transport import post
from hubbub.client.web import Web, refusal
from hubbub.errors import ProtocolError

__all__ = ["EventReader", "ServerSentEventsTransport", "open_sse"]

_DATA: Final = b"data:"


class EventReader:
    """Cuts a stream of server-sent events into their data (HTML Standard, "Interpreting an event
    stream"). Other fields and comments are passed over.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is the largest event that is taken, in bytes."""
        self._limit = limit
        self._partial = bytearray()
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the data of the events that are complete now."""
        self._partial += data
        # Looked at only when a line ends, so that a long one costs no more for coming in pieces.
        *lines, self._partial = self._partial.split(b"\n") if b"\n" in data else [self._partial]
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(_DATA):
                self._lines.append(bytes(line.removeprefix(_DATA).removeprefix(b" ")))
                self._size += len(line)
            elif not line and self._lines:
                events.append(b"\n".join(self._lines))
                self._lines.clear()
                self._size = 0
        if self._size + len(self._partial) > self._limit:
            raise ProtocolError(f"A server-sent event is larger than {self._limit} bytes.")
        return events


class ServerSentEventsTransport:
    """One stream of events, and requests the other way. Satisfies `Transport`."""

    name: Final = "ServerSentEvents"
    keeps_alive: Final = False

    def __init__(self, web: Web, url: str, response: aiohttp.ClientResponse, *, limit: int) -> None:
        self._web = web
        self._url = url
        self._response = response
        self._events = EventReader(limit)

    async def receive(self) -> bytes:
        """The data of the events that have come, possibly none yet."""
        try:
            data = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"The stream of events broke: {error}.") from error
        if not data:
            raise ConnectionLostError("The server ended the stream of events.")
        return b"".join(self._events.feed(data))

    async def send(self, data: bytes) -> None:
        """Send records in a request."""
        await post(self._web, self._url, data, binary=False)

    async def close(self) -> None:
        """Hang up: the server sees the end of the response's connection."""
        self._response.close()


async def open_sse(web: Web, url: str, *, binary: bool, limit: int) -> ServerSentEventsTransport:
    """Open a stream of events at `url`. Raises `ConnectError`."""
    response = await web.request("GET", url, headers={"Accept": "text/event-stream"})
    if response.status != 200:
        response.release()
        raise refusal(response.status, url)
    return ServerSentEventsTransport(web, url, response, limit=limit)
