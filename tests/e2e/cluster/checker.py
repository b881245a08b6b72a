"""Finds what a service must not do in the history of a run: it knows every message that was sent.

Loss is judged where nothing excuses it: an accepted message, and a client that was connected to a
node which was well from before the message was sent until some time after it was accepted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tests.e2e.cluster.history import ANY_NODE, History, Outage, Send, Stay, Stream

__all__ = ["Finding", "check", "demanded", "inversions"]

# Seconds that a message may take. A stay that ends sooner is no proof of a loss.
_ON_ITS_WAY: Final = 3.0
# Seconds around the end of a node in which nobody can know what it had done.
_UNKNOWN: Final = 1.0


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
        overlaps = (end is None or send.begun <= end) and outage.begun <= due + _ON_ITS_WAY
        if overlaps and (outage.kind != "paused" or end is None):
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
    sent = {(send.stream, send.number) for send in history.sends}
    for stay in history.stays:
        audiences = set(_audiences(history, stay))
        newest: dict[Stream, int] = {}
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
            elif stream.node != ANY_NODE and number < newest.get(stream, -1):
                yield Finding("order", f"{what} after {newest[stream]}")
            seen.add(receipt)
            newest[stream] = max(number, newest.get(stream, -1))


def _wrong_events(history: History) -> Iterator[Finding]:
    ends = [(outage.node, outage.begun) for outage in history.outages if outage.kind == "killed"]
    seen = set()
    for stay in history.stays:
        seen.add(stay.connection)
        begins_unknown = _is_near(stay.node, stay.begun, ends)
        ends_unknown = stay.ended is not None and _is_near(stay.node, stay.ended, ends)
        begun = history.connected[stay.connection]
        ended = history.disconnected[stay.connection]
        who = f"the connection {stay.connection} of {stay.client} at node {stay.node}"
        if begun != 1 and not (begins_unknown and begun == 0):
            yield Finding("event", f"the app heard {begun} times of the beginning of {who}")
        if stay.ended is None:
            if ended:
                yield Finding("event", f"the app heard of the end of {who}, which is open")
        elif ended != 1 and not (begins_unknown and ended == 0):
            # A client that went by itself just before its node was killed may be told of twice.
            if not (ended == 2 and ends_unknown and stay.ended < _kill_after(stay, ends)):
                yield Finding("event", f"the app heard {ended} times of the end of {who}")
    for connection in (history.connected.keys() | history.disconnected.keys()) - seen:
        begun, ended = history.connected[connection], history.disconnected[connection]
        if begun > 1 or begun != ended:
            yield Finding(
                "event",
                f"the app heard {begun} times of the beginning and {ended} times of the "
                f"end of {connection}, which no client saw open",
            )


def _kill_after(stay: Stay, ends: Iterable[tuple[int, float]]) -> float:
    assert stay.ended is not None
    later = [time for node, time in ends if node == stay.node and time >= stay.ended]
    return min(later, default=stay.ended)


def _is_near(node: int, time: float, ends: Iterable[tuple[int, float]]) -> bool:
    return any(node == other and abs(time - end) < _UNKNOWN for other, end in ends)


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
