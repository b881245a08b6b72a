"""The errors of a hub client: which call failed, and what became of the connection."""

import os

import aiohttp

from hubbub.errors import ServiceError, UpstreamError

__all__ = [
    "ConnectError",
    "ConnectionLostError",
    "HubError",
    "OverloadError",
    "ServerClosedError",
    "why",
]


class HubError(UpstreamError):
    """The hub completed an invocation with an error; the message is the hub's text."""


class ConnectError(ServiceError):
    """A connection could not be opened. `status` is the HTTP status, where there was one."""


class ConnectionLostError(ServiceError):
    """There is no connection: none was opened, it was closed, or it broke.

    An invocation that fails with this may have been carried out all the same.
    """


class ServerClosedError(ConnectionLostError):
    """The server has sent a Close message, with or without an `error` of its own."""

    def __init__(self, error: str | None, *, allow_reconnect: bool) -> None:
        # The JavaScript client's sentence, so that what people search for is what they see.
        super().__init__(
            f"Server returned an error on close: {error}"
            if error
            else "The server closed the connection."
        )
        self.error = error
        self.allow_reconnect = allow_reconnect


class OverloadError(ConnectionLostError):
    """This client has given the connection up: its handlers and streams are too slow for it."""


def why(error: Exception) -> str:
    """Why there was no answer, in the system's few words where it has any."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it took too long"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        # A number below 0 is the resolver's, which has words of its own.
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__
