"""Requests that are answered at once, and the same ones answered through ASGI: one behaviour."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.service.fakes import ENDPOINT, FakeClient
from tests.service.fakesocket import Http, HttpAnswer, chunked, in_bytes, request, split_answers

from hubbub.protocol.tokens import issue_client_token, issue_rest_token
from hubbub.service.direct import Direct
from hubbub.service.node import Node
from hubbub.service.settings import EntraSettings, ServiceSettings

pytestmark = pytest.mark.usefixtures("unhurried")

Connect = Callable[..., Http]
BODY = b'{"target":"t","arguments":[1]}'
JSON = "Content-Type: application/json"
SEND = "/api/hubs/chat/:send"
NEGOTIATE = "/client/negotiate?hub=chat&negotiateVersion=1"
HEALTH = request("GET", "/api/health")


def bearer(path: str, **options: Any) -> str:
    """The header with the token of a REST call."""
    now = options.pop("now", int(time.time()))
    return f"Authorization: Bearer {issue_rest_token(ENDPOINT, f'http://x{path}', now=now)}"


def client_bearer(hub: str = "chat", **claims: Any) -> str:
    token = issue_client_token(ENDPOINT, hub, now=int(time.time()), user_id="u", claims=claims)
    return f"Authorization: Bearer {token}"


def sending(path: str = SEND, body: bytes = BODY, *headers: str) -> bytes:
    return request("POST", path, bearer(path), JSON, *headers, body=body)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open HTTP connections, each to a node of its own unless one is given."""
    opened = []

    def open_one(node: Node | None = None, **settings: Any) -> Http:
        opened.append(Http(node or Node(ServiceSettings(**settings))))
        return opened[-1]

    yield open_one
    for http in opened:
        http.end()
        await asyncio.gather(*http.state.tasks)


REQUESTS: dict[str, tuple[str, list[str], bytes]] = {
    "a send": (SEND, [bearer(SEND), JSON], BODY),
    "a send with a query": (f"{SEND}?api-version=x&excluded=a", [bearer(SEND), JSON], BODY),
    "an escaped name": (p := "/api/hubs/chat/groups/a%2Fb/:send", [bearer(p), JSON], BODY),
    "of an older version": (p := "/api/v1/hubs/chat/users/u/:send", [bearer(p), JSON], BODY),
    "a send without a token": (SEND, [JSON], BODY),
    "another path's token": (SEND, [bearer("/api/hubs/other/:send"), JSON], BODY),
    "a token that has expired": (SEND, [bearer(SEND, now=1_000_000), JSON], BODY),
    "a client's token": (SEND, [client_bearer(), JSON], BODY),
    "no token at all": (SEND, ["Authorization: Bearer x", JSON], BODY),
    "a token over 4 KB": (SEND, [f"Authorization: Bearer {'x' * 5000}", JSON], BODY),
    "too many headers": (SEND, [bearer(SEND), JSON, f"X-Long: {'x' * 17000}"], BODY),
    "an address that is too long": (f"{SEND}?{'x' * 12300}", [bearer(SEND), JSON], BODY),
    "no such operation": (p := "/api/hubs/chat/nothing/x/:send", [bearer(p), JSON], BODY),
    "a wrong hub": (p := "/api/hubs/1/:send", [bearer(p), JSON], BODY),
    "a name that is no UTF-8": (p := "/api/hubs/a/users/%ff/:send", [bearer(p), JSON], BODY),
    "a query that is no UTF-8": (f"{SEND}?excluded=%ff", [bearer(SEND), JSON], BODY),
    "a body that is none": (SEND, [bearer(SEND), JSON], b"{"),
    "a body of another kind": (SEND, [bearer(SEND), "Content-Type: text/plain"], BODY),
    "a body without a kind": (SEND, [bearer(SEND)], BODY),
    "no body": (SEND, [bearer(SEND), JSON], b""),
    "a body that is too long": (SEND, [bearer(SEND), JSON], b" " * 1000 + BODY),
    "negotiation": (NEGOTIATE, [client_bearer()], b""),
    "negotiation with a body": (NEGOTIATE, [client_bearer()], b"x"),
    "negotiation of a wrong version": (f"{NEGOTIATE}x", [client_bearer()], b""),
    "negotiation without a hub": ("/client/negotiate", [client_bearer()], b""),
    "negotiation for another hub": (NEGOTIATE, [client_bearer("news")], b""),
    "negotiation without a token": (NEGOTIATE, [], b""),
    "negotiation with a token in the query": (f"{NEGOTIATE}&access_token=x", [], b""),
    "negotiation of one transport": (NEGOTIATE, [client_bearer(**{"asrs.s.htt": "4"})], b""),
    "negotiation with reconnect": (
        f"{NEGOTIATE}&useStatefulReconnect=true",
        [client_bearer()],
        b"",
    ),
}


