"""Redis as the rest of the service sees it, on one server or many: an interface, no code."""

from asyncio import Future
from typing import Any, NamedTuple, Protocol

from hubbub.service.redis.link import Link

__all__ = ["SHARDED", "SHARED", "Commands", "Observer", "Redis"]


class Commands(NamedTuple):
    """What the commands for channels are called: in a cluster, channels live on one shard each."""

    publish: bytes
    listen: bytes
    ignore: bytes
    ask: tuple[bytes, bytes]


SHARED = Commands(b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE", (b"PUBSUB", b"NUMSUB"))
SHARDED = Commands(b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE", (b"PUBSUB", b"SHARDNUMSUB"))


class Observer(Protocol):
    """Who is told what happens to connections."""

    def joined(self, link: Link) -> None:
        """A connection is there. Nothing is listened to on it yet."""

    def lost(self, link: Link) -> None:
        """A connection is gone, and with it all that was listened to on it."""

    def pushed(self, link: Link, push: list[Any]) -> None:
        """A message has come, or a channel has ended that nobody here has ended."""

    def moved(self) -> None:
        """Slots have come to other servers."""


class Redis(Protocol):
    """Commands to the server that is responsible.

    Calls to one slot take effect in the order in which they are made. All fail with
    `BackplaneError` soon where they cannot be sent or are not answered.
    """

    commands: Commands

    @property
    def is_connected(self) -> bool:
        """Whether every server that is needed can be reached, as far as is known."""

    async def open(self, observer: Observer | None = None) -> None:
        """Connect, and stay connected. Raises `ConfigError` where that cannot be."""

    async def close(self) -> None:
        """End, when what has been asked for is answered or has failed."""

    def slot(self, key: bytes) -> int:
        """Where a key or channel belongs; always the same on a single server."""

    def link(self, slot: int) -> Link | None:
        """The connection to the server of a slot, while it is up."""

    def links(self) -> list[Link]:
        """The connections that are up, one to each server."""

    def call(self, slot: int, *command: Any) -> Future[Any]:
        """Ask the server of a slot. The future may be left alone."""

    def refresh(self) -> None:
        """Find out anew which server has which slots: one of them has said that it has not."""
