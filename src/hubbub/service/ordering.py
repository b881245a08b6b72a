"""Names in order, for lists that are read page by page: sorted once, in short pieces.

It does not know which names are gone: whoever reads them looks that up.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

from hubbub.service.slices import Slices

__all__ = ["Order"]

_RUN: Final = 4096  # names that are sorted in one go; a millisecond


class Order:
    """Names, as sorted runs and a rest that `sort` takes in. A name may be added more than once."""

    __slots__ = ("_rest", "_runs", "_size")

    def __init__(self, names: Iterable[str]) -> None:
        self._rest = list(names)
        self._runs: list[list[str]] = []
        self._size = len(self._rest)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Order({self._size}, runs={len(self._runs)}, unsorted={len(self._rest)})"

    def add(self, name: str) -> None:
        """Add a name."""
        self._rest.append(name)
        self._size += 1

    async def sort(self) -> None:
        """Take in what was added. It never holds the loop."""
        slices = Slices()
        while self._rest:
            run = self._rest[-_RUN:]
            del self._rest[-_RUN:]
            while self._runs and len(self._runs[-1]) + len(run) <= _RUN:
                run += self._runs.pop()
            run.sort()
            self._runs.append(run)
            if slices.is_over:
                await slices.pause()

    def after(self, position: str) -> Iterator[str]:
        """The names after `position` that are sorted, in order, each once."""
        last = position
        starts = ((run, bisect_right(run, position)) for run in self._runs)
        for name in heapq.merge(*(_from(run, start) for run, start in starts)):
            if name != last:
                yield name
                last = name


def _from(run: list[str], start: int) -> Iterator[str]:
    return map(run.__getitem__, range(start, len(run)))
