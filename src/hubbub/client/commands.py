"""What can be done for the connections that a filter chooses: the commands of `:execute`."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

__all__ = ["CloseConnection", "Command", "JoinGroup", "LeaveGroup", "SendMessage"]


class _Message(Struct, frozen=True):
    target: str
    arguments: tuple[Any, ...] = ()


class SendMessage(Struct, frozen=True, tag_field="type"):
    """Invoke a method of the clients, without an answer."""

    message: _Message

    @classmethod
    def of(cls, target: str, *arguments: Any) -> "SendMessage":
        """Invoke `target` with `arguments`, which go as JSON."""
        return cls(_Message(target, arguments))


class JoinGroup(Struct, frozen=True, tag_field="type"):
    """Put the connections into a group."""

    group: str


class LeaveGroup(Struct, frozen=True, tag_field="type"):
    """Take the connections out of a group."""

    group: str


class CloseConnection(Struct, frozen=True, tag_field="type"):
    """Close the connections, and tell the clients why."""

    reason: str | UnsetType = UNSET


Command = SendMessage | JoinGroup | LeaveGroup | CloseConnection
