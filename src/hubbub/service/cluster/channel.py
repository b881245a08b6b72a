"""The names of the channels between nodes: who listens to which is told by the name alone."""

from typing import Final

__all__ = [
    "EVERY_NODE",
    "connection_channel",
    "group_channel",
    "hub_channel",
    "node_channel",
    "user_channel",
]

EVERY_NODE: Final = "all"


def hub_channel(hub: str) -> str:
    """For nodes with a connection of the hub."""
    return f"h:{hub.lower()}"


def group_channel(hub: str, group: str) -> str:
    """For nodes with a connection in the group."""
    return _sayable(f"g:{hub.lower()}:{group}")


def user_channel(hub: str, user_id: str) -> str:
    """For nodes with a connection of the user."""
    return _sayable(f"u:{hub.lower()}:{user_id}")


def connection_channel(connection_id: str) -> str:
    """For the node that has the connection, or had it until its token is too old."""
    return _sayable(f"c:{connection_id}")


def node_channel(node_id: str) -> str:
    """For one node: what others answer it."""
    return f"n:{node_id}"


def _sayable(name: str) -> str:
    # A user id from a token may hold half a character. Two names that look alike here share a
    # channel, which costs a look and no more.
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
