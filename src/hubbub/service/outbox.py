"""Deliveries that wait for this turn of the event loop to end, one outbox a hub.

Order for one connection is that of acceptance. Runs to the same audience are found here, and
written by `run`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from hubbub.service.run import Delivery, write_run

__all__ = ["Delivery", "Outbox"]

_logger = logging.getLogger("hubbub.service")
# A flush hands the loop back after this many seconds, so that a big audience stalls nobody.
_SLICE: Final = 0.004
# Messages after which none joins a run any more: whoever wants the next ones waits for its end.
_LONGEST_RUN: Final = 1000

_Key = tuple[int, frozenset[str]]


class Outbox:
    """Takes deliveries at any time and writes them out, in order, when the loop's turn ends."""

    __slots__ = ("_due", "_flush", "_pending", "_written", "accepted", "delivered")

    def __init__(self) -> None:
        self._pending: deque[Delivery] = deque()
        self.accepted = self._written = 0
        self.delivered = 0  # each delivery times those it was for
        self._due: deque[tuple[int, Callable[[], None]]] = deque()
        self._flush: Iterator[None] | None = None

    def __repr__(self) -> str:
        return f"Outbox(pending={len(self._pending)})"

    def put(self, delivery: Delivery) -> None:
        """Accept a delivery. Costs nothing but memory until the turn ends."""
        self._pending.append(delivery)
        self.accepted += 1
        if self._flush is None:
            self._flush = self._write_all()
            asyncio.get_running_loop().call_soon(self._continue)

    def after(self, action: Callable[[], None]) -> None:
        """Call `action`, which ends connections, when all accepted until now is written."""
        if self._flush is None:
            action()
        else:
            self._due.append((self.accepted, action))

    def flush(self) -> None:
        """Write all that is accepted, at once, however long that takes."""
        while self._flush is not None:
            self._step()

    def _continue(self) -> None:
        self._step()
        if self._flush is not None:
            asyncio.get_running_loop().call_soon(self._continue)

    def _step(self) -> None:
        if self._flush is None:
            return  # `flush` has been called
        try:
            next(self._flush)
        except StopIteration:
            self._flush = None

    def _write_all(self) -> Iterator[None]:
        """Write until nothing is pending; yield where the loop should have its turn."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _SLICE
        while self._pending:
            key = _same_audience(self._pending[0])
            run = self._taken(key)
            try:
                for now in write_run(run, partial(self._joining, key, run), clock):
                    if now > deadline:
                        yield
                        deadline = clock() + _SLICE
            except Exception:  # one run at most is lost, and what comes after it is written
                _logger.exception("messages to %d clients were lost", len(run[0].audience))
            self._written += len(run)
            self.delivered += len(run) * len(run[0].audience)
            while self._due and self._due[0][0] <= self._written:
                _act(self._due.popleft()[1])

    def _taken(self, key: _Key) -> list[Delivery]:
        """The deliveries that are next, as far as they go to the same audience."""
        run = []
        while self._pending and _same_audience(self._pending[0]) == key:
            run.append(self._pending.popleft())
        return run

    def _joining(self, key: _Key, run: Sequence[Delivery]) -> Sequence[Delivery]:
        """What may join a run: it ends some time, and nothing that is due waits for it."""
        if not self._pending or self._due or len(run) >= _LONGEST_RUN:
            return ()
        return self._taken(key)


def _act(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:  # the hub's later deliveries must survive it
        _logger.exception("what was to be done after a delivery failed")


def _same_audience(delivery: Delivery) -> tuple[int, frozenset[str]]:
    # A snapshot is the same object while nobody joins or leaves; one connection has none.
    audience = delivery.audience
    return id(audience[0] if len(audience) == 1 else audience), delivery.excluded
