"""Who may go on with which connection, from which pages, and by which transports."""

import pytest
from tests.service.conftest import Start
from tests.service.running import Service
from websockets.exceptions import InvalidStatus


async def test_the_connection_of_another_user_is_403(service: Service) -> None:
    client = await service.http_client(user="ann")
    await client.poll()
    bob = service.token(user="bob")

    answers = [
        await service.request("GET", client.path, token=bob),
        await service.request("POST", client.path, token=bob, body=b"x"),
        await service.request("DELETE", client.path, token=bob),
        await service.request("GET", client.path, token=service.token()),
    ]

    assert [(answer.status, answer.text) for answer in answers] == [
        (403, "The connection belongs to another user.")
    ] * 4
    assert (await client.post(b"")).status == 200


async def test_a_websocket_for_the_connection_of_another_user_is_403(service: Service) -> None:
    negotiated = await service.negotiate(user="ann")
    query = {
        "hub": "chat",
        "id": negotiated["connectionToken"],
        "access_token": service.token(user="bob"),
    }
    with pytest.raises(InvalidStatus) as refused:
        await service.open(query=query)
    assert refused.value.response.status_code == 403


async def test_a_page_of_another_origin_may_not_connect_where_origins_are_listed(
    start: Start,
) -> None:
    service = await start(allowed_origins=("https://app.example",))

    with pytest.raises(InvalidStatus) as refused:
        await service.connect(headers={"Origin": "https://other.example"})
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == b"Pages of this origin may not connect.\n"

    allowed = await service.connect(headers={"Origin": "https://app.example"})
    program = await service.connect()  # what is no page says no origin
    await service.send("t")
    assert await allowed.call() == await program.call() == ("t", [])


async def test_a_page_of_any_origin_may_connect_where_all_are_let_in(service: Service) -> None:
    client = await service.connect(headers={"Origin": "https://anywhere.example"})
    await service.send("t")
    assert await client.call() == ("t", [])


WEB_SOCKETS, EVENTS, POLLING = 1, 2, 4


@pytest.mark.parametrize(
    ("allowed", "statuses"),
    [
        (WEB_SOCKETS, (101, 404, 404)),
        (EVENTS, (404, 200, 404)),
        (POLLING, (404, 404, 200)),
        (WEB_SOCKETS | POLLING, (101, 404, 200)),
        (0, (101, 200, 200)),
    ],
)
async def test_a_token_may_leave_transports_out(
    service: Service, allowed: int, statuses: tuple[int, int, int]
) -> None:
    names = ("WebSockets", "ServerSentEvents", "LongPolling")
    found = [
        await _by_websocket(service, allowed),
        await _by_get(service, allowed, "Accept: text/event-stream"),
        await _by_get(service, allowed, "Accept: */*"),
    ]
    for name, status, (answer, text) in zip(names, statuses, found, strict=True):
        assert answer == status
        if status == 404:
            assert text == f"{name} transport not supported by this end point type"


async def _by_websocket(service: Service, allowed: int) -> tuple[int, str]:
    token = service.token(**{"asrs.s.htt": str(allowed)})
    try:
        await service.open(query={"hub": "chat", "access_token": token})
    except InvalidStatus as refused:
        return refused.response.status_code, refused.response.body.decode().strip()
    return 101, ""


async def _by_get(service: Service, allowed: int, accept: str) -> tuple[int, str]:
    client = await service.http_client(**{"asrs.s.htt": str(allowed)})
    raw = await service.raw()
    raw.send(client.head("GET", accept))
    status = await raw.status()
    return status, (await raw.until(b"type")).decode() if status == 404 else ""


async def test_a_refusal_is_logged_in_whole_sentences(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    foreign = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"

    await service.request("POST", "/client/negotiate?hub=chat", token=foreign)
    with pytest.raises(InvalidStatus):
        await service.open(query={"hub": "chat", "access_token": foreign})

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    for line in said:
        assert ": 401 The signature key was not found. No access key of this service" in line
