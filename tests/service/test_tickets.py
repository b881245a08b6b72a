"""Connection tokens: which node may open what with them, as whom, and how long."""

import base64
import logging
import re
from collections.abc import Callable

import msgspec
import pytest
from tests.service.fakes import FakeTransport, access_of
from tests.service.running import Service

from hubbub.service.access import ClientAccess, Refusal
from hubbub.service.node import Node
from hubbub.service.settings import ServiceSettings
from hubbub.service.tickets import Tickets, connection_id_of

KEYS = ("the first key, which is as long as it has to be", "the second key, which is so as well!")
NOW = 1_800_000_000.0


class Clock:
    """What time it is for tickets."""

    now = NOW

    def __call__(self) -> float:
        return self.now


def tickets(*keys: str, clock: Callable[[], float] = lambda: NOW) -> Tickets:
    return Tickets(ServiceSettings(access_keys=keys or KEYS), clock)


def coming(token: str, hub: str = "chat", user: str | None = None) -> ClientAccess:
    """Somebody who comes with a connection token."""
    return msgspec.structs.replace(access_of(hub, user), connection_token=token)


def refusal_of(opening: Tickets, access: ClientAccess) -> int:
    with pytest.raises(Refusal) as refused:
        opening.open(access)
    return refused.value.status


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("stateful", [False, True])
def test_any_node_with_one_of_the_keys_opens_what_another_has_negotiated(
    version: int, stateful: bool
) -> None:
    issued = tickets().issue(access_of(user="ann"), version=version, stateful=stateful)

    opened = tickets(KEYS[1], KEYS[0]).open(coming(issued.token, user="ann"))

    assert opened == issued
    assert opened.is_stateful is stateful
    assert (opened.connection_id == opened.token) is (version == 0)
    assert connection_id_of(issued.token) == issued.connection_id


