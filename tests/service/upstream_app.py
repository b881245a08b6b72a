"""An app behind a service's webhooks, which hears what it is sent and answers as a test says.

It is plain aiohttp, and reads webhooks with what the package offers to apps. Holds no fixtures.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.service.running import PATIENCE, Client, Running, Service

from hubbub.protocol.messages import Completion, Invocation, Ping
from hubbub.protocol.upstreamtemplate import Template
from hubbub.protocol.webhooks import Webhook, parse_webhook
from hubbub.service.session import Connection
from hubbub.service.settings import ServiceSettings


@dataclass
class Received:
    """One request as the app has received it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def webhook(self) -> Webhook:
        return parse_webhook(self.headers, self.body)

    @property
    def event(self) -> str:
        return self.headers["X-ASRS-Event"]


Behaviour = Callable[[Received], Awaitable[web.StreamResponse]]


async def echo(received: Received) -> web.StreamResponse:
    """Answer with the arguments of the call; accept everything else."""
    return web.Response(body=received.webhook.complete(received.webhook.arguments))


def answering(**response: Any) -> Behaviour:
    """A behaviour that answers messages like this, and accepts connection events."""

    async def answer(received: Received) -> web.StreamResponse:
        is_message = received.headers["X-ASRS-Category"] == "messages"
        return web.Response(**response) if is_message else web.Response()

    return answer


@dataclass
class App:
    """A running app."""

    url: str
    behaviour: Behaviour
    received: list[Received] = field(default_factory=list)
    _queue: asyncio.Queue[Received] = field(default_factory=asyncio.Queue)

    async def next(self) -> Received:
        """The next request that nobody has asked for yet."""
        async with asyncio.timeout(PATIENCE):
            return await self._queue.get()

    async def next_events(self, count: int) -> list[str]:
        """The events of the next requests."""
        return [(await self.next()).event for _ in range(count)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        received = Received(request.raw_path, dict(request.headers), await request.read())
        self.received.append(received)
        self._queue.put_nowait(received)
        return await self.behaviour(received)


@asynccontextmanager
async def running_app(behaviour: Behaviour = echo) -> AsyncIterator[App]:
    """An app on a free port."""
    app = App("", behaviour)
    application = web.Application(client_max_size=2**26)
    application.router.add_route("*", "/{path:.*}", app.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        app.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield app
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running_service(*templates: Template, **settings: Any) -> AsyncIterator[Service]:
    """A service with these templates, which delivers all it has to before it ends."""
    node = None
    try:
        async with Running(ServiceSettings(upstream_templates=templates, **settings)) as service:
            node = service.node
            yield service
    finally:
        if node is not None:
            await node.upstream.close(PATIENCE)


@asynccontextmanager
async def upstream(
    behaviour: Behaviour = echo, *, path: str = "/webhook", template: Any = None, **settings: Any
) -> AsyncIterator[tuple[Service, App]]:
    """A service and the app that all its events go to."""
    async with running_app(behaviour) as app:
        one = Template(url_template=app.url + path, **(template or {}))
        async with running_service(one, **settings) as service:
            yield service, app


async def invoke(client: Client, target: str, *arguments: Any, id_: str | None = "1") -> None:
    """Call a method as a client does; without an id as its `send` does."""
    codec = client.codec
    raw = codec.encode_value(list(arguments))
    await client.socket.send(
        codec.encode(Invocation(target=target, arguments=raw, invocation_id=id_))
        if codec.is_binary
        else codec.encode(Invocation(target=target, arguments=raw, invocation_id=id_)).decode()
    )


async def completion(client: Client) -> Completion:
    """The next message but pings, which is a completion."""
    async with asyncio.timeout(PATIENCE):
        while isinstance(message := await client.message(), Ping):
            pass
    assert isinstance(message, Completion), message
    return message


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0)


async def until_idle(connection: Connection) -> None:
    """Wait until nothing that the client said is under way."""
    await until(lambda: connection.inbox is None)


async def until_full(connection: Connection) -> None:
    """Wait until the client is not listened to."""
    await until(lambda: connection.inbox is not None and connection.inbox.is_full)


async def result(client: Client, target: str, *arguments: Any) -> Any:
    """What an invoke gives its client: the result, or the error as text."""
    await invoke(client, target, *arguments)
    message = await completion(client)
    if message.error is not None:
        return message.error
    return None if not message.result else client.codec.decode_value(message.result)
