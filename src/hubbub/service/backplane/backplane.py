"""What joins nodes, as an interface: channels of bytes. It knows no hubs and no messages."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from hubbub.errors import HubbubError

__all__ = ["Backplane", "BackplaneError", "Receive"]

# Called with the channel's name and the bytes, in the order of their arrival. It must not wait.
Receive = Callable[[str, bytes], None]


class BackplaneError(HubbubError):
    """The other nodes cannot be reached. Whether some of them got what was sent is not known."""


class Backplane(Protocol):
    """Channels between the nodes of one service.

    What every implementation guarantees:

    - What one node publishes to one channel arrives at every listener in that order, once at most.
    - A node receives what is published to a channel after `listen` to it is confirmed, its own
      messages among them, until it calls `ignore`.
    - Calls take effect in the order in which they are made; none of them waits for an earlier one,
      and what is asked for in one turn of the loop travels together.
    - While the other nodes cannot be reached, calls fail with `BackplaneError` soon; what a node
      listens to is remembered, and is listened to again when they can be reached. What others
      published meanwhile is lost to this node.
    """

    @property
    def is_connected(self) -> bool:
        """Whether the other nodes can be reached, as far as is known."""

    async def open(self, receive: Receive, changed: Callable[[bool], None]) -> None:
        """Begin, connected. `changed` is called with what `is_connected` becomes after that.

        Raises `ConfigError` where the backplane cannot be reached at the start.
        """

    async def close(self) -> None:
        """End, when what has been asked for is sent or has failed."""

    def publish(self, channel: str, data: bytes) -> asyncio.Future[int]:
        """Send to every node that listens; the result is how many do, this one included.

        The future may be left alone: a failure that nobody looks at is not reported.
        """

    def listen(self, channel: str) -> asyncio.Future[None]:
        """Receive what is published to `channel`; done when that is so. Once is enough.

        It is done, too, when `ignore` has been called meanwhile.
        """

    def ignore(self, channel: str) -> None:
        """Receive no more from `channel`. It may be one that is not listened to."""

    def call_itself(self, node_id: str) -> None:
        """Be known by this name from here on, so that others may `expel` this node."""

    async def expel(self, node_id: str) -> None:
        """Have a node that is dead listen to nothing any more; if it lives, it connects again."""

    async def listeners(self, channels: Sequence[str]) -> list[int]:
        """How many nodes listen to each of `channels`, this one included."""
