"""Negotiation over HTTP, and the rest of the client endpoint that is no transport."""

import re
import time
from typing import Any

import pytest
from tests.service.running import Service
from tests.vectors.reading import read
from websockets.exceptions import InvalidStatus

OFFERS = {
    "WebSockets": ["Text", "Binary"],
    "ServerSentEvents": ["Text"],
    "LongPolling": ["Text", "Binary"],
}
EXCHANGES = {exchange["id"]: exchange for exchange in read("transports")["exchanges"]}


def offered(negotiated: Any) -> dict[str, list[str]]:
    return {
        offer["transport"]: offer["transferFormats"] for offer in negotiated["availableTransports"]
    }


async def test_version_1_gives_an_id_and_another_token(service: Service) -> None:
    negotiated = await service.negotiate()
    assert list(negotiated) == [
        "negotiateVersion",
        "connectionId",
        "connectionToken",
        "availableTransports",
    ]
    assert negotiated["negotiateVersion"] == 1
    assert negotiated["connectionId"] != negotiated["connectionToken"]
    assert offered(negotiated) == OFFERS


async def test_version_0_gives_one_id_that_opens_the_connection(service: Service) -> None:
    negotiated = await service.negotiate(version=0)
    assert list(negotiated) == ["negotiateVersion", "connectionId", "availableTransports"]
    assert negotiated["negotiateVersion"] == 0
    query = {
        "hub": "chat",
        "id": negotiated["connectionId"],
        "access_token": service.token(),
    }
    client = await service.open(query=query)
    assert await client.handshake() == b"{}\x1e"
    assert service.only_connection().id == negotiated["connectionId"]


async def test_without_a_version_the_answer_is_version_0(service: Service) -> None:
    answer = await service.request("POST", "/client/negotiate?hub=chat", token=service.token())
    assert answer.json["negotiateVersion"] == 0
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.body)


async def test_a_later_version_is_answered_with_the_latest_known(service: Service) -> None:
    assert (await service.negotiate(version=9))["negotiateVersion"] == 1


@pytest.mark.parametrize(
    ("version", "error"),
    [
        ("one", "The client requested a non-integer protocol version."),
        ("", "The client requested a non-integer protocol version."),
        (
            "-1",
            "The client requested version '-1', but the server does not support this version.",
        ),
    ],
)
async def test_a_wrong_version_is_an_error_in_a_good_answer(
    service: Service, version: str, error: str
) -> None:
    path = f"/client/negotiate?hub=chat&negotiateVersion={version}"
    answer = await service.request("POST", path, token=service.token())
    assert (answer.status, answer.json) == (200, {"error": error})


async def test_what_is_given_out_can_stand_in_an_address_as_it_is(service: Service) -> None:
    for _ in range(20):
        negotiated = await service.negotiate()
        for value in (negotiated["connectionId"], negotiated["connectionToken"]):
            assert re.fullmatch(r"[A-Za-z0-9_-]{20,}", value)


async def test_nothing_is_given_out_twice(service: Service) -> None:
    answers = [await service.negotiate() for _ in range(20)]
    assert len({answer["connectionId"] for answer in answers}) == 20
    assert len({answer["connectionToken"] for answer in answers}) == 20


async def test_stateful_reconnect_is_offered_only_to_who_asks(service: Service) -> None:
    path = "/client/negotiate?hub=chat&negotiateVersion=1"
    plain = await service.request("POST", path, token=service.token())
    asked = await service.request(
        "POST", f"{path}&useStatefulReconnect=true", token=service.token()
    )
    declined = await service.request(
        "POST", f"{path}&useStatefulReconnect=false", token=service.token()
    )
    assert "useStatefulReconnect" not in plain.json
    assert asked.json["useStatefulReconnect"] is True
    assert "useStatefulReconnect" not in declined.json


@pytest.mark.parametrize(
    ("value", "transports"),
    [
        ("1", ["WebSockets"]),
        (3, ["WebSockets", "ServerSentEvents"]),
        ("6", ["ServerSentEvents", "LongPolling"]),
        ("7", list(OFFERS)),
        ("99", ["WebSockets", "ServerSentEvents"]),
        ("8", list(OFFERS)),
        ("x", list(OFFERS)),
    ],
)
async def test_an_app_may_choose_the_transports_of_a_client(
    service: Service, value: Any, transports: list[str]
) -> None:
    negotiated = await service.negotiate(**{"asrs.s.htt": value})
    assert list(offered(negotiated)) == transports


@pytest.mark.parametrize("path", ["/client/negotiate", "/client/negotiate/", "/Client/Negotiate"])
async def test_the_path_is_found_in_any_case_and_with_a_slash(service: Service, path: str) -> None:
    answer = await service.request("POST", f"{path}?hub=chat", token=service.token())
    assert answer.status == 200


async def test_unknown_parameters_and_a_body_change_nothing(service: Service) -> None:
    path = "/client/negotiate?hub=chat&negotiateVersion=1&asrs.op=%2Fchat&asrs_request_id=x&y"
    answer = await service.request("POST", path, token=service.token(), body=b"x" * 10_000)
    assert answer.json["negotiateVersion"] == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_negotiation_is_posted(service: Service, method: str) -> None:
    answer = await service.request(method, "/client/negotiate?hub=chat", token=service.token())
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["/", "/client/other", "/client/negotiate/more", "/clients", "/hub", "/server/"]
)
async def test_an_unknown_path_is_not_found(service: Service, path: str) -> None:
    answer = await service.request("POST", f"{path}?hub=chat", token=service.token())
    assert answer.status == (405 if path == "/" else 404)


async def test_the_root_says_what_this_is(service: Service) -> None:
    answer = await service.request("GET", "/")
    assert answer.status == 200
    assert "/client/?hub=HUB" in answer.text


async def test_a_connection_that_is_neither_socket_nor_negotiated_is_refused(
    service: Service,
) -> None:
    expected = EXCHANGES["TR-06"]
    for method in ("GET", "POST", "DELETE"):
        answer = await service.request(method, "/client/?hub=chat", token=service.token())
        assert (answer.status, answer.text) == (expected["status"], expected["body"])


async def test_an_unknown_id_is_not_found_by_any_method(service: Service) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await service.request(method, "/client/?hub=chat&id=x", token=service.token())
        assert (answer.status, answer.text) == (404, "No Connection with that ID")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_connection_has_no_other_methods(service: Service, method: str) -> None:
    answer = await service.request(method, "/client/?hub=chat&id=x", token=service.token())
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, POST, DELETE"


async def test_a_websocket_connection_takes_no_posts(service: Service) -> None:
    token = (await service.negotiate())["connectionToken"]
    client = await service.open(query={"hub": "chat", "id": token, "access_token": service.token()})
    await client.handshake()

    answer = await service.request(
        "POST", f"/client/?hub=chat&id={token}", token=service.token(), body=b'{"type":6}\x1e'
    )

    expected = EXCHANGES["TR-07"]
    assert (answer.status, answer.text) == (expected["status"], expected["body"])
    await service.send("still there")
    assert await client.call() == ("still there", [])


async def test_what_was_negotiated_and_not_opened_in_time_is_forgotten(service: Service) -> None:
    early, late = await service.negotiate(), await service.negotiate()
    query = {"hub": "chat", "access_token": service.token()}

    now = time.time()
    service.node.tickets.clock = lambda: now + 14.9
    await service.open(query={**query, "id": early["connectionToken"]})
    service.node.tickets.clock = lambda: now + 15.1

    with pytest.raises(InvalidStatus) as caught:
        await service.open(query={**query, "id": late["connectionToken"]})
    assert caught.value.response.status_code == 404
