"""Retries, idempotency keys and signatures of single deliveries."""

import asyncio

import pytest
from aiohttp import web
from tests.service.upstream_app import App, Received, running_app

from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.protocol.upstreamtemplate import Template
from hubbub.protocol.webhooks import Event
from hubbub.service.upstream.delivery import Courier
from hubbub.service.upstream.outcome import Kind, Outcome

CONNECTED = Event(hub="chat", category="connections", event="connected", connection_id="c")
MESSAGE = Event(hub="chat", category="messages", event="m", connection_id="c")


class Statuses:
    """An app's behaviour: one status after another, 200 at the end."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)

    async def __call__(self, received: Received) -> web.StreamResponse:
        return web.Response(status=self._statuses.pop(0) if self._statuses else 200)


async def deliver(url: str, event: Event, retries: int) -> tuple[Outcome, list[float]]:
    """The outcome of one delivery, and the pauses in it."""
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    template = Template(url_template=url, retries=retries, timeout=5)
    courier = Courier(["k" * 32], UpstreamSettings(templates=(template,)), pause=pause)
    try:
        return await courier.deliver(event, template, "application/json", b"{}"), pauses
    finally:
        await courier.close()


def keys(app: App) -> set[str]:
    return {request.headers.get("Idempotency-Key", "") for request in app.received}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_connection_event_is_repeated_with_the_same_key(status: int) -> None:
    async with running_app(Statuses(status, status)) as app:
        outcome, pauses = await deliver(app.url, CONNECTED, retries=3)

    assert (outcome.kind, outcome.status, outcome.attempts) == (Kind.ANSWERED, 200, 3)
    assert len(app.received) == 3
    assert len(keys(app)) == 1
    assert "" not in keys(app)
    assert 0.25 <= pauses[0] <= 0.5
    assert 0.5 <= pauses[1] <= 1.0


async def test_repeating_ends() -> None:
    async with running_app(Statuses(*[503] * 99)) as app:
        outcome, pauses = await deliver(app.url, CONNECTED, retries=10)

    assert (outcome.status, outcome.attempts, len(app.received)) == (503, 11, 11)
    assert max(pauses) <= 10


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_would_end_the_same_is_not_repeated(status: int) -> None:
    async with running_app(Statuses(status)) as app:
        outcome, pauses = await deliver(app.url, CONNECTED, retries=3)

    assert (outcome.status, outcome.attempts, pauses) == (status, 1, [])


async def test_a_message_that_has_been_sent_is_never_repeated() -> None:
    async with running_app(Statuses(503)) as app:
        outcome, pauses = await deliver(app.url, MESSAGE, retries=3)

    assert (outcome.status, outcome.attempts, pauses) == (503, 1, [])


async def test_a_message_that_may_have_been_sent_is_never_repeated() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        outcome, pauses = await deliver(url, MESSAGE, retries=3)
        repeated, _ = await deliver(url, CONNECTED, retries=1)

    assert (outcome.kind, outcome.attempts, pauses) == (Kind.BROKEN, 1, [])
    assert (repeated.kind, repeated.attempts) == (Kind.BROKEN, 2)


async def test_a_message_that_could_not_be_sent_is_repeated() -> None:
    outcome, pauses = await deliver("http://127.0.0.1:1/", MESSAGE, retries=2)

    assert (outcome.kind, outcome.attempts, len(pauses)) == (Kind.UNREACHABLE, 3, 2)


async def test_nothing_is_repeated_unless_the_template_says_so() -> None:
    async with running_app(Statuses(503)) as app:
        outcome, _pauses = await deliver(app.url, CONNECTED, retries=0)

    assert outcome.attempts == 1
    assert keys(app) == {""}


async def test_each_event_has_a_key_of_its_own() -> None:
    async with running_app() as app:
        app.behaviour = Statuses()
        await deliver(app.url, CONNECTED, retries=1)
        await deliver(app.url, CONNECTED, retries=1)

    assert len(keys(app)) == 2
