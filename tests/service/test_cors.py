"""Pages of other origins: preflight, credentials, and which origins are let in."""

import pytest
from tests.service.conftest import Start
from tests.service.running import Answer, Service

PAGE = "https://page.example"
# What the official browser client sends with its requests.
CLIENT_HEADERS = "authorization,x-requested-with,x-signalr-user-agent,content-type"


async def preflight(
    service: Service, origin: str, method: str = "POST", headers: str = CLIENT_HEADERS
) -> Answer:
    return await service.request(
        "OPTIONS",
        "/client/negotiate?hub=chat&negotiateVersion=1",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_preflight_is_answered_without_a_token(service: Service, method: str) -> None:
    answer = await preflight(service, PAGE, method)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
    assert set(CLIENT_HEADERS.split(",")) <= set(allowed)


async def test_every_origin_is_named_where_all_are_let_in(service: Service) -> None:
    # A browser that sends credentials takes no star for an answer.
    for origin in (PAGE, "http://localhost:3000", "null"):
        answer = await service.request(
            "POST",
            "/client/negotiate?hub=chat",
            token=service.token(),
            headers={"Origin": origin},
        )
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in answer.headers["Vary"]


async def test_a_page_can_read_why_it_was_refused(service: Service) -> None:
    answer = await service.request("POST", "/client/negotiate?hub=chat", headers={"Origin": PAGE})
    assert answer.status == 401
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


async def test_the_rest_api_can_be_called_by_pages_too(service: Service) -> None:
    path = "/api/hubs/chat/:send"
    answer = await service.request(
        "POST",
        path,
        token=service.rest_token(path),
        body=b'{"target":"t"}',
        headers={"Origin": PAGE, "Content-Type": "application/json"},
    )
    assert answer.status == 202
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


async def test_only_listed_origins_are_let_in(start: Start) -> None:
    service = await start(allowed_origins=(PAGE, "http://localhost:3000"))
    assert (await preflight(service, PAGE)).status == 200
    for origin in ("https://other.example", "https://page.example.evil", "http://page.example"):
        refused = await preflight(service, origin)
        assert refused.status == 400
        assert "Access-Control-Allow-Origin" not in refused.headers
        answer = await service.request(
            "POST",
            "/client/negotiate?hub=chat",
            token=service.token(),
            headers={"Origin": origin},
        )
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_request_of_no_page_is_answered_as_ever(start: Start) -> None:
    service = await start(allowed_origins=(PAGE,))
    answer = await service.request("POST", "/client/negotiate?hub=chat", token=service.token())
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_an_origin_that_is_not_let_in_is_told_once_with_what_to_change(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    service = await start(allowed_origins=("https://other.example",))

    for origin in (PAGE, PAGE, "https://other.example"):
        await preflight(service, origin)

    (said,) = [record.getMessage() for record in caplog.records]
    assert f"A page of {PAGE} called" in said
    assert f"--allow-origin {PAGE}" in said
