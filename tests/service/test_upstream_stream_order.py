"""In which order an app gets the call of a stream and what its client says around it."""

import asyncio

from aiohttp import web
from tests.service.streaming_app import Sender, cancel, count, end, heard, stream, streaming
from tests.service.upstream_app import (
    Received,
    completion,
    invoke,
    running_app,
    running_service,
)

from hubbub.protocol.upstreamtemplate import Template


async def test_what_a_client_says_after_it_asked_for_a_stream_comes_after_it() -> None:
    gate = asyncio.Event()

    async def slow(sender: Sender, received: Received) -> web.StreamResponse:
        await gate.wait()
        return await count(sender, received)

    async with streaming(slow, max_client_streams=20) as (service, app):
        client = await service.connect()
        expected = ["connected"]
        for number in range(20):
            await invoke(client, f"before {number}", id_=None)
            await stream(client, f"stream {number}", 0, id_=f"s{number}")
            await invoke(client, f"after {number}", id_=None)
            expected += [f"before {number}", f"stream {number}", f"after {number}"]

        assert await app.next_events(len(expected)) == expected
        gate.set()


async def test_an_app_that_cannot_be_reached_holds_up_what_is_for_another_for_a_moment() -> None:
    pauses: asyncio.Queue[float] = asyncio.Queue()
    gate = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await gate.wait()

    async with running_app() as app:
        templates = (
            Template(url_template="http://127.0.0.1:1/", event_pattern="gone", retries=1),
            Template(url_template=app.url, category_pattern="messages"),
        )
        async with running_service(*templates) as service:
            service.node.upstream.courier._pause = pause
            client = await service.connect()
            await stream(client, "gone")
            await pauses.get()
            await invoke(client, "here", id_="1")

            answer = await completion(client)
            assert (answer.invocation_id, answer.error) == ("1", None)
            await cancel(client)
            assert await heard(client) == ([], end())
            gate.set()
