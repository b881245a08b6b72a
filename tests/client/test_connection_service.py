"""Hub clients on the real service, over each transport in each encoding, whole and broken."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.client.scripted import Wire, serving, soon
from tests.service.running import Running, Service

from hubbub.client import Backoff, ConnectError, ConnectionLostError, HubClient, HubError
from hubbub.client.transports.sse import EventReader
from hubbub.errors import ProtocolError
from hubbub.service.settings import ServiceSettings

AT_ONCE = Backoff(delays=(0,))
WIRES = [
    ("WebSockets", "json"),
    ("WebSockets", "messagepack"),
    ("ServerSentEvents", "json"),
    ("LongPolling", "json"),
    ("LongPolling", "messagepack"),
]
ON_EVERY_WIRE = pytest.mark.parametrize(("transport", "encoding"), WIRES)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    # Polls end again and again here, and a client that stays away is not missed.
    settings = ServiceSettings(poll_timeout=0.002, poll_interval=3600)
    async with Running(settings) as service:
        yield service


class Heard:
    """A client of the hub `chat`, and what it was called with."""

    def __init__(self, service: Service, url: str | None = None, **options: Any) -> None:
        self.client = HubClient(
            f"{url or service.url}/client/?hub=chat",
            access_token=lambda: service.token("chat", "ann"),
            **options,
        )
        self.calls: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.reconnected = asyncio.Event()
        self.client.on("say")(lambda *arguments: self.calls.put_nowait(arguments))
        self.client.on_reconnected(lambda _: self.reconnected.set())

    async def next(self) -> tuple[Any, ...]:
        return await soon(self.calls.get())


@ON_EVERY_WIRE
async def test_messages_arrive_in_order(service: Service, transport: Any, encoding: Any) -> None:
    heard = Heard(service, transport=transport, encoding=encoding)

    async with heard.client as client:
        assert client.connection_id == service.only_connection().id
        for number in range(50):
            await service.send("say", number, "hé\n", {"n": None})

        calls = [await heard.next() for _ in range(50)]
    assert calls == [(number, "hé\n", {"n": None}) for number in range(50)]


@ON_EVERY_WIRE
async def test_a_message_of_many_bytes_arrives_whole(
    service: Service, transport: Any, encoding: Any
) -> None:
    heard = Heard(service, transport=transport, encoding=encoding)
    text = "x" * 700_000

    async with heard.client:
        await service.send("say", text)

        assert await heard.next() == (text,)


@ON_EVERY_WIRE
async def test_groups_users_and_connections_reach_the_client(
    service: Service, transport: Any, encoding: Any
) -> None:
    heard = Heard(service, transport=transport, encoding=encoding)

    async with heard.client as client:
        await service.send("say", "user", to="/users/ann")
        await service.send("say", "connection", to=f"/connections/{client.connection_id}")

        assert [await heard.next(), await heard.next()] == [("user",), ("connection",)]


@ON_EVERY_WIRE
async def test_the_service_is_told_that_a_client_has_gone(
    service: Service, transport: Any, encoding: Any
) -> None:
    heard = Heard(service, transport=transport, encoding=encoding)
    async with heard.client:
        connection = service.only_connection()
    await soon(_until_gone(service))

    assert connection.state.name in {"CLOSING", "CLOSED"}


@ON_EVERY_WIRE
async def test_a_client_that_is_closed_for_a_while_comes_back(
    service: Service, transport: Any, encoding: Any
) -> None:
    heard = Heard(service, transport=transport, encoding=encoding, reconnect=AT_ONCE)

    async with heard.client as client:
        first = client.connection_id
        service.only_connection().close_slow()
        await soon(heard.reconnected.wait())
        await service.send("say", "again")

        assert await heard.next() == ("again",)
        assert client.connection_id != first


@ON_EVERY_WIRE
async def test_an_answer_finds_its_invocation(
    service: Service, transport: Any, encoding: Any
) -> None:
    heard = Heard(service, transport=transport, encoding=encoding, reconnect=None)

    async with heard.client as client:
        with pytest.raises(HubError, match="no upstream"):
            await soon(client.invoke("hello"))
        with pytest.raises(ConnectionLostError, match="no upstream"):
            await soon(client.wait_closed())


async def test_the_best_transport_is_taken_without_being_asked_for(service: Service) -> None:
    heard = Heard(service)

    async with heard.client:
        assert service.only_connection().wire.name == "websocket/json"


async def test_a_token_that_the_service_refuses_is_explained(service: Service) -> None:
    client = HubClient(f"{service.url}/client/?hub=chat", access_token="nonsense")

    with pytest.raises(ConnectError, match="answered 401"):
        await client.open()


@pytest.mark.parametrize("encoding", ["json", "messagepack"])
async def test_a_wire_that_breaks_loses_and_repeats_nothing_with_stateful_reconnect(
    service: Service, encoding: Any
) -> None:
    async with Wire(service.url).laid() as wire:
        heard = Heard(service, wire.url, encoding=encoding, stateful=True, reconnect=None)
        async with heard.client as client:
            connection_id = client.connection_id
            for number in range(100):
                await service.send("say", number)
                if number % 10 == 5:
                    wire.cut()

            calls = [await heard.next() for _ in range(100)]
            assert client.connection_id == connection_id

    assert calls == [(number,) for number in range(100)]
    assert heard.calls.empty()


async def _until_gone(service: Service) -> None:
    # The service has nothing to wait on for this.
    while (hub := service.node.registry.hub("chat")) is not None and hub.connections:  # noqa: ASYNC110
        await asyncio.sleep(0)


def test_events_are_cut_out_of_a_stream_wherever_it_is_cut() -> None:
    stream = b":\r\ndata: one\x1e\r\n\r\nevent: x\nid: 1\ndata:two\ndata: \r\n\r\ndata: three\n\n\n"
    expected = [b"one\x1e", b"two\n", b"three"]

    for size in range(1, len(stream) + 1):
        reader = EventReader(100)
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert [event for piece in pieces for event in reader.feed(piece)] == expected


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 100, b"data: 12345\n" * 10])
def test_an_event_without_end_is_not_waited_for(stream: bytes) -> None:
    with pytest.raises(ProtocolError, match="larger than 100 bytes"):
        EventReader(100).feed(stream)


@pytest.mark.parametrize(
    ("transport", "status", "text"),
    [
        ("ServerSentEvents", 200, "The server ended the stream of events"),
        ("LongPolling", 204, "The server ended the polling"),
        ("LongPolling", 404, "The server answered 404 to a poll"),
    ],
)
async def test_a_server_that_stops_answering_requests_is_left(
    transport: Any, status: int, text: str
) -> None:
    """The handshake is answered, and then nothing more."""
    got_handshake = asyncio.Event()
    polls: list[str] = []

    async def negotiate(_: web.Request) -> web.Response:
        offer = {"transport": transport, "transferFormats": ["Text"]}
        return web.json_response({"connectionId": "c", "availableTransports": [offer]})

    async def receive(request: web.Request) -> web.StreamResponse:
        polls.append(request.query.get("_", "events"))
        if transport == "ServerSentEvents":
            response = web.StreamResponse()
            await response.prepare(request)
            await got_handshake.wait()
            await response.write(b"data: {}\x1e\r\n\r\n")
            return response
        if len(polls) == 1:
            return web.Response()
        await got_handshake.wait()
        return web.Response(text="{}\x1e") if len(polls) == 2 else web.Response(status=status)

    async def send(request: web.Request) -> web.Response:
        assert request.content_type == "text/plain"
        got_handshake.set()
        return web.Response()

    def routes(app: web.Application) -> None:
        app.router.add_post("/negotiate", negotiate)
        app.router.add_get("/", receive)
        app.router.add_post("/", send)

    async with serving(routes) as url:
        client = HubClient(url + "/", reconnect=None)
        async with client:
            with pytest.raises(ConnectionLostError, match=text):
                await soon(client.wait_closed())


class Polled:
    """A server of long polls that answers the handshake, then as the test says."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.answers: asyncio.Queue[web.Response] = asyncio.Queue()
        self.answers.put_nowait(web.Response())
        self.post_status = 200

    async def negotiate(self, _: web.Request) -> web.Response:
        offer = {"transport": "LongPolling", "transferFormats": ["Text"]}
        return web.json_response({"connectionId": "c", "availableTransports": [offer]})

    async def answer(self, request: web.Request) -> web.Response:
        self.methods.append(request.method)
        if request.method == "GET":
            return await self.answers.get()
        if request.method == "POST":
            if b"protocol" in await request.read():
                self.answers.put_nowait(web.Response(text="{}\x1e"))
            return web.Response(status=self.post_status)
        return web.Response(status=202)

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/negotiate", self.negotiate)
        app.router.add_route("*", "/", self.answer)


