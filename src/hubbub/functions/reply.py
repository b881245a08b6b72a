"""The one answer to an HTTP request, with the headers that every answer gets: CORS, custom ones.

It sends whole responses and streams. What is answered is decided elsewhere.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

from hubbub.functions.cors import CorsPolicy
from hubbub.functions.joinedwrite import JOINED_BYTES
from hubbub.functions.response import Headers, Response

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Reply:
    """Where the answer to one request goes. Calling it with messages is ASGI's `send`."""

    def __init__(
        self,
        send: Send,
        cors: CorsPolicy,
        origin: str | None,
        custom: Headers,
        joined: AbstractContextManager[None] | None = None,
    ) -> None:
        """`custom` headers are added where the response has none of their name.

        Inside of `joined`, what is sent leaves in one write.
        """
        self.has_started = False
        self.headers: Headers = ()  # those of the answer, once it has started
        self._send = send
        self._cors = cors
        self._origin = origin
        self._custom = custom
        self._joined = joined

    async def __call__(self, message: Message) -> None:
        """Send one message of a stream."""
        if message["type"] == "http.response.start":
            pairs = tuple((bytes(n).lower(), bytes(v)) for n, v in message.get("headers", ()))
            allowed = self._cors.apply(Response(message["status"], pairs), self._origin)
            self.headers = allowed.headers
            message = {**message, "headers": self._complete(list(allowed.headers))}
            self.has_started = True
        await self._send(message)

    async def whole(self, response: Response) -> None:
        """Send a response that is complete."""
        allowed = response
        if self._origin is not None:
            allowed = self._cors.apply(response, self._origin)
        self.headers = allowed.headers
        headers = self._complete(allowed.wire_headers())
        self.has_started = True
        start = {"type": "http.response.start", "status": allowed.status, "headers": headers}
        body = {"type": "http.response.body", "body": allowed.body}
        if self._joined is None or len(allowed.body) > JOINED_BYTES:
            await self._send(start)
            await self._send(body)
            return
        with self._joined:
            await self._send(start)
            await self._send(body)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        if self._custom:
            present = {name for name, _ in headers}
            headers += [pair for pair in self._custom if pair[0] not in present]
        return headers
