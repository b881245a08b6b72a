"""The checker is checked: it accepts a good history, and finds each fault that is put into it."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest
from tests.e2e.cluster.checker import check, demanded, inversions
from tests.e2e.cluster.history import ANY_NODE, History, Outage, Send, Stay, Stream

NODES = 3
CLIENTS = 9
SENDS = 600
AUDIENCES = ("all", "user:u1", "group:red", "users:odd", "connection:c4")
END = 100.0  # seconds
Fault = Callable[[History, Random], None]


def good_history() -> History:
    """A run without any fault but those that a service cannot help."""
    random = Random(7)
    history = History({"odd": ["u1", "u3"]})
    for number in range(CLIENTS):
        ended = 50.0 if number == 8 else None
        groups = {"red": 1.0} if number % 2 else {}
        stay = Stay(
            f"client {number}", f"u{number % 5}", f"c{number}", number % NODES, 0.5, ended, groups
        )
        history.stays.append(stay)
        history.connected[stay.connection] = 1
        if ended is not None:
            history.disconnected[stay.connection] = 1
    history.outages = [Outage(1, "cut", 30.0, 35.0), Outage(2, "paused", 60.0, 62.0)]
    numbers: dict[Stream, int] = {}
    for at in range(SENDS):
        stream = Stream(at % 2, random.randrange(-1, NODES), random.choice(AUDIENCES))
        number = numbers[stream] = numbers.get(stream, -1) + 1
        begun = 2.0 + at * (END - 4) / SENDS
        send = Send(stream, number, begun, begun + 0.01, 202)
        history.sends.append(send)
        for stay in history.stays:
            if hears(history, stay, send):
                stay.received.append((stream, number))
    return history


def hears(history: History, stay: Stay, send: Send) -> bool:
    if stay.ended is not None and stay.ended < send.begun:
        return False
    if stay.node == 1 and 30.0 <= send.begun <= 35.0:
        return False  # it is cut off: at most once
    kind, _, name = send.stream.audience.partition(":")
    return {
        "all": True,
        "user": stay.user == name,
        "group": name in stay.groups,
        "users": stay.user in history.user_groups.get(name, ()),
        "connection": stay.connection == name,
    }[kind]


def open_stay(history: History, random: Random) -> Stay:
    """A client that has been there all the time, at a node that nothing has happened to."""
    return random.choice([stay for stay in history.stays if stay.node == 0])


def lose(history: History, random: Random) -> None:
    stay = open_stay(history, random)
    stay.received.remove(random.choice(stay.received))


def lose_after_a_pause(history: History, random: Random) -> None:
    """What is sent to a node that hangs for a while arrives when it goes on."""
    stay = history.stays[2]
    assert stay.node == 2
    during = {(s.stream, s.number) for s in history.sends if 60.0 < s.begun < 62.0}
    stay.received.remove(random.choice([each for each in stay.received if each in during]))


def lose_for_a_group_of_users(history: History, random: Random) -> None:
    stay = history.stays[3]
    stay.received = [each for each in stay.received if each[0].audience != "users:odd"]


def lose_what_the_balancer_passed_on(history: History, random: Random) -> None:
    stay = open_stay(history, random)
    through = [each for each in stay.received if each[0].node == ANY_NODE]
    stay.received.remove(random.choice(through))


def repeat(history: History, random: Random) -> None:
    stay = random.choice(history.stays)
    stay.received.append(random.choice(stay.received))


def swap(history: History, random: Random) -> None:
    stay = open_stay(history, random)
    stream = next(stream for stream, _ in stay.received if stream.node == 0)
    first, second = [at for at, each in enumerate(stay.received) if each[0] == stream][:2]
    received = stay.received
    received[first], received[second] = received[second], received[first]


def invent(history: History, random: Random) -> None:
    stay = random.choice(history.stays)
    stay.received.append((Stream(0, 0, "all"), 10_000))


def mislead(history: History, random: Random) -> None:
    """A connection gets what is for another."""
    receipt = next(each for each in history.stays[4].received if each[0].audience[0] == "c")
    history.stays[5].received.append(receipt)


def forget_an_end(history: History, random: Random) -> None:
    del history.disconnected["c8"]


def tell_an_end_twice(history: History, random: Random) -> None:
    history.disconnected["c8"] = 2


def tell_of_an_end_that_was_none(history: History, random: Random) -> None:
    history.disconnected["c0"] = 1


def tell_a_beginning_twice(history: History, random: Random) -> None:
    history.connected["c0"] = 2


def never_tell_the_end_of_a_stranger(history: History, random: Random) -> None:
    history.connected["nobody's"] = 1


FAULTS: dict[Fault, str] = {
    lose: "loss",
    lose_after_a_pause: "loss",
    lose_for_a_group_of_users: "loss",
    lose_what_the_balancer_passed_on: "loss",
    repeat: "repetition",
    swap: "order",
    invent: "unsent",
    mislead: "stranger",
    forget_an_end: "event",
    tell_an_end_twice: "event",
    tell_of_an_end_that_was_none: "event",
    tell_a_beginning_twice: "event",
    never_tell_the_end_of_a_stranger: "event",
}


def test_a_good_history_is_accepted_and_demands_much() -> None:
    history = good_history()
    assert check(history) == []
    assert demanded(history) > SENDS


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found(fault: Fault, seed: int) -> None:
    history = good_history()
    fault(history, Random(seed))
    assert {finding.kind for finding in check(history)} == {FAULTS[fault]}


def test_what_was_not_accepted_may_get_lost() -> None:
    for status in (503, 0):
        history = good_history()
        send = next(send for send in history.sends if send.stream.audience == "all")
        send.status = status
        for stay in history.stays:
            stay.received.remove((send.stream, send.number))
        assert check(history) == []


def test_what_a_shard_has_taken_just_before_it_fails_may_get_lost_and_nothing_else() -> None:
    history = good_history()
    history.outages.append(Outage(0, "shard", 50.0, 52.0))
    stay = history.stays[0]
    risked = {(s.stream, s.number) for s in history.sends if 49.5 < s.begun < 52.0}
    assert risked & set(stay.received)
    stay.received = [each for each in stay.received if each not in risked]
    assert check(history) == []
    before = {(s.stream, s.number) for s in history.sends if 47.5 < s.begun < 48.5}
    stay.received = [each for each in stay.received if each not in before]
    assert {finding.kind for finding in check(history)} == {"loss"}


def test_what_comes_just_before_a_client_goes_may_get_lost() -> None:
    history = good_history()
    late = {(s.stream, s.number) for s in history.sends if 49.0 < s.begun < 50.0}
    stay = history.stays[8]
    assert late & set(stay.received)
    stay.received = [each for each in stay.received if each not in late]
    assert check(history) == []


def test_messages_through_several_nodes_may_change_places_and_are_counted() -> None:
    history = good_history()
    received = history.stays[0].received
    first, second = [at for at, each in enumerate(received) if each[0].node == ANY_NODE
                     and each[0] == Stream(0, ANY_NODE, "all")][:2]  # fmt: skip
    received[first], received[second] = received[second], received[first]
    assert check(history) == []
    assert inversions(history) == 1


def test_a_call_that_was_given_up_may_be_overtaken_by_the_next_one() -> None:
    history = good_history()
    stay = history.stays[0]
    stream = next(stream for stream, _ in stay.received if stream.node == 0)
    receipts = [each for each in stay.received if each[0] == stream][:2]
    at = [stay.received.index(each) for each in receipts]
    stay.received[at[0]], stay.received[at[1]] = reversed(receipts)
    given_up, later = (
        send for send in history.sends if (send.stream, send.number) in set(receipts)
    )
    for status in (503, 202):
        given_up.status = status
        assert {finding.kind for finding in check(history)} == {"order"}
    given_up.status = 0
    assert check(history) == []
    given_up.begun = later.begun  # they were sent over one connection
    assert {finding.kind for finding in check(history)} == {"order"}


@pytest.mark.parametrize("kind", ["killed", "hung", "cut", "silent"])
def test_what_is_said_when_a_node_parts_from_the_others_may_be_told_twice(kind: str) -> None:
    history = good_history()
    history.outages.append(Outage(2, kind, 50.2, 55.0))
    for ends in (1, 2):
        history.disconnected["c8"] = ends
        assert check(history) == []
    for ends in (0, 3):
        history.disconnected["c8"] = ends
        assert [finding.kind for finding in check(history)] == ["event"]


def test_what_is_said_when_a_node_only_pauses_is_told_once() -> None:
    history = good_history()
    history.outages.append(Outage(2, "paused", 50.2, 51.0))
    history.disconnected["c8"] = 2
    assert [finding.kind for finding in check(history)] == ["event"]


def test_what_is_said_long_before_a_node_parts_from_the_others_is_told_once() -> None:
    history = good_history()
    history.outages.append(Outage(2, "cut", 53.0, 55.0))
    history.disconnected["c8"] = 2
    assert [finding.kind for finding in check(history)] == ["event"]


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = good_history()
    history.write(tmp_path / "history.json")
    again = History.read(tmp_path / "history.json")
    assert msgspec.to_builtins(again) == msgspec.to_builtins(history)
    assert check(again) == []
