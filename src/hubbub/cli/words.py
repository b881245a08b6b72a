"""What a child process tells its supervisor through a pipe: JSON objects, one a line.

It reads and waits. What a word means is the supervisor's affair.
"""

import json
import os
import selectors
import time
from typing import Any

__all__ = ["Words"]


class Words:
    """The end of a pipe at which a supervisor listens. Close it when done."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self._is_open = True

    def __repr__(self) -> str:
        return f"Words(fd={self._fd}, open={self._is_open})"

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next word: `None` where none comes in this time, empty where none will come."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                said = os.read(self._fd, 65_536)
                if not said:
                    return {}
                self._rest += said
        line, _, self._rest = self._rest.partition(b"\n")
        word: dict[str, Any] = json.loads(line)
        return word

    def close(self) -> None:
        """Listen no more."""
        if self._is_open:
            self._is_open = False
            os.close(self._fd)
