"""An app that answers streams by REST, and raw clients that ask for them. Holds no fixtures."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from tests.service.running import Answer, Client, Service
from tests.service.upstream_app import App, Received, echo, upstream

from hubbub.protocol.messages import CancelInvocation, Completion, Message, Ping, StreamInvocation
from hubbub.protocol.messages import StreamItem as Item
from hubbub.protocol.webhooks import STREAM_ID


class Sender:
    """What an app does for one stream: it sends items and the end by REST."""

    def __init__(self, service: Service, received: Received) -> None:
        webhook = received.webhook
        assert webhook.stream_id is not None
        self._service = service
        self._path = (
            f"/api/hubs/{webhook.hub}/connections/{webhook.connection_id}"
            f"/streams/{webhook.stream_id}"
        )

    async def send(self, item: Any, query: str = "") -> Answer:
        body = json.dumps(item).encode()
        return await self._service.rest("POST", f"{self._path}/:send{query}", body)

    async def complete(self, query: str = "") -> Answer:
        return await self._service.rest("POST", f"{self._path}/:complete{query}")


Streaming = Callable[[Sender, Received], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def streaming(behaviour: Streaming, **options: Any) -> AsyncIterator[tuple[Service, App]]:
    """A service and an app that answers streams like this, and calls with their arguments."""

    async def answer(received: Received) -> web.StreamResponse:
        if STREAM_ID not in received.headers:
            return await echo(received)
        return await behaviour(Sender(service, received), received)

    async with upstream(answer, **options) as (service, app):
        yield service, app


async def stream(client: Client, target: str, *arguments: Any, id_: str = "s1") -> None:
    """Ask for a stream."""
    raw = client.codec.encode_value(list(arguments))
    await send(client, StreamInvocation(target=target, arguments=raw, invocation_id=id_))


async def cancel(client: Client, id_: str = "s1") -> None:
    await send(client, CancelInvocation(invocation_id=id_))


async def send(client: Client, message: Message) -> None:
    data = client.codec.encode(message)
    await client.socket.send(data if client.codec.is_binary else data.decode())


async def heard(client: Client) -> tuple[list[Any], Completion]:
    """The items of the only stream, up to its end."""
    items = []
    while not isinstance(message := await client.message(), Completion):
        assert isinstance(message, Item | Ping), message
        if isinstance(message, Item):
            items.append(client.codec.decode_value(message.item))
    return items, message


def end(error: str | None = None, id_: str = "s1") -> Completion:
    return Completion(invocation_id=id_, error=error)


async def count(sender: Sender, received: Received) -> web.StreamResponse:
    """Send as many numbers as the client asks for, then answer the call."""
    for number in range(received.webhook.arguments[0]):
        assert (await sender.send(number)).status == 202
    return web.Response(body=received.webhook.complete())
