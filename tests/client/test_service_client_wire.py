"""What the management client does when a service fails, lends keys, or leads elsewhere."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.client.recording import KEY, Recorder
from tests.protocol.signing import payload_of
from tests.service.running import Service

from hubbub.client.blocking import SyncServiceClient
from hubbub.client.management import HubContext, RestRetry, ServiceClient
from hubbub.errors import ConfigError, ServiceError
from hubbub.protocol.tokens import decode_token

ONCE_MORE = RestRetry(max_retries=1, delay=0)


@pytest.fixture
async def retrying(recorder: Recorder) -> AsyncIterator[HubContext]:
    async with ServiceClient(recorder.connection_string, retry=ONCE_MORE) as client:
        yield client.hub("chat")


MESSAGES: dict[str, Callable[[HubContext], Awaitable[Any]]] = {
    "send": lambda hub: hub.clients.all.send("t"),
    "invoke": lambda hub: hub.clients.client("c").invoke("t"),
    "stream": lambda hub: hub.clients.client("c").send_stream_item("s", 1),
    "execute": lambda hub: hub.execute("true"),
}
MANAGEMENT: dict[str, Callable[[HubContext], Awaitable[Any]]] = {
    "join": lambda hub: hub.groups.add("c", "g"),
    "close": lambda hub: hub.client_manager.close_connection("c"),
    "exists": lambda hub: hub.client_manager.user_exists("u"),
    "token": lambda hub: hub.generate_token(),
}


@pytest.mark.parametrize(
    ("status", "of_messages", "of_management"),
    [(503, 2, 2), (501, 2, 2), (500, 1, 2), (408, 1, 2), (429, 1, 1), (400, 1, 1), (404, 1, 1)],
)
@pytest.mark.parametrize("act", [*MESSAGES, *MANAGEMENT])
async def test_what_may_be_tried_again_is(
    recorder: Recorder,
    retrying: HubContext,
    act: str,
    status: int,
    of_messages: int,
    of_management: int,
) -> None:
    recorder.status = status

    with pytest.raises(ServiceError) as caught:
        await (MESSAGES | MANAGEMENT)[act](retrying)

    assert caught.value.status == status
    assert len(recorder.asked) == (of_messages if act in MESSAGES else of_management)


async def test_nothing_is_tried_again_unless_asked_for(
    recorder: Recorder, recorded: HubContext
) -> None:
    recorder.status = 503

    with pytest.raises(ServiceError):
        await recorded.groups.add("c", "g")

    assert len(recorder.asked) == 1


def test_delays_are_fixed_or_grow_to_a_limit() -> None:
    fixed, growing = RestRetry(), RestRetry(max_retries=9, delay=1, max_delay=5, exponential=True)

    assert [fixed.delay_before(attempt) for attempt in range(1, 5)] == [0.8, 0.8, 0.8, None]
    assert [growing.delay_before(attempt) for attempt in (1, 2, 3, 4, 9, 10)] == [
        1,
        2,
        4,
        5,
        5,
        None,
    ]
    with pytest.raises(ConfigError, match="no negative"):
        RestRetry(delay=-1)


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
async def test_a_service_that_fails_is_not_healthy(
    recorder: Recorder, status: int, expected: bool
) -> None:
    recorder.status = status
    async with ServiceClient(recorder.connection_string) as client:
        assert await client.is_healthy() is expected
    assert recorder.only.target == "/api/health?api-version=2024-12-01"


async def test_a_page_leads_no_token_to_another_host(
    recorder: Recorder, recorded: HubContext
) -> None:
    recorder.status = 200
    recorder.body = b'{"value":[],"nextLink":"http://127.0.0.2:1/elsewhere?continuationToken=x"}'
    listing = recorded.client_manager.users()
    stop = 3

    class Enough(Exception):
        pass

    original = recorder._answer

    async def answer(request: Any) -> Any:
        if len(recorder.asked) == stop:
            recorder.body = b'{"value":[{"userId":"last","connections":1}]}'
        return await original(request)

    recorder._answer = answer  # type: ignore[method-assign]
    recorder._runner.server.request_handler = answer  # type: ignore[union-attr]

    assert [each.user_id async for each in listing] == ["last"]
    assert [asked.target for asked in recorder.asked[1:]] == [
        "/api/hubs/chat/users?continuationToken=x"
    ] * stop


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"value":1}',
        b'{"value":[1]}',
        b'{"value":[{}]}',
        b'{"value":[],"nextLink":5}',
        b"\xff",
    ],
)
async def test_an_answer_that_is_no_listing_is_an_error(
    recorder: Recorder, recorded: HubContext, body: bytes
) -> None:
    recorder.status, recorder.body = 200, body

    with pytest.raises(ServiceError, match=r"Request Uri: .*/api/hubs/chat/users"):
        [each async for each in recorded.client_manager.users()]
    with pytest.raises(ServiceError, match="does not count"):
        await recorded.client_manager.count_users()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token":1}', b"nonsense"])
async def test_an_answer_that_says_nothing_is_an_error(
    recorder: Recorder, recorded: HubContext, body: bytes
) -> None:
    recorder.status, recorder.body = 200, body

    with pytest.raises(ServiceError, match="cannot be read"):
        await recorded.generate_token()
    if body != b'{"token":1}':
        with pytest.raises(ServiceError, match="cannot be read"):
            await recorded.clients.client("c").invoke("t")


async def test_a_link_that_is_no_address_leads_nowhere_else(
    recorder: Recorder, recorded: HubContext
) -> None:
    recorder.status = 200
    recorder.body = b'{"value":[],"nextLink":"http://[?continuationToken=x"}'
    listing = aiter(recorded.client_manager.users())
    reading = asyncio.ensure_future(anext(listing))
    while len(recorder.asked) < 2:  # noqa: ASYNC110  the server says so nowhere
        await asyncio.sleep(0)
    reading.cancel()

    assert recorder.asked[1].target == "/api/hubs/chat/users?continuationToken=x"


async def test_several_failures_are_one_error(recorder: Recorder, recorded: HubContext) -> None:
    recorder.status, recorder.headers = 400, {"x-ms-error-code": "BadRequest"}

    with pytest.raises(ServiceError, match="2 of 2 sends failed, the first: ") as caught:
        await recorded.clients.users(["a", "b"]).send("t")

    assert (caught.value.status, caught.value.code) == (400, "BadRequest")
    assert len(recorder.asked) == 2


@dataclass
class FakeCredential:
    """A credential as `azure-identity` has them: it keeps what it was asked for."""

    lifetime: float = 3600
    scopes: list[str] = field(default_factory=list)

    def get_token(self, *scopes: str) -> Any:
        self.scopes += scopes

        @dataclass
        class Token:
            token: str = f"entra-{len(self.scopes)}"
            expires_on: float = time.time() + self.lifetime

        return Token()


class FakeAsyncCredential(FakeCredential):
    """The asynchronous kind."""

    async def get_token(self, *scopes: str) -> Any:
        return super().get_token(*scopes)


@pytest.mark.parametrize("kind", [FakeCredential, FakeAsyncCredential])
async def test_calls_carry_the_token_of_a_credential(
    recorder: Recorder, kind: type[FakeCredential]
) -> None:
    credential = kind()
    async with ServiceClient(recorder.url, credential=credential) as client:
        for _ in range(2):
            await client.hub("chat").clients.all.send("t")

    assert [asked.headers["Authorization"] for asked in recorder.asked] == ["Bearer entra-1"] * 2
    assert credential.scopes == ["https://signalr.azure.com/.default"]


async def test_a_token_that_ends_soon_is_replaced(recorder: Recorder) -> None:
    credential = FakeCredential(lifetime=200)
    text = f"Endpoint={recorder.url};AuthType=azure"
    async with ServiceClient(text, credential=credential) as client:
        for _ in range(2):
            await client.hub("chat").clients.all.send("t")

    assert recorder.asked[-1].headers["Authorization"] == "Bearer entra-2"


async def test_a_client_token_is_signed_with_a_key_that_the_service_lends(
    recorder: Recorder,
) -> None:
    recorder.status = 200
    recorder.body = json.dumps({"AccessKey": KEY, "KeyId": "lent-1"}).encode()
    async with ServiceClient(recorder.url, credential=FakeCredential()) as client:
        hub = client.hub("chat")
        tokens = [(await hub.negotiate_by_identity(user_id="ann")).access_token for _ in range(2)]
        with pytest.raises(ConfigError, match="no AccessKey"):
            hub.negotiate()

    assert recorder.only.target == "/api/v1/auth/accessKey"
    claims = decode_token(tokens[1], [KEY], now=int(time.time()))
    assert claims["asrs.s.uid"] == "ann"
    assert payload_of(tokens[0])["aud"] == "http://127.0.0.1/client/?hub=chat"


@pytest.mark.parametrize("answer", [{}, {"KeyId": 1, "AccessKey": "x"}, {"KeyId": "x"}, []])
async def test_a_lent_key_has_its_fields(recorder: Recorder, answer: Any) -> None:
    recorder.status, recorder.body = 200, json.dumps(answer).encode()
    async with ServiceClient(recorder.url, credential=FakeCredential()) as client:
        with pytest.raises(ServiceError, match="Missing required <"):
            await client.hub("chat").negotiate_by_identity()


async def test_without_a_credential_the_access_key_signs(
    recorder: Recorder, recorded: HubContext
) -> None:
    negotiation = await recorded.negotiate_by_identity(user_id="ann")

    assert decode_token(negotiation.access_token, [KEY], now=int(time.time()))
    assert recorder.asked == []


async def test_a_program_without_a_loop_waits_for_the_same_calls(service: Service) -> None:
    inside = await service.connect("chat", "ann")

    def script() -> list[Any]:
        with SyncServiceClient(service.connection_string) as client:
            hub = client.hub("chat")
            hub.user_groups.add("ann", "g")
            hub.clients.group("g").send("hello", 1)
            hub.clients.all.send("end")
            found = [user.user_id for user in hub.client_manager.users()]
            with pytest.raises(ServiceError):
                hub.clients.client("gone").invoke("x")
            return [
                found,
                client.is_healthy(),
                hub.negotiate(user_id="bob").url,
                hub.name,
                repr(hub),
                repr(client),
            ]

    told = await asyncio.to_thread(script)

    assert told == [
        ["ann"],
        True,
        f"{service.url}/client/?hub=chat",
        "chat",
        "Blocking(HubContext('chat'))",
        f"SyncServiceClient(Endpoint('{service.url}'))",
    ]
    assert await inside.calls(2) == [("hello", [1]), ("end", [])]
