"""Calls to one slot of a cluster that wait, in order, until it is known which server has it."""

import asyncio
from typing import Any, NamedTuple

from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.redis.link import Limits, fail

__all__ = ["Moving", "Waiting"]


class Waiting(NamedTuple):
    """A call, until when it may wait, and why it does."""

    command: tuple[Any, ...]
    done: "asyncio.Future[Any]"
    deadline: float
    reason: BackplaneError


class Moving:
    """What waits for one slot.

    What the old server has refused was asked for before everything that is new. So it goes first,
    and nothing goes until the old server has answered all (`is_emptied`).
    """

    def __init__(self, limits: Limits) -> None:
        self.is_emptied = False
        self._limits = limits
        self._refused: list[Waiting] = []
        self._new: list[Waiting] = []

    def __repr__(self) -> str:
        return f"Moving(refused={len(self._refused)}, new={len(self._new)})"

    def __len__(self) -> int:
        return len(self._refused) + len(self._new)

    def refused(self, call: Waiting) -> None:
        """Keep what the old server has not done."""
        self._refused.append(call)

    def put(self, command: tuple[Any, ...]) -> "asyncio.Future[Any]":
        """Keep what is asked for meanwhile."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        reason = BackplaneError("Where this belongs in Redis is just moving.")
        deadline = loop.time() + self._limits.answer_timeout
        if len(self._new) < self._limits.max_unanswered:
            self._new.append(Waiting(command, done, deadline, reason))
        else:
            fail(done, reason)
        return done

    def take(self) -> list[Waiting]:
        """Everything, in the order in which it was asked for."""
        calls, self._refused, self._new = self._refused + self._new, [], []
        return calls

    def expire(self, now: float) -> None:
        """Fail what has waited for long enough."""
        for calls in (self._refused, self._new):
            for call in calls:
                if call.deadline <= now:
                    fail(call.done, call.reason)
            calls[:] = [call for call in calls if call.deadline > now]

    def fail(self, error: BackplaneError) -> None:
        """Fail everything."""
        for call in self.take():
            fail(call.done, error)
