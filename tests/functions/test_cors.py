"""Cross-origin requests: preflights as browsers send them, and the headers on every answer."""

from collections.abc import Callable

import pytest
from tests.functions.apps import Answer, call

from hubbub.functions.host import Host

Load = Callable[..., Host]

PAGE = "http://localhost:3000"
APP = """
@app.route(methods=["GET", "POST"])
def hello(req):
    return func.HttpResponse("ok", headers={"Access-Control-Allow-Origin": "http://own"})

@app.route()
def boom(req):
    raise ValueError("boom")
"""


def allowing(load: Load, cors: str, credentials: bool = False) -> Host:
    members = {"Host": {"CORS": cors, "CORSCredentials": credentials}}
    return load(APP, files={"local.settings.json": members})


async def preflight(host: Host, origin: str, *more: tuple[str, str]) -> Answer:
    headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-signalr-user-agent,x-requested-with"),
        *more,
    ]
    return await call(host, "OPTIONS", "/api/hello", headers=headers)


async def test_a_preflight_from_an_allowed_origin_is_granted(load: Load) -> None:
    answer = await preflight(allowing(load, f"http://other,{PAGE}", credentials=True), PAGE)

    assert answer.status == 204
    assert dict(answer.headers) == {
        "vary": "Origin",
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "x-signalr-user-agent,x-requested-with",
    }


@pytest.mark.parametrize("origin", ["http://localhost:3001", "https://localhost:3000", "null"])
async def test_a_preflight_from_another_origin_gets_no_grant(load: Load, origin: str) -> None:
    answer = await preflight(allowing(load, PAGE, credentials=True), origin)

    assert (answer.status, answer.headers) == (204, [("vary", "Origin")])


async def test_every_origin_may_call_without_credentials(load: Load) -> None:
    host = allowing(load, "*")

    assert (await preflight(host, PAGE)).header("access-control-allow-origin") == "*"
    answer = await call(host, "GET", "/api/hello", headers=[("Origin", PAGE)])
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.header("access-control-allow-credentials") is None
    assert host.warnings == ()


async def test_any_origin_with_credentials_names_the_caller_and_is_explained(load: Load) -> None:
    host = allowing(load, "*", credentials=True)

    answer = await preflight(host, PAGE)

    assert answer.header("access-control-allow-origin") == PAGE
    assert answer.header("access-control-allow-credentials") == "true"
    assert "Name the origins in Host.CORS" in host.warnings[0]


@pytest.mark.parametrize(("path", "status"), [("hello", 200), ("boom", 500), ("none", 404)])
async def test_answers_of_every_status_carry_the_headers_once(
    load: Load, path: str, status: int
) -> None:
    host = allowing(load, PAGE, credentials=True)

    answer = await call(host, "GET", f"/api/{path}", headers=[("Origin", PAGE)])

    assert answer.status == status
    assert answer.header("access-control-allow-origin") == PAGE
    assert answer.header("access-control-allow-credentials") == "true"


async def test_a_page_in_the_public_may_ask_for_a_private_address(load: Load) -> None:
    ask = ("Access-Control-Request-Private-Network", "true")

    answer = await preflight(allowing(load, PAGE), PAGE, ask)

    assert answer.header("access-control-allow-private-network") == "true"


async def test_without_settings_the_function_itself_is_asked(load: Load) -> None:
    host = load(APP)

    assert (await preflight(host, PAGE)).status == 404
    answer = await call(host, "GET", "/api/hello", headers=[("Origin", PAGE)])
    assert answer.header("access-control-allow-origin") == "http://own"


async def test_the_app_settings_of_azure_count_where_no_local_file_does(load: Load) -> None:
    settings = {
        "CORS_ALLOWED_ORIGINS": f'["{PAGE}", "http://b"]',
        "CORS_SUPPORT_CREDENTIALS": "true",
    }
    answer = await preflight(load(APP, settings), PAGE)

    assert answer.header("access-control-allow-origin") == PAGE
    assert answer.header("access-control-allow-credentials") == "true"


async def test_an_origin_that_is_not_allowed_is_told_once_with_what_to_change(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    for host in (load(APP), allowing(load, "http://other")):
        log.clear()
        for _ in range(2):
            await preflight(host, PAGE)
            await call(host, "GET", "/api/boom", headers=[("Origin", PAGE)])

        (said,) = [record.getMessage() for record in log.records if "CORS" in record.getMessage()]
        assert f"A page of {PAGE} called" in said
        assert f"--cors {PAGE} --cors-credentials" in said


async def test_a_signalr_client_whose_credentials_are_not_allowed_is_told(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    await preflight(allowing(load, "*"), PAGE)

    assert '"CORSCredentials": true' in log.text


@pytest.mark.parametrize(
    ("cors", "headers"),
    [
        (PAGE, [("Origin", PAGE)]),
        ("http://other", [("Origin", "http://localhost:7071")]),
        ("http://other", []),
    ],
)
async def test_pages_that_may_read_the_answer_are_not_told_of(
    load: Load, log: pytest.LogCaptureFixture, cors: str, headers: list[tuple[str, str]]
) -> None:
    await call(allowing(load, cors), "GET", "/api/hello", headers=headers)

    assert "CORS" not in log.text


async def test_many_strange_origins_are_not_remembered_for_ever(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    host = allowing(load, "http://other")
    for number in range(150):
        await call(host, "GET", "/api/none", headers=[("Origin", f"http://{number}.example")])

    assert sum("CORS" in record.getMessage() for record in log.records) == 100
