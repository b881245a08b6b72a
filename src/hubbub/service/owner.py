"""What a connection tells and asks whoever keeps it. No code."""

from typing import TYPE_CHECKING, Protocol

from hubbub.protocol.messages import (
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    StreamInvocation,
)
from hubbub.service.settings import ServiceSettings

if TYPE_CHECKING:
    from hubbub.service.session import Connection

__all__ = ["Owner"]


class Owner(Protocol):
    """Who keeps the connections: a node."""

    @property
    def settings(self) -> ServiceSettings:
        """The settings of the service."""

    def admits(self, connection: "Connection") -> bool:
        """Whether the handshake can be answered at once; else `admit` is called in time."""

    def opened(self, connection: "Connection") -> None:
        """The handshake is done: the connection may be sent to."""

    def closed(self, connection: "Connection") -> None:
        """The connection is not to be sent to any more."""

    def completed(self, connection: "Connection", completion: Completion) -> None:
        """The client has answered an invocation."""

    def invoked(self, connection: "Connection", message: Invocation | StreamInvocation) -> None:
        """The client calls a method of the app."""

    def cancelled(self, connection: "Connection", message: CancelInvocation) -> None:
        """The client waits for no more items of a stream."""

    def gone(self, connection: "Connection") -> None:
        """The connection's transport has ended for good."""

    def deliver(self, connection: "Connection", records: bytes, count: int) -> None:
        """Send `count` records to one connection, after what has been accepted for it before."""

    def dismiss(self, connection: "Connection", message: Close) -> None:
        """Close a connection after what has been accepted for it before."""
