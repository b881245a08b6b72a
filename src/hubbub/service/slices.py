"""Long work on the event loop in short pieces. It knows nothing of the work."""

import asyncio
from typing import Final

__all__ = ["Slices"]

_SECONDS: Final = 0.004  # of work at a time


class Slices:
    """The pieces of one work: ask now and then whether a piece is over, and let others in."""

    __slots__ = ("_clock", "_end")

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._end = self._clock() + _SECONDS

    def __repr__(self) -> str:
        return f"Slices(over={self.is_over})"

    @property
    def is_over(self) -> bool:
        """Whether it is time to `pause`."""
        return self._clock() > self._end

    async def pause(self) -> None:
        """Let the loop turn, then begin the next piece."""
        await asyncio.sleep(0)
        self._end = self._clock() + _SECONDS
