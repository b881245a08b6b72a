"""Work that several callers ask for at once is done once, and all of them get its outcome.

Its failure too: if each tried for itself, one after another, a source that does not answer would
hold the last of them up for as many timeouts as there are callers before it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

__all__ = ["Shared"]

_Key = TypeVar("_Key", bound=Hashable)
_Outcome = TypeVar("_Outcome")


class Shared(Generic[_Key, _Outcome]):
    """Runs `work` for a key, once at a time. Nothing is kept when it is done."""

    def __init__(self, work: Callable[[_Key], Coroutine[Any, Any, _Outcome]]) -> None:
        self._work = work
        self._under_way: dict[_Key, asyncio.Task[_Outcome]] = {}

    def __repr__(self) -> str:
        return f"Shared({len(self._under_way)})"

    async def outcome(self, key: _Key) -> _Outcome:
        """What `work` returns for `key`. Raises what it raises."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._work(key))
            task.add_done_callback(partial(self._forget, key))
        # A caller that has had enough does not end it for the others.
        return await asyncio.shield(task)

    def _forget(self, key: _Key, task: "asyncio.Task[_Outcome]") -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # who asked has got it, or does not want it any more