def test_a_token_is_text_for_a_url_and_never_the_same() -> None:
    tokens = [tickets().issue(access_of(), version=1, stateful=False).token for _ in range(20)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{60}", token) for token in tokens)
    assert len(set(tokens)) == 20


def test_an_id_does_not_change_with_the_keys() -> None:
    issued = tickets().issue(access_of(), version=1, stateful=False)
    assert re.fullmatch(r"[A-Za-z0-9_-]{24}", issued.connection_id)
    assert connection_id_of(issued.token) == issued.connection_id


@pytest.mark.parametrize(
    ("access", "status"),
    [
        (coming("", "chat", "ann"), None),
        (coming("", "CHAT", "ann"), None),
        (coming("", "chat", "bob"), 403),
        (coming("", "chat", None), 403),
        (coming("", "chat", ""), 403),
        (coming("", "other", "ann"), 404),
    ],
)
def test_a_token_opens_for_its_hub_and_its_user(access: ClientAccess, status: int | None) -> None:
    issued = tickets().issue(access_of("Chat", "ann"), version=1, stateful=False)
    access = msgspec.structs.replace(access, connection_token=issued.token)
    if status is None:
        assert tickets().open(access) == issued
    else:
        assert refusal_of(tickets(), access) == status


def test_no_user_and_a_user_without_a_name_are_two() -> None:
    issued = tickets().issue(access_of(user=None), version=1, stateful=False)
    assert tickets().open(coming(issued.token)) == issued
    assert refusal_of(tickets(), coming(issued.token, user="")) == 403


def _with_flags(token: str) -> str:
    raw = base64.urlsafe_b64decode(token)
    return base64.urlsafe_b64encode(bytes([raw[0] ^ 1]) + raw[1:]).decode()


@pytest.mark.parametrize(
    "change",
    [
        str.swapcase,
        _with_flags,
        lambda token: token[:-4],
        lambda token: token + "AAAA",
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: "\u00e9" * 60,
        lambda token: "=" * 60,
        lambda _: "",
    ],
)
def test_a_token_that_was_changed_opens_nothing(change: Callable[[str], str]) -> None:
    issued = tickets().issue(access_of(), version=1, stateful=False)
    assert refusal_of(tickets(), coming(change(issued.token))) == 404


@pytest.mark.parametrize("write", [lambda t: t.replace("-", "+"), lambda t: t.replace("_", "/")])
def test_a_token_is_written_in_one_way(write: Callable[[str], str]) -> None:
    issuing = tickets()
    token = next(
        token
        for _ in range(1000)
        if write(token := issuing.issue(access_of(), version=0, stateful=False).token) != token
    )
    assert connection_id_of(write(token)) is None
    assert refusal_of(tickets(), coming(write(token))) == 404


def test_a_token_of_another_service_opens_nothing() -> None:
    issued = tickets("another key that is as long as it has to be").issue(
        access_of(), version=1, stateful=False
    )
    assert refusal_of(tickets(), coming(issued.token)) == 404


def test_a_token_opens_for_as_long_as_the_settings_say() -> None:
    clock = Clock()
    opening = tickets(clock=clock)
    issued = opening.issue(access_of(), version=1, stateful=False)
    clock.now = NOW + 14.9
    assert opening.open(coming(issued.token)) == issued
    clock.now = NOW + 15
    assert refusal_of(opening, coming(issued.token)) == 404


def test_what_is_used_up_is_remembered_until_its_token_is_too_old() -> None:
    clock = Clock()
    opening = tickets(clock=clock)
    issued = opening.issue(access_of(), version=1, stateful=False)
    opening.spend(issued.connection_id, issued.expires)
    opening.spend("long since opened", NOW - 1)
    assert refusal_of(opening, coming(issued.token)) == 404
    opening.expire()
    assert repr(opening) == "Tickets(spent=1)"
    clock.now = NOW + 15
    opening.expire()
    assert repr(opening) == "Tickets(spent=0)"


async def test_negotiation_keeps_nothing(service: Service) -> None:
    before = repr(service.node)
    for version in (0, 1):
        await service.negotiate(version=version)
    assert repr(service.node) == before
    assert repr(service.node.tickets) == "Tickets(spent=0)"


@pytest.mark.parametrize("version", [0, 1])
async def test_a_connection_that_has_ended_is_not_opened_again(version: int) -> None:
    node = Node(ServiceSettings())
    ticket = node.tickets.issue(access_of(), version=version, stateful=False)
    access = coming(ticket.token)
    node.connect(access, FakeTransport()).lost()
    for attempt in (node.check, lambda access: node.connect(access, FakeTransport())):
        with pytest.raises(Refusal, match="No Connection with that ID") as refused:
            attempt(access)
        assert refused.value.status == 404


async def test_a_connection_that_is_in_use_is_not_opened_twice() -> None:
    node = Node(ServiceSettings())
    access = coming(node.tickets.issue(access_of(), version=1, stateful=True).token)
    node.connect(access, FakeTransport())
    with pytest.raises(Refusal) as refused:
        node.connect(access, FakeTransport())
    assert refused.value.status == 409


def test_a_token_stays_good_when_the_key_that_signed_it_is_replaced() -> None:
    clock = Clock()
    opening = tickets(clock=clock)
    issued = opening.issue(access_of(), version=1, stateful=False)
    opening.use(ServiceSettings(access_keys=("a third key, which is as long as it is", KEYS[1])))
    assert opening.open(coming(issued.token)) == issued


def test_what_a_replaced_key_signs_later_opens_nothing() -> None:
    clock = Clock()
    opening, thief = tickets(clock=clock), tickets(clock=clock)
    opening.use(ServiceSettings(access_keys=("a third key, which is as long as it is", KEYS[1])))
    thief.use(ServiceSettings(access_keys=KEYS, negotiate_timeout=3600))
    for_long = thief.issue(access_of(), version=1, stateful=False)
    assert refusal_of(opening, coming(for_long.token)) == 404
    clock.now += 30
    opening.expire()
    late = tickets(clock=clock).issue(access_of(), version=1, stateful=False)
    assert refusal_of(opening, coming(late.token)) == 404


def test_logs_say_which_node_has_made_a_token_that_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "hubbub.service")
    clock = Clock()
    node = Tickets(ServiceSettings(access_keys=KEYS), clock, lambda: "0123456789abcdef")
    issued = node.issue(access_of(user="ann"), version=1, stateful=False)
    assert refusal_of(tickets(clock=clock), coming(issued.token, user="bob")) == 403
    node.spend(issued.connection_id, issued.expires)
    assert refusal_of(node, coming(issued.token, user="ann")) == 404
    clock.now += 60
    assert refusal_of(tickets(clock=clock), coming(issued.token, user="ann")) == 404
    assert [record.getMessage() for record in caplog.records] == [
        f"a connection token made by node 01234567… is refused: {why}"
        for why in ("it belongs to another user", "its connection has ended", "it is too old")
    ]
    assert issued.token not in caplog.text