def plain(answer: HttpAnswer) -> HttpAnswer:
    """An answer without what is never the same twice."""
    headers = [(name, value) for name, value in answer.headers if name != "date"]
    body = re.sub(rb'(Id|Token)":"[^"]{20,}"', rb'\1":"?"', answer.body)
    return HttpAnswer(answer.status, headers, body)


@pytest.mark.parametrize(("path", "headers", "body"), REQUESTS.values(), ids=REQUESTS)
async def test_a_request_has_the_same_answer_and_log_on_both_ways(
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    path: str,
    headers: list[str],
    body: bytes,
) -> None:
    caplog.set_level(logging.DEBUG, "hubbub.service")
    node = Node(ServiceSettings(max_body_size=500))
    client = FakeClient(node)

    direct = connect(node)
    direct.send(request("POST", path, *headers, body=body))
    at_once, rest = split_answers(bytes(direct.socket.written))
    assert (len(at_once), rest) == (1, b"")  # nothing was waited for
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    other = connect(node)
    other.send(chunked("POST", path, *headers, body=body))
    assert not other.socket.written
    (later,) = await other.answers(1)

    assert plain(at_once[0]) == plain(later)
    assert [record.getMessage() for record in caplog.records] == lines
    assert dict(at_once[0].headers).keys() == dict(later.headers).keys()
    await asyncio.sleep(0)  # the outbox's turn
    assert client.calls() in ([], ["t", "t"])  # both or none


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("GET", SEND, "X: x"),
        ("POST", "/api/hubs/chat/:closeConnections", "X: x"),
        ("POST", "/API/hubs/chat/:send", "X: x"),
        ("POST", "/api/hubs/chät/:send", "X: x"),
        ("POST", f"{SEND}#x", "X: x"),
        ("POST", "/client/", "X: x"),
        ("GET", NEGOTIATE, "X: x"),
        ("POST", NEGOTIATE, "Origin: https://page.example"),
        ("POST", SEND, "Origin: https://page.example"),
        ("POST", SEND, "Expect: 100-continue"),
        ("POST", SEND, "Transfer-Encoding: chunked"),
    ],
)
async def test_every_other_request_is_left_to_asgi(method: str, path: str, header: str) -> None:
    direct = Direct(Node(ServiceSettings()))
    name, _, value = header.lower().partition(": ")
    headers = [(b"host", b"service"), (name.encode(), value.encode())]
    assert direct.find(method.encode(), path.encode("utf-8"), headers) is None


async def test_a_token_of_another_issuer_is_left_to_asgi() -> None:
    settings = ServiceSettings(entra=EntraSettings({"https://issuer.example": "https://keys.test"}))
    direct = Direct(Node(settings))
    path = SEND.encode()
    foreign = b"Bearer eyJhbGciOiJSUzI1NiJ9.e30.eA"  # {"alg":"RS256"}
    assert direct.find(b"POST", path, [(b"authorization", foreign)]) is None
    own = bearer(SEND).removeprefix("Authorization: ").encode()
    assert direct.find(b"POST", path, [(b"authorization", own)]) is not None


async def test_a_request_may_come_byte_by_byte(connect: Connect) -> None:
    http = connect()
    http.send(*in_bytes(sending()), *in_bytes(request("POST", NEGOTIATE, client_bearer())))
    sent, negotiated = await http.answers(2)
    assert (sent.status, negotiated.status) == (202, 200)


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_body_that_comes_later_is_waited_for(connect: Connect, cut: int) -> None:
    node = Node(ServiceSettings())
    client = FakeClient(node)
    http = connect(node)
    whole = sending()
    head, body = whole[: -len(BODY)], whole[-len(BODY) :]

    http.send(head, *(body[start : start + cut] for start in range(0, len(body), cut)))

    (answer,) = await http.answers(1)
    assert answer.status == 202
    await asyncio.sleep(0)
    assert client.arguments() == [[1]]


async def test_requests_that_come_together_are_answered_in_order(connect: Connect) -> None:
    http = connect()
    http.send(
        sending()
        + HEALTH
        + sending(body=b"{")
        + request("POST", NEGOTIATE, client_bearer())
        + request("POST", SEND, JSON, "Expect: 100-continue", body=BODY)
        + sending()
    )
    answers = await http.answers(6)
    assert [answer.status for answer in answers] == [202, 200, 400, 200, 401, 202]


