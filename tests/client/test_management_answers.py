"""What the management client makes of answers, of no answer, and of its own settings."""

import gzip
import socket

import pytest
from tests.client.recording import KEY, Recorder

from hubbub.client.management import HubContext, ServiceClient
from hubbub.errors import ConfigError, ServiceError
from hubbub.protocol.endpoints import format_connection_string


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    recorder: Recorder, recorded: HubContext, monkeypatch: pytest.MonkeyPatch, is_compressed: bool
) -> None:
    monkeypatch.setattr("hubbub.client.rest._MAX_ANSWER", 1000)
    if is_compressed:
        recorder.headers = {"Content-Encoding": "gzip"}
    bodies = [gzip.compress(b" " * n) if is_compressed else b" " * n for n in (1000, 1001)]

    recorder.body = bodies[0]
    await recorded.clients.all.send("t")
    recorder.body = bodies[1]
    with pytest.raises(ServiceError, match=r"larger than 1000 bytes.*Endpoint.*Request Uri: http"):
        await recorded.clients.all.send("t")


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_answer_of_success_will_do(
    recorder: Recorder, recorded: HubContext, status: int
) -> None:
    recorder.status = status
    await recorded.clients.all.send("t")
    await recorded.groups.remove_all("c")


@pytest.mark.parametrize(
    ("status", "headers", "body", "sentences"),
    [
        (400, {}, b"Message is required.", ["Invalid argument.", "Message is required."]),
        (400, {}, b"", ["Invalid argument.", "400 (Bad Request)"]),
        (
            401,
            {"WWW-Authenticate": 'Bearer error="invalid_token", error_description="no"'},
            b"",
            ["Authorization failed", 'error_description="no"', "AccessKey"],
        ),
        (404, {}, b"", ["Unable to access SignalR service.", "404 (Not Found)", "Endpoint"]),
        (500, {}, b"oops", ["SignalR service error.", "500 (Internal Server Error)", "oops"]),
        (503, {}, b"\xff", ["SignalR service error.", "503"]),
        (302, {"Location": "http://elsewhere.invalid/"}, b"", ["SignalR service error.", "302"]),
        (413, {}, b"x" * 100_000, ["SignalR service error.", "413"]),
    ],
)
async def test_a_failure_is_an_error_that_says_what_to_look_at(
    recorder: Recorder,
    recorded: HubContext,
    status: int,
    headers: dict[str, str],
    body: bytes,
    sentences: list[str],
) -> None:
    recorder.status, recorder.headers, recorder.body = status, headers, body
    with pytest.raises(ServiceError) as caught:
        await recorded.clients.all.send("t")
    text = str(caught.value)
    assert caught.value.status == status
    for sentence in sentences:
        assert sentence in text
    assert text.endswith(f"Request Uri: {recorder.url}/api/hubs/chat/:send")
    assert len(text) < 10_000
    assert KEY not in text
    assert recorder.only.headers["Authorization"].split()[1] not in text


async def test_the_code_of_a_failure_is_kept(recorder: Recorder, recorded: HubContext) -> None:
    recorder.status = 404
    recorder.headers = {"x-ms-error-code": "Warning.Group.NotExisted"}
    with pytest.raises(ServiceError) as caught:
        await recorded.clients.group("g").send("t")
    assert (caught.value.status, caught.value.code) == (404, "Warning.Group.NotExisted")


@pytest.mark.parametrize("code", ["Error.Connection.NotExisted", "error.connection.notexisted"])
async def test_a_connection_that_is_gone_cannot_join_and_that_is_no_error(
    recorder: Recorder, recorded: HubContext, code: str
) -> None:
    recorder.status, recorder.headers = 404, {"x-ms-error-code": code}
    await recorded.groups.add("gone", "g")


@pytest.mark.parametrize("headers", [{}, {"x-ms-error-code": "Warning.Group.NotExisted"}])
async def test_another_404_of_a_membership_is_an_error(
    recorder: Recorder, recorded: HubContext, headers: dict[str, str]
) -> None:
    recorder.status, recorder.headers = 404, headers
    with pytest.raises(ServiceError) as caught:
        await recorded.groups.add("gone", "g")
    assert caught.value.status == 404


async def test_a_service_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with ServiceClient(format_connection_string(url, KEY)) as client:
        with pytest.raises(ServiceError) as caught:
            await client.hub("chat").clients.all.send("t")
    assert caught.value.status is None
    assert f"{url}/api/hubs/chat/:send" in str(caught.value)
    assert f"{url}, running and reachable" in str(caught.value)


async def test_a_service_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with ServiceClient(format_connection_string(url, KEY), timeout=0.05) as client:
            with pytest.raises(ServiceError, match="it took too long") as caught:
                await client.hub("chat").clients.all.send("t")
    assert caught.value.status is None


def test_a_wrong_connection_string_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="Expected: Endpoint="):
        ServiceClient("localhost")


async def test_a_client_can_be_closed_twice_and_unused() -> None:
    client = ServiceClient(format_connection_string("http://localhost", KEY))
    await client.close()
    await client.close()


async def test_a_client_uses_one_connection_for_calls_after_each_other(
    recorder: Recorder, recorded: HubContext
) -> None:
    for _ in range(3):
        await recorded.clients.all.send("t")
    assert len({asked.peer for asked in recorder.asked}) == 1
