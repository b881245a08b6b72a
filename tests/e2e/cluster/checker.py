"""Finds what a service must not do in the history of a run: it knows every message that was sent.

Loss is judged where nothing excuses it: an accepted message, and a client that was connected to a
node which was well from before the message was sent until some time after it was accepted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tests.e2e.cluster.history import ANY_NODE, NEVER, History, Outage, Send, Stay, Stream

__all__ = ["Finding", "check", "demanded", "inversions"]

# Seconds that a message may take. A stay that ends sooner is no proof of a loss.
_ON_ITS_WAY: Final = 3.0
# Seconds for a message that a shard has taken: its nodes are well, and what it says next they hear.
_IN_A_SHARD: Final = 1.0
# Seconds around the end of a node in which nobody can know what it had done.
_UNKNOWN: Final = 1.0


_WAITING: Final = {"paused", "hung"}  # what is sent to such a node waits for it


class Finding(NamedTuple):
    """One thing that must not be."""

    kind: str  # loss, repetition, order, stranger, unsent, event
    text: str


def check(history: History) -> list[Finding]:
    """Everything that is wrong."""
    return [
        *_losses(history),
        *_wrong_receipts(history),
        *_wrong_events(history),
    ]


def demanded(history: History) -> int:
    """How many deliveries are demanded: how much the check of losses is worth."""
    return sum(1 for _ in _demands(history))


def inversions(history: History) -> int:
    """How often messages of one publisher came out of order that it sent through several nodes.

    It is not wrong: nodes do not wait for each other.
    """
    count = 0
    for stay in history.stays:
        newest: dict[Stream, int] = {}
        for stream, number in stay.received:
            if stream.node == ANY_NODE:
                count += number < newest.get(stream, -1)
                newest[stream] = max(number, newest.get(stream, -1))
    return count


def _losses(history: History) -> Iterator[Finding]:
    received = {id(stay): set(stay.received) for stay in history.stays}
    for send, stay in _demands(history):
        if (send.stream, send.number) not in received[id(stay)]:
            yield Finding(
                "loss",
                f"{_name(send)}, sent at {send.begun:.2f}, is accepted and {stay.client} at node "
                f"{stay.node} has not got it",
            )


def _demands(history: History) -> Iterator[tuple[Send, Stay]]:
    """All that has to have arrived."""
    outages = _by_node(history.outages)
    listening: dict[str, list[Stay]] = defaultdict(list)
    for stay in history.stays:
        for audience in _audiences(history, stay):
            listening[audience].append(stay)
    for send in history.sends:
        if not send.is_accepted:
            continue
        for stay in listening[send.stream.audience]:
            if _is_demanded(send, stay, outages[stay.node]):
                yield send, stay


def _is_demanded(send: Send, stay: Stay, outages: Iterable[Outage]) -> bool:
    since = stay.begun
    kind, _, name = send.stream.audience.partition(":")
    if kind == "group":
        since = stay.groups[name]
    if send.begun < since:
        return False
    due = send.ended
    for outage in outages:
        end = outage.ended
        margin = _IN_A_SHARD if outage.kind == "shard" else _ON_ITS_WAY
        overlaps = (end is None or send.begun <= end) and outage.begun <= due + margin
        if overlaps and (outage.kind not in _WAITING or end is None):
            return False
        if overlaps and end is not None:
            due = max(due, end)
    return stay.ended is None or due + _ON_ITS_WAY <= stay.ended


def _audiences(history: History, stay: Stay) -> Iterator[str]:
    yield "all"
    yield f"user:{stay.user}"
    yield f"connection:{stay.connection}"
    yield from (f"group:{group}" for group in stay.groups)
    yield from (
        f"users:{group}" for group, users in history.user_groups.items() if stay.user in users
    )


def _wrong_receipts(history: History) -> Iterator[Finding]:
    sent = {(send.stream, send.number): send for send in history.sends}
    for stay in history.stays:
        audiences = set(_audiences(history, stay))
        newest: dict[tuple[Stream, float | None], int] = {}
        seen: set[tuple[Stream, int]] = set()
        for receipt in stay.received:
            stream, number = receipt
            what = f"{stay.client} at node {stay.node} got {_name(receipt)}"
            if receipt in seen:
                yield Finding("repetition", f"{what} twice")
            elif receipt not in sent:
                yield Finding("unsent", f"{what}, which nobody has sent")
            elif stream.audience not in audiences:
                yield Finding("stranger", f"{what}, which is for others")
            elif stream.node != ANY_NODE and number < newest.get(_before(sent[receipt]), -1):
                yield Finding("order", f"{what} after {newest[_before(sent[receipt])]}")
            seen.add(receipt)
            begun = sent[receipt].begun if receipt in sent else None
            for key in ((stream, None), (stream, begun)):
                newest[key] = max(number, newest.get(key, -1))


def _before(send: Send) -> tuple[Stream, float | None]:
    """Those of the same stream that must not come before it, if they are newer.

    Who gives a call up, with its connection, and makes the next one over another cannot know
    which the node meets first: it may have been waiting behind others. Those over the same
    connection, which are sent at the same time, are in order all the same.
    """
    return send.stream, None if send.status else send.begun


def _wrong_events(history: History) -> Iterator[Finding]:
    outages = _by_node(history.outages)
    for stay in history.stays:
        begun = history.connected.get(stay.connection, 0)
        ended = history.disconnected.get(stay.connection, 0)
        who = f"{stay.connection}, which {stay.client} had at node {stay.node}"
        may_miss = _dies_at(stay.begun, outages[stay.node])
        if begun != 1 and not (may_miss and begun == 0):
            yield Finding("event", f"the app heard {begun} times of the beginning of {who}")
        if stay.ended is None:
            if ended:
                yield Finding("event", f"the app heard of the end of {who} and has still")
            continue
        may_repeat = any(_is_unknown(at, outages[stay.node]) for at in (stay.begun, stay.ended))
        if ended != 1 and not (may_miss and ended == 0) and not (may_repeat and ended == 2):
            yield Finding("event", f"the app heard {ended} times of the end of {who}")
    seen = {stay.connection for stay in history.stays}
    for connection in sorted((history.connected.keys() | history.disconnected.keys()) - seen):
        begun = history.connected.get(connection, 0)
        ended = history.disconnected.get(connection, 0)
        if begun > 1 or begun != ended:
            text = f"the app heard {begun} times of the beginning and {ended} times of the end"
            yield Finding("event", f"{text} of {connection}, which nobody had for long")


def _dies_at(time: float, outages: Iterable[Outage]) -> bool:
    """Whether the node may have died before it said to anybody what it did at that time."""
    return any(each.kind == "killed" and abs(each.begun - time) <= _UNKNOWN for each in outages)


def _is_unknown(time: float, outages: Iterable[Outage]) -> bool:
    """Whether nobody can know if the others, or the app, had got what the node said at that time.

    That is so of what is under way when a node is killed, hangs until it is taken for dead, or is
    cut off, and while it is silent.
    """
    for outage in outages:
        end = outage.begun
        if outage.kind == "silent":
            end = outage.ended if outage.ended is not None else NEVER
        if outage.kind != "paused" and outage.begun - _UNKNOWN <= time <= end + _UNKNOWN:
            return True
    return False


def _by_node(outages: Iterable[Outage]) -> dict[int, list[Outage]]:
    found: dict[int, list[Outage]] = defaultdict(list)
    for outage in outages:
        found[outage.node].append(outage)
        found[ANY_NODE].append(outage)
    for each in found.values():
        each.sort(key=lambda outage: outage.begun)
    return found


def _name(what: Send | tuple[Stream, int]) -> str:
    stream, number = (what.stream, what.number) if isinstance(what, Send) else what
    through = "the balancer" if stream.node == ANY_NODE else f"node {stream.node}"
    return (
        f"message {number} of publisher {stream.publisher} to {stream.audience} through {through}"
    )
