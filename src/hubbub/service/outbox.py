"""Deliveries that wait for this turn of the event loop to end, one outbox a hub.

Order for one connection is that of acceptance. Runs to the same audience become one write.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from hubbub.errors import ProtocolError
from hubbub.service.audience import Audience, Lane
from hubbub.service.session import Connection
from hubbub.service.wire import Sendable, Wire

__all__ = ["Delivery", "Outbox"]

_logger = logging.getLogger("hubbub.service")
# A flush hands the loop back after this many seconds, so that a big audience stalls nobody.
_SLICE: Final = 0.004
# Connections between two looks at the clock.
_STRIDE: Final = 64


class Delivery(NamedTuple):
    """One accepted message and who was to get it when it was accepted."""

    audience: tuple[Connection, ...]
    excluded: frozenset[str]
    message: Sendable


class Outbox:
    """Takes deliveries at any time and writes them out, in order, when the loop's turn ends."""

    __slots__ = ("_accepted", "_due", "_flush", "_pending", "_written")

    def __init__(self) -> None:
        self._pending: deque[Delivery] = deque()
        self._accepted = self._written = 0
        self._due: deque[tuple[int, Callable[[], None]]] = deque()
        self._flush: Iterator[None] | None = None

    def __repr__(self) -> str:
        return f"Outbox(pending={len(self._pending)})"

    def put(self, delivery: Delivery) -> None:
        """Accept a delivery. Costs nothing but memory until the turn ends."""
        self._pending.append(delivery)
        self._accepted += 1
        if self._flush is None:
            self._flush = self._write_all()
            asyncio.get_running_loop().call_soon(self._continue)

    def after(self, action: Callable[[], None]) -> None:
        """Call `action`, which ends connections, when all accepted until now is written."""
        if self._flush is None:
            action()
        else:
            self._due.append((self._accepted, action))

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
            taken, self._pending = self._pending, deque()
            for _, run in groupby(taken, _same_audience):
                deliveries = list(run)
                for now in _write_run(deliveries, clock):
                    if now > deadline:
                        yield
                        deadline = clock() + _SLICE
                self._written += len(deliveries)
                while self._due and self._due[0][0] <= self._written:
                    _act(self._due.popleft()[1])


def _act(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:  # the hub's later deliveries must survive it
        _logger.exception("what was to be done after a delivery failed")


class _Batch:
    """The messages of one run as the bytes of each wire, joined when a wire first asks."""

    __slots__ = ("_counts", "_deliveries", "ready")

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries = deliveries
        self.ready: dict[Wire, bytes] = {}
        self._counts: dict[Wire, int] = {}

    def framed(self, wire: Wire) -> bytes:
        """The bytes of all messages; empty where none can be said on this wire."""
        data = self.ready.get(wire)
        if data is None:
            pieces = list(self._pieces(wire))
            data = self.ready[wire] = b"".join(piece for piece, _ in pieces)
            self._counts[wire] = sum(count for _, count in pieces)
        return data

    def count(self, wire: Wire) -> int:
        """How many messages `framed` holds."""
        return self._counts[wire]

    def _pieces(self, wire: Wire) -> Iterator[tuple[bytes, int]]:
        for delivery in self._deliveries:
            try:
                yield delivery.message.framed(wire), delivery.message.count
            except ProtocolError as error:
                # One message is lost for one encoding; the others of the run are not.
                _logger.warning("%s was not delivered on %s: %s", delivery.message, wire, error)
            except Exception:  # nor where it is a defect of ours
                _logger.exception("%s was not delivered on %s", delivery.message, wire)


def _same_audience(delivery: Delivery) -> tuple[int, frozenset[str]]:
    # A snapshot is the same object while nobody joins or leaves; one connection has none.
    audience = delivery.audience
    return id(audience[0] if len(audience) == 1 else audience), delivery.excluded


def _write_run(deliveries: Sequence[Delivery], clock: Callable[[], float]) -> Iterator[float]:
    """Write what goes to one audience; yield the time after each stride."""
    audience, excluded, _message = deliveries[0]
    batch = _Batch(deliveries)
    others: Sequence[Connection] = audience
    if isinstance(audience, Audience) and audience.is_current and not excluded:
        for lane in audience.lanes():
            yield from _write_lane(audience, lane, batch, clock)
        others = audience.others
    for start in range(0, len(others), _STRIDE):
        now = clock()
        _write(others[start : start + _STRIDE], excluded, batch, now)
        yield now


def _write_lane(
    audience: Audience, lane: Lane, batch: "_Batch", clock: Callable[[], float]
) -> Iterator[float]:
    connections = lane.connections
    data = batch.framed(lane.wire)
    position = 0 if data else len(connections)
    while position < len(connections):
        now = clock()
        stop = min(position + _STRIDE, len(connections))
        if audience.is_current:
            position, sent = lane.write(data, position, stop)
            if position < stop:
                _write_rest(connections[position], data[sent:], now)
                position += 1
        else:  # something has happened meanwhile, and no descriptor is sure any more
            _write(connections[position:stop], frozenset(), batch, now)
            position = stop
        lane.note(now)
        yield now


def _write_rest(connection: Connection, data: bytes, now: float) -> None:
    connection.sent_at = now
    try:
        connection.write(data)
    except Exception:  # one connection at most is lost, and the rest still receive
        connection.fail()
        _logger.exception("a write failed")


def _write(
    audience: Sequence[Connection], excluded: frozenset[str], batch: _Batch, now: float
) -> None:
    if excluded:
        audience = [connection for connection in audience if connection.id not in excluded]
    remaining = iter(audience)
    while True:
        try:
            _write_each(remaining, batch, now)
        except Exception:  # one connection at most is lost, and the rest still receive
            _logger.exception("a write failed")
        else:
            return


def _write_each(connections: Iterator[Connection], batch: _Batch, now: float) -> None:
    ready = batch.ready
    for connection in connections:
        wire = connection.wire
        data = ready.get(wire)
        if data is None:
            data = batch.framed(wire)
        if not data:
            continue
        connection.sent_at = now
        try:
            if connection.replay is None:
                connection.write(data)
            else:
                connection.write_tracked(data, batch.count(wire))
        except Exception:
            connection.fail()
            raise
