"""A snapshot of connections, and how many of them are written to at once: socket by socket.

It decides nothing about what is sent or to whom. Who is behind, is tracked, or has no socket of its
own is left to `Connection.write`.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from hubbub.service.bulkwrite import bulk_write
from hubbub.service.session import Connection
from hubbub.service.wire import Wire

__all__ = ["Audience", "Lane"]

_FEW: Final = 16  # connections for which it is not worth while


class Lane:
    """Connections of one wire whose sockets take bytes without more ado, in an order of its own.

    A descriptor is good until its connection ends or falls behind: the audience is current so long.
    """

    __slots__ = ("_noted_at", "_sockets", "connections", "wire")

    def __init__(self, wire: Wire, connections: Sequence[Connection]) -> None:
        self.wire = wire
        self.connections = connections
        self._sockets = array("i", [connection.descriptor for connection in connections])
        self._noted_at = 0.0

    def __repr__(self) -> str:
        return f"Lane({self.wire.name}, {len(self.connections)})"

    def write(self, data: bytes, start: int, stop: int) -> list[int]:
        """Write `data` to the sockets from `start` to `stop`, and return how much each has taken.

        One that is full or broken has taken nothing: `Connection.write` finds out which. The list
        may end before `stop`.
        """
        return bulk_write()(self._sockets[start:stop], data)

    def note(self, now: float) -> None:
        """All have been written to at `now`. Kept to a second, which is what pings go by."""
        if now - self._noted_at >= 1:
            self._noted_at = now
            for connection in self.connections:
                connection.sent_at = now


class Audience(tuple[Connection, ...]):
    """Connections that were members of something at one time. The same object is the same members.

    `is_current` ends when one of them ends, falls behind or has caught up, or when one joins.
    """

    is_current = True
    _lanes: tuple[Lane, ...] | None = None
    others: Sequence[Connection] = ()

    def lanes(self) -> tuple[Lane, ...]:
        """The connections that can be written to at once; the others are in `others`."""
        if self._lanes is None:
            self._lanes = tuple(self._sorted()) if len(self) >= _FEW else ()
            if not self._lanes:
                self.others = self
        return self._lanes

    def _sorted(self) -> Iterable[Lane]:
        by_wire: dict[Wire, list[Connection]] = {}
        others = []
        for connection in self:
            if connection.descriptor >= 0 and connection.replay is None:
                by_wire.setdefault(connection.wire, []).append(connection)
            else:
                others.append(connection)
        self.others = others
        return [Lane(wire, connections) for wire, connections in by_wire.items()]
