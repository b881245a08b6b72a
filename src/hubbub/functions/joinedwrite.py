"""Lets a whole answer leave in one write: its head waits for its body.

uvicorn writes the head when it is given it, and each write is a system call and a packet. It joins
nothing unless it is asked to.
"""

import asyncio
from types import TracebackType
from typing import Final

__all__ = ["EXTENSION", "JOINED_BYTES", "JoinedWrite"]

EXTENSION: Final = "hubbub.joined_write"  # among the scope's extensions, as ASGI has them
JOINED_BYTES: Final = 64 * 1024  # of a body; copying more would cost more than it saves


class JoinedWrite:
    """What uvicorn uses of a connection's transport. Inside of `with`, what is written waits."""

    __slots__ = ("_kept", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._kept: list[bytes] | None = None  # None: nothing waits
        self.is_closing = transport.is_closing

    def __enter__(self) -> None:
        self._kept = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def write(self, data: bytes) -> None:
        """Write now, or when the `with` ends."""
        if self._kept is None:
            self._transport.write(data)
        else:
            self._kept.append(data)

    def close(self) -> None:
        """Close, after what has been written."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        kept, self._kept = self._kept, None
        if kept and not self.is_closing():
            self._transport.write(b"".join(kept))