async def test_what_comes_while_another_request_is_answered_waits_its_turn(
    connect: Connect,
) -> None:
    http = connect()
    http.send(HEALTH)  # which takes a turn of the loop
    http.send(sending())
    assert not http.socket.written
    assert [answer.status for answer in await http.answers(2)] == [200, 202]
    http.send(sending())  # and this one need not wait
    assert len(split_answers(bytes(http.socket.written))[0]) == 3


async def test_while_the_client_does_not_read_nothing_is_answered_at_once(
    connect: Connect,
) -> None:
    http = connect()
    http.protocol.pause_writing()
    http.send(sending(), sending())
    await asyncio.sleep(0)
    assert not http.socket.written
    http.protocol.resume_writing()
    assert [answer.status for answer in await http.answers(2)] == [202, 202]


@pytest.mark.parametrize(
    ("header", "version"), [("Connection: close", "1.1"), ("X: x", "1.0")], ids=["close", "1.0"]
)
async def test_the_last_request_is_answered_and_nothing_after_it(
    connect: Connect, header: str, version: str
) -> None:
    http = connect()
    last = request("POST", SEND, bearer(SEND), JSON, header, body=BODY, version=version)
    http.send(last + sending())
    (answer,) = await http.answers(1)
    assert answer.status == 202
    assert ("connection", "close") in answer.headers
    assert http.socket.is_closed


async def test_a_connection_that_is_kept_ends_when_it_stays_idle(connect: Connect) -> None:
    http = connect()
    http.send(sending())
    now = asyncio.get_running_loop().time()
    http.protocol.expire(now + 4)
    assert not http.socket.is_closed
    http.send(sending())
    http.protocol.expire(now + 4.9)
    assert not http.socket.is_closed
    http.protocol.expire(now + 5.1)
    assert http.socket.is_closed


async def test_a_head_that_is_begun_has_its_own_time(connect: Connect) -> None:
    http = connect(head_timeout=10)
    http.send(sending(), b"POST /")
    now = asyncio.get_running_loop().time()
    http.protocol.expire(now + 9)
    assert not http.socket.is_closed
    http.protocol.expire(now + 10.1)
    assert http.socket.is_closed


async def test_a_defect_is_answered_with_500_and_costs_one_request(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(ServiceSettings())
    http = connect(node)
    monkeypatch.setattr(node.tickets, "issue", None)
    http.send(request("POST", NEGOTIATE, client_bearer()) + sending())
    assert [answer.status for answer in await http.answers(2)] == [500, 202]
    assert "a request was not answered" in caplog.text


H2C = (
    *("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"),
    *(bearer(SEND), JSON),
)


def positions_in(whole: bytes, part: bytes) -> range:
    start = whole.index(part)
    return range(start + 1, start + len(part))


@pytest.mark.parametrize("pieces", ["one", "two", "bytes"])
async def test_an_upgrade_to_http2_is_ignored_however_it_comes(
    connect: Connect, pieces: str
) -> None:
    whole = request("POST", SEND, *H2C, body=BODY)
    cuts: list[tuple[bytes, ...]]
    if pieces == "two":
        cuts = [(whole[:cut], whole[cut:]) for cut in positions_in(whole, b"Upgrade: h2c\r\n")]
    else:
        cuts = [tuple(in_bytes(whole)) if pieces == "bytes" else (whole,)]
    for cut in cuts:
        node = Node(ServiceSettings())
        client = FakeClient(node)
        http = connect(node)
        http.send(*cut)
        http.send(sending())
        assert [answer.status for answer in await http.answers(2)] == [202, 202]
        await asyncio.sleep(0)
        assert client.arguments() == [[1], [1]]


async def test_pipelined_requests_may_each_ask_for_http2(connect: Connect) -> None:
    http = connect()
    http.send(request("POST", SEND, *H2C, body=BODY) * 3 + HEALTH)
    assert [answer.status for answer in await http.answers(4)] == [202, 202, 202, 200]


@pytest.mark.parametrize("path", ["service:80", "/"])
async def test_a_tunnel_is_refused(connect: Connect, path: str) -> None:
    http = connect()
    http.send(request("CONNECT", path) + sending())
    await asyncio.gather(*http.state.tasks)
    assert split_answers(bytes(http.socket.written))[0][0].status in {400, 404, 405}


async def test_frames_that_come_with_the_upgrade_are_read(connect: Connect) -> None:
    http = connect()
    token = client_bearer()
    upgrade = request(
        *("GET", "/client/?hub=chat", token, "Connection: Upgrade", "Upgrade: websocket"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    )
    handshake = b'{"protocol":"json","version":1}\x1e'
    http.send(upgrade + bytes((0x81, 0x80 | len(handshake), 0, 0, 0, 0)) + handshake)
    assert bytes(http.socket.written).endswith(b"\r\n\r\n\x81\x03{}\x1e")
