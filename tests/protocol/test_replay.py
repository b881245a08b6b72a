"""Stateful reconnect without I/O: one end, then two ends wired back to back on lossy transports."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import CODECS, JSON
from hubbub.protocol.messages import Ack, Close, Invocation, Message, Ping, Sequence
from hubbub.protocol.replay import Replay


def hello() -> Invocation:
    return Invocation(target="hello", arguments=Raw(b"[]"))


def test_what_was_sent_is_replayed_after_a_sequence_with_the_first_id() -> None:
    replay = Replay()
    replay.sent(b"one")
    replay.sent(b"two")

    assert replay.replay() == (Sequence(1), b"onetwo")


def test_a_replay_of_nothing_announces_the_next_message() -> None:
    replay = Replay()
    assert replay.replay() == (Sequence(1), b"")

    replay.sent(b"one")
    replay.sent(b"two")
    replay.acked(2)

    assert replay.replay() == (Sequence(3), b"")


def test_what_is_replayed_stays_kept_until_it_is_acknowledged() -> None:
    replay = Replay()
    replay.sent(b"one")

    assert replay.replay() == replay.replay()


def test_acknowledged_messages_are_forgotten() -> None:
    replay = Replay()
    for data in (b"one", b"two", b"three"):
        replay.sent(data)

    replay.acked(2)

    assert replay.replay() == (Sequence(3), b"three")
    assert replay.pending == len(b"three")


@pytest.mark.parametrize("news", [0, -1, 1])
def test_an_old_acknowledgement_changes_nothing(news: int) -> None:
    replay = Replay()
    replay.sent(b"one")
    replay.sent(b"two")
    replay.acked(1)

    replay.acked(news)

    assert replay.replay() == (Sequence(2), b"two")


def test_an_acknowledgement_of_what_was_never_sent_forgets_what_was() -> None:
    replay = Replay()
    replay.sent(b"one")

    replay.acked(1_000_000)
    replay.sent(b"two")

    assert replay.replay() == (Sequence(2), b"two")


def test_messages_that_were_sent_as_one_piece_are_kept_until_the_last_is_acknowledged() -> None:
    replay = Replay()
    replay.sent(b"one")
    replay.sent(b"two,three,four", 3)
    replay.sent(b"five")

    replay.acked(3)
    assert replay.replay() == (Sequence(2), b"two,three,fourfive")

    replay.acked(4)
    assert replay.replay() == (Sequence(5), b"five")


def test_bytes_of_untracked_messages_are_not_kept() -> None:
    replay = Replay()
    replay.sent(JSON.ping, 0)

    assert replay.replay() == (Sequence(1), b"")


def test_it_is_full_from_its_limit_on_and_keeps_what_comes_all_the_same() -> None:
    replay = Replay(limit=6)
    fullness = []

    for data in (b"one", b"two", b"three"):
        replay.sent(data)
        fullness.append(replay.is_full)
    assert replay.replay() == (Sequence(1), b"onetwothree")
    for sequence_id in (1, 2):
        replay.acked(sequence_id)
        fullness.append(replay.is_full)

    assert fullness == [False, True, True, True, False]


def test_new_messages_are_accepted_and_acknowledged_once() -> None:
    replay = Replay()
    assert replay.ack() is None

    assert replay.accepts(hello())
    assert replay.accepts(hello())

    assert replay.owes_ack
    assert replay.ack() == Ack(2)
    assert replay.ack() is None


def test_messages_of_the_connection_itself_are_accepted_and_not_counted() -> None:
    replay = Replay()

    assert replay.accepts(Ping())
    assert replay.accepts(Close())

    assert replay.ack() is None


def test_an_ack_and_a_sequence_are_dealt_with_and_not_passed_on() -> None:
    replay = Replay()
    replay.sent(b"one")

    assert not replay.accepts(Ack(1))
    assert not replay.accepts(Sequence(1))

    assert replay.pending == 0


def test_on_a_new_transport_nothing_is_accepted_before_the_sequence() -> None:
    replay = Replay()
    replay.replay()

    assert not replay.accepts(hello())
    assert replay.accepts(Ping())

    replay.accepts(Sequence(1))
    assert replay.accepts(hello())
    assert replay.ack() == Ack(1)


def test_what_is_replayed_and_was_had_before_is_dropped() -> None:
    replay = Replay()
    replay.accepts(hello())
    replay.accepts(hello())
    replay.replay()

    replay.accepts(Sequence(1))

    assert [replay.accepts(hello()) for _ in range(3)] == [False, False, True]


def test_a_lost_acknowledgement_is_given_again_when_the_peer_has_replayed() -> None:
    replay = Replay()
    replay.accepts(hello())
    replay.accepts(hello())
    assert replay.ack() == Ack(2)
    replay.replay()

    replay.accepts(Sequence(1))
    replay.accepts(hello())
    assert replay.ack() is None, "the peer is still at it"
    replay.accepts(hello())

    assert replay.ack() == Ack(2)


def test_a_sequence_that_leaves_a_gap_is_the_peers_fault() -> None:
    replay = Replay()
    replay.accepts(hello())
    replay.replay()

    with pytest.raises(ProtocolError, match="Sequence ID greater than"):
        replay.accepts(Sequence(3))


def test_another_end_goes_on_where_one_has_ended() -> None:
    one = Replay(100)
    for number in range(3):
        one.sent(b"%d" % number)
    one.acked(1)
    for _ in range(2):
        one.received()
    assert one.ack() == Ack(2)
    one.received()

    other = Replay.restored(50, one.state())

    assert (other.limit, other.pending, repr(other)) == (50, 2, repr(one))
    assert other.ack() == Ack(3)
    assert other.replay() == (Sequence(2), b"12")
    other.restarted(3)
    assert [other.received() for _ in range(3)] == [False, True, True]


def test_its_repr_shows_how_far_it_is() -> None:
    replay = Replay()
    replay.sent(b"one")
    replay.accepts(hello())
    assert repr(replay) == "Replay(sent=1, pending=3, received=1)"

    replay.replay()
    assert repr(replay) == "Replay(sent=1, pending=3, received=1, waiting)"


class End:
    """A `Replay` with what its user adds: an encoding, and a place for what has arrived."""

    def __init__(self, encoding: str) -> None:
        self.codec = CODECS[encoding]
        self.replay = Replay()
        self.reader = self.codec.reader(1_000_000)
        self.out = bytearray()
        self.got: list[int] = []

    def send(self, first: int, count: int) -> None:
        data = b"".join(self.numbered(first + index) for index in range(count))
        self.replay.sent(data, count)
        self.out += data

    def numbered(self, number: int) -> bytes:
        arguments = self.codec.encode_value([number])
        return self.codec.encode(Invocation(target="hello", arguments=arguments))

    def say(self, message: Message | None) -> None:
        if message is not None:
            self.out += self.codec.encode(message)

    def receive(self, data: bytes) -> None:
        for record in self.reader.feed(data):
            message = self.codec.decode(record)
            assert message is not None
            if self.replay.accepts(message):
                assert isinstance(message, Invocation)
                self.got.append(self.codec.decode_value(message.arguments)[0])

    def reconnect(self) -> None:
        self.reader = self.codec.reader(1_000_000)
        sequence, data = self.replay.replay()
        self.out[:] = self.codec.encode(sequence) + data


steps = st.lists(
    st.tuples(st.sampled_from(["send", "chunk", "ack", "carry", "cut"]), st.integers(0, 200)),
    max_size=60,
)


@pytest.mark.parametrize("encoding", CODECS)
@given(left=steps, right=steps)
def test_two_ends_lose_and_repeat_nothing_wherever_their_transport_is_cut(
    encoding: str, left: list[tuple[str, int]], right: list[tuple[str, int]]
) -> None:
    ends = End(encoding), End(encoding)
    sent: tuple[list[int], list[int]] = ([], [])

    for end, kind, size in interleave(left, right):
        me, peer = ends[end], ends[1 - end]
        if kind in {"send", "chunk"}:
            count = 1 if kind == "send" else 3
            me.send(len(sent[end]), count)
            sent[end].extend(range(len(sent[end]), len(sent[end]) + count))
        elif kind == "ack":
            me.say(me.replay.ack())
        elif kind == "carry":
            data = bytes(me.out[:size])
            del me.out[:size]
            peer.receive(data)
        else:
            ends[0].reconnect()
            ends[1].reconnect()
    for me, peer in (ends, ends[::-1]):
        data = bytes(me.out)
        me.out.clear()
        peer.receive(data)

    assert (ends[1].got, ends[0].got) == sent


def interleave(
    left: list[tuple[str, int]], right: list[tuple[str, int]]
) -> Iterator[tuple[int, str, int]]:
    for index in range(max(len(left), len(right))):
        for end, steps_of_end in enumerate((left, right)):
            if index < len(steps_of_end):
                yield end, *steps_of_end[index]
