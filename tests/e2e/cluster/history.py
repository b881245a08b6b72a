"""What happened in a run, as those saw it who are not the service: publishers, clients, the app.

Times are seconds of one clock. It can be written to a file and read again, so that a run that went
wrong can be looked at. It judges nothing: that is `checker`'s.
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

__all__ = ["ANY_NODE", "NEVER", "History", "Outage", "Send", "Stay", "Stream"]

ANY_NODE: Final = -1  # the balancer's choice
NEVER: Final = 1e18  # seconds


class Stream(Struct, frozen=True, array_like=True):
    """What one publisher sends to one audience through one node."""

    publisher: int
    node: int
    audience: str  # all, user:ID, group:NAME, users:NAME (a group of users), connection:ID


class Send(Struct, array_like=True):
    """One message and what its REST call was answered with."""

    stream: Stream
    number: int  # counts up within the stream
    begun: float
    ended: float
    status: int  # 0 where no answer came

    @property
    def is_accepted(self) -> bool:
        """Whether the service has promised to deliver it."""
        return self.status == 202


class Stay(Struct, array_like=True):
    """One connection of a client, from the hub handshake to its end."""

    client: str
    user: str
    connection: str
    node: int
    begun: float
    ended: float | None = None
    groups: dict[str, float] = field(
        default_factory=dict
    )  # since when it is in each; NEVER where that is not known
    received: list[tuple[Stream, int]] = field(default_factory=list)


class Outage(Struct, array_like=True):
    """A time in which a node is not well."""

    node: int
    # killed, paused (what it is sent waits), hung (the same for longer than its lease, so that
    # others take it for dead), cut (from the others), silent (cut, untold),
    # shard (a part of what joins all)
    kind: str
    begun: float
    ended: float | None = None


class History(Struct):
    """Everything, in the order in which it was noticed."""

    user_groups: dict[str, list[str]] = field(default_factory=dict)  # who is in each, all the time
    sends: list[Send] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    connected: dict[str, int] = field(default_factory=dict)  # events, by connection
    disconnected: dict[str, int] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        path.write_bytes(msgspec.json.encode(self))

    @staticmethod
    def read(path: Path) -> "History":
        """What a file has."""
        return msgspec.json.decode(path.read_bytes(), type=History)