async def test_a_message_that_the_server_refuses_ends_the_connection() -> None:
    server = Polled()
    server.post_status = 413
    async with serving(server.routes) as url:
        with pytest.raises(ConnectionLostError, match="answered 413 to a message"):
            await soon(HubClient(url + "/").open())


async def test_what_the_server_says_last_is_worth_more_than_that_it_takes_no_more() -> None:
    server = Polled()
    async with serving(server.routes) as url, HubClient(url + "/", reconnect=None) as client:
        server.post_status = 404
        with pytest.raises(ConnectionLostError, match="lost while sending"):
            await client.send("hello")
        server.answers.put_nowait(web.Response(text='{"type":7,"error":"final"}\x1e'))

        with pytest.raises(ConnectionLostError, match="error on close: final"):
            await soon(client.wait_closed())


@pytest.mark.parametrize("ended_by", ["client", "server"])
async def test_a_polling_server_is_told_unless_it_knows(ended_by: str) -> None:
    server = Polled()
    async with serving(server.routes) as url:
        async with HubClient(url + "/", reconnect=None) as client:
            if ended_by == "server":
                server.answers.put_nowait(web.Response(status=204))
                with pytest.raises(ConnectionLostError, match="ended the polling"):
                    await soon(client.wait_closed())
        server.answers.put_nowait(web.Response(status=204))

    assert ("DELETE" in server.methods) == (ended_by == "client")
