"""Writes one run: accepted messages, one after another, that all go to the same connections.

It goes round them. What is accepted for them meanwhile joins it: those that are yet to be written
to get it along, the others when their turn comes again. It waits for nobody.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from hubbub.errors import ProtocolError
from hubbub.service.audience import Audience, Lane
from hubbub.service.session import Connection
from hubbub.service.wire import Sendable, Wire

__all__ = ["Delivery", "write_run"]

_logger = logging.getLogger("hubbub.service")
# Connections between two looks at the clock, and at what has been accepted meanwhile.
_STRIDE: Final = 128
_STRIDE_BYTES: Final = 4 << 20  # and to all of them together, unless one message is more
# Bytes after which nothing joins a run any more: it keeps its messages until it ends.
_MOST_BYTES: Final = 1 << 20
_NOBODY: Final[frozenset[str]] = frozenset()
_UNSAYABLE: Final = b"", 0


class Delivery(NamedTuple):
    """One accepted message and who was to get it when it was accepted."""

    audience: tuple[Connection, ...]
    excluded: frozenset[str]
    message: Sendable


class _Stretch(NamedTuple):
    """Neighbours that have the same messages: the first `have` of the run."""

    lane: Lane | None  # None: they are written to one by one
    connections: Sequence[Connection]
    start: int
    stop: int
    have: int


def write_run(
    deliveries: list[Delivery],
    joining: Callable[[], Sequence[Delivery]],
    clock: Callable[[], float],
) -> Iterator[float]:
    """Write to everyone what `deliveries` have; yield the time after each stride.

    `joining` gives what has been accepted since and may go along; it ends up in `deliveries`.
    """
    audience, excluded, _message = deliveries[0]
    run = _Run(deliveries)
    if len(audience) <= _STRIDE and not (isinstance(audience, Audience) and audience.lanes()):
        now = clock()
        _write(audience, excluded, _Batch(run, 0), now)
        yield now
        return
    waiting = deque(_stretches(audience, excluded))
    done: list[_Stretch] = []
    while waiting:
        stretch = waiting.popleft()
        lane, connections, start, stop, have = stretch
        batch = run.since(have)
        size = len(batch.framed(lane.wire if lane is not None else connections[start].wire))
        now, end = clock(), min(start + _stride(size), stop)
        if lane is None:
            _write(connections[start:end], excluded, batch, now)
        else:
            _write_lane(audience, lane, (start, end), batch, now)
        if end < stop:
            waiting.appendleft(stretch._replace(start=end))
        _note(done, _Stretch(lane, connections, start, end, len(deliveries)))
        yield now
        if run.size < _MOST_BYTES and (more := joining()):
            deliveries += more
            waiting += done
            done.clear()


def _stride(size: int) -> int:
    return max(1, min(_STRIDE, _STRIDE_BYTES // max(size, 1)))


def _stretches(audience: tuple[Connection, ...], excluded: frozenset[str]) -> Iterator[_Stretch]:
    others: Sequence[Connection] = audience
    if isinstance(audience, Audience) and audience.is_current and not excluded:
        for lane in audience.lanes():
            yield _Stretch(lane, lane.connections, 0, len(lane.connections), 0)
        others = audience.others
    if others:
        yield _Stretch(None, others, 0, len(others), 0)


def _note(done: list[_Stretch], stretch: _Stretch) -> None:
    """Add a stretch to those that are `done`, and to its neighbour where it has one."""
    last = done[-1] if done else None
    if (
        last is not None
        and last.connections is stretch.connections
        and (last.stop, last.have) == (stretch.start, stretch.have)
    ):
        done[-1] = last._replace(stop=stretch.stop)
        return
    done.append(stretch)


class _Batch:
    """The messages of a run from one on, as the bytes of each wire, joined when it first asks."""

    __slots__ = ("_counts", "_have", "_run", "ready")

    def __init__(self, run: "_Run", have: int) -> None:
        """`have` is the number of the first message, from 0."""
        self._run = run
        self._have = have
        self.ready: dict[Wire, bytes] = {}
        self._counts: dict[Wire, int] = {}

    def framed(self, wire: Wire) -> bytes:
        """The bytes of all messages; empty where none can be said on this wire."""
        data = self.ready.get(wire)
        if data is None:
            pieces = self._run.framed(wire)[self._have :]
            data = self.ready[wire] = b"".join(piece for piece, _ in pieces)
            self._counts[wire] = sum(count for _, count in pieces)
        return data

    def count(self, wire: Wire) -> int:
        """How many messages `framed` holds."""
        return self._counts[wire]


class _Run:
    """The messages of a run, each framed once for each wire."""

    __slots__ = ("_batches", "_deliveries", "_length", "_pieces", "size")

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries = deliveries
        self._length = 0  # of the run when the batches were made
        self._batches: dict[int, _Batch] = {}
        self._pieces: dict[Wire, list[tuple[bytes, int]]] = {}
        self.size = 0  # bytes of all pieces

    def since(self, have: int) -> _Batch:
        """What somebody lacks who has the first `have` messages."""
        if self._length != len(self._deliveries):
            self._length = len(self._deliveries)
            self._batches = {}
        batch = self._batches.get(have)
        if batch is None:
            batch = self._batches[have] = _Batch(self, have)
        return batch

    def framed(self, wire: Wire) -> Sequence[tuple[bytes, int]]:
        """All messages so far, each as bytes and how many records they are."""
        pieces = self._pieces.setdefault(wire, [])
        for delivery in self._deliveries[len(pieces) :]:
            pieces.append(_piece(delivery.message, wire))
            self.size += len(pieces[-1][0])
        return pieces


def _piece(message: Sendable, wire: Wire) -> tuple[bytes, int]:
    try:
        return message.framed(wire), message.count
    except ProtocolError as error:
        # One message is lost for one encoding; the others of the run are not.
        _logger.warning("%s was not delivered on %s: %s", message, wire, error)
    except Exception:  # nor where it is a defect of ours
        _logger.exception("%s was not delivered on %s", message, wire)
    return _UNSAYABLE


def _write_lane(
    audience: tuple[Connection, ...],
    lane: Lane,
    part: tuple[int, int],
    batch: _Batch,
    now: float,
) -> None:
    """Write to a part of a lane, by the sockets as long as their descriptors are sure."""
    assert isinstance(audience, Audience)
    data = batch.framed(lane.wire)
    position, stop = part
    while data and position < stop:
        if not audience.is_current:
            _write(lane.connections[position:stop], _NOBODY, batch, now)
            break
        try:
            taken = lane.write(data, position, stop)
        except OSError:  # what they have taken is unknown: they have to come again
            _logger.exception("writes failed")
            for connection in lane.connections[position:stop]:
                connection.fail()
            break
        if taken.count(len(data)) < stop - position:
            _write_rests(lane.connections[position:stop], data, taken, now)
        position += len(taken)
    if data and stop == len(lane.connections):  # last, because it takes its time with all of them
        lane.note(now)


def _write_rests(
    connections: Sequence[Connection], data: bytes, taken: Sequence[int], now: float
) -> None:
    """Have each connection write what its socket has not `taken`; the last ones may be untried."""
    for connection, sent in zip(connections, taken, strict=False):
        if sent == len(data):
            continue
        connection.sent_at = now
        try:
            connection.write(data[sent:])
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
