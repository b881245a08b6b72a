"""Stateful reconnect: counts messages, keeps what the peer has not acknowledged, says it again.

One `Replay` is one end of one connection, a client's or a service's. It does no I/O and has no
clock: it does not send, wait or close, and it does not look into the bytes it keeps.
"""

from collections import deque
from typing import Final

from msgspec import Struct

from hubbub.errors import ProtocolError
from hubbub.protocol.messages import Ack, Message, Sequence, is_tracked

__all__ = ["ACK_INTERVAL", "DEFAULT_LIMIT", "Replay", "ReplayState"]

# Bytes. What the reference server and the official clients keep for a peer that does not
# acknowledge (StatefulReconnectBufferSize).
DEFAULT_LIMIT: Final = 100_000
# Seconds. The reference clients and server acknowledge at most this often.
ACK_INTERVAL: Final = 1.0


class ReplayState(Struct, frozen=True, array_like=True):
    """What a `Replay` remembers, as a value. See its attributes."""

    chunks: tuple[tuple[int, bytes], ...]
    total: int
    forgotten: int
    next: int
    latest: int
    acked: int


class Replay:
    """What one end remembers so that a new transport can take over without loss or repetition.

    Each direction counts its tracked messages (`messages.is_tracked`) from 1. The numbers are not
    sent with the messages: both ends count (HubProtocol.md, "Ack" and "Sequence").

    Both ends do this: call `sent` for what they send, whether or not a transport is there;
    `accepts` for each message that arrives; `ack` now and then, at most once an `ACK_INTERVAL`;
    and `replay` when a new transport has taken over, whose result goes out before anything else.
    Nothing that still arrives on the old transport may be given to `accepts` after that.
    """

    __slots__ = (
        "_acked",
        "_chunks",
        "_forgotten",
        "_latest",
        "_next",
        "_total",
        "_waiting",
        "has_given_up",
        "limit",
        "pending",
    )

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """`limit` is in bytes; it is for `is_full` to tell, not enforced by `sent`."""
        self.limit = limit
        self.pending = 0  # bytes that are kept
        self.has_given_up = False  # nothing is kept any more, so no transport can take over
        self._chunks: deque[tuple[int, bytes]] = deque()  # the id of the last message, the bytes
        self._total = 0  # how many tracked messages this end has sent
        self._forgotten = 0  # how many of them are not kept any more
        self._next = 1  # the id of the next tracked message that arrives
        self._latest = 0  # the highest id that has arrived
        self._acked = 0  # the id this end has acknowledged
        self._waiting = False  # for the peer's Sequence, on a new transport

    def __repr__(self) -> str:
        return (
            f"Replay(sent={self._total}, pending={self.pending}, received={self._latest}"
            f"{', waiting' if self._waiting else ''})"
        )

    # What another end can go on with.

    def state(self) -> ReplayState:
        """All of it, for `restored` in another process."""
        return ReplayState(
            tuple(self._chunks),
            self._total,
            self._forgotten,
            self._next,
            self._latest,
            self._acked,
        )

    @classmethod
    def restored(cls, limit: int, state: ReplayState) -> "Replay":
        """One that goes on where the one of `state`, which had not given up, has ended."""
        replay = cls(limit)
        replay._chunks.extend(state.chunks)
        replay.pending = sum(len(data) for _, data in state.chunks)
        replay._total, replay._forgotten = state.total, state.forgotten
        replay._next, replay._latest, replay._acked = state.next, state.latest, state.acked
        return replay

    # What this end sends.

    @property
    def is_full(self) -> bool:
        """Whether the peer owes acknowledgements for `limit` bytes or more.

        A client waits then; a service, which must not wait for one client, closes.
        """
        return self.pending >= self.limit

    def sent(self, data: bytes, count: int = 1) -> None:
        """Keep `data`, the framed bytes of `count` tracked messages, until it is acknowledged.

        Bytes of untracked messages (`count` 0) are not kept. Several messages are kept and
        replayed as one piece: those of them the peer has had already, it drops by counting.
        """
        if not count:
            return
        self._total += count
        if self.has_given_up:
            return
        self._chunks.append((self._total, data))
        self.pending += len(data)

    def give_up(self) -> None:
        """Keep nothing from here on: the peer acknowledges too slowly for what is sent."""
        self.has_given_up = True
        self._chunks.clear()
        self.pending = 0

    def acked(self, sequence_id: int) -> None:
        """The peer has had all messages up to `sequence_id`. An id that is no news is ignored."""
        chunks = self._chunks
        while chunks and chunks[0][0] <= sequence_id:
            self._forgotten, data = chunks.popleft()
            self.pending -= len(data)

    def replay(self) -> tuple[Sequence, bytes]:
        """A new transport has taken over: what goes out on it first.

        That is a Sequence, which the caller encodes, and then the bytes that are kept, in order.
        They stay kept. Until the peer's own Sequence comes, tracked messages are not accepted.
        """
        self._waiting = True
        # Not the id of the last one the peer has had: that is what the prose of the specification
        # says, and not what the reference server and clients do.
        return Sequence(self._forgotten + 1), b"".join(data for _, data in self._chunks)

    # What this end receives.

    def accepts(self, message: Message) -> bool:
        """Take note of `message`, which has arrived; tell whether it is to be acted upon.

        False for what has been had before, for what comes before the peer's Sequence on a new
        transport, and for Ack and Sequence, which are dealt with here. Raises `ProtocolError`.
        """
        if isinstance(message, Ack):
            self.acked(message.sequence_id)
            return False
        if isinstance(message, Sequence):
            self.restarted(message.sequence_id)
            return False
        return not is_tracked(message) or self.received()

    def received(self) -> bool:
        """A tracked message has arrived: tell whether it is new."""
        if self._waiting:
            return False
        number = self._next
        self._next += 1
        if number > self._latest:
            self._latest = number
            return True
        if number == self._latest:
            # The peer replays what has been acknowledged: the Ack was lost with the transport.
            self._acked = 0
        return False

    def restarted(self, sequence_id: int) -> None:
        """The peer's Sequence: the next tracked message that arrives has this id."""
        # Not compared with the next id: after two losses in a row that one lies further back.
        if sequence_id > self._latest + 1:
            # The reference server's sentence, so that what people search for is what they see.
            raise ProtocolError("Sequence ID greater than amount of messages we've received.")
        self._waiting = False
        self._next = sequence_id

    @property
    def owes_ack(self) -> bool:
        """Whether messages have arrived that the peer has not been told of."""
        return self._acked != self._latest

    def ack(self) -> Ack | None:
        """What to send now so that the peer can forget, `None` where it has been told."""
        if not self.owes_ack:
            return None
        self._acked = self._latest
        return Ack(self._latest)
