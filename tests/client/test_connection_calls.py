"""What a hub client and its hub ask of each other: invocations, results, streams."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.client.scripted import PATIENCE, Peer, ScriptedHub, connect, scripted_hub, soon

from hubbub.client import ConnectionLostError, HubClient, HubError
from hubbub.errors import ProtocolError
from hubbub.protocol.messages import (
    CancelInvocation,
    Close,
    Completion,
    StreamInvocation,
    StreamItem,
)

ENCODINGS = ["json", "messagepack"]


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


async def answered(peer: Peer, invocation_id: str) -> Completion:
    """The completion that the client sends for what it was asked."""
    message = await peer.message()
    assert isinstance(message, Completion)
    assert message.invocation_id == invocation_id
    return message


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_handlers_plain_and_async_are_called_with_the_arguments(
    hub: ScriptedHub, encoding: Any
) -> None:
    client = HubClient(hub.url, encoding=encoding)
    called: asyncio.Queue[Any] = asyncio.Queue()

    @client.on("newMessage")
    def plain(user: str, body: Any) -> None:
        called.put_nowait(("plain", user, body))

    @client.on("newMessage")
    async def later(user: str, body: Any) -> None:
        called.put_nowait(("async", user, body))

    peer = await connect(client, hub)
    await peer.call("NEWmessage", "ann", {"text": "hé", "n": [1, None]})

    assert await soon(called.get()) == ("plain", "ann", {"text": "hé", "n": [1, None]})
    assert await soon(called.get()) == ("async", "ann", {"text": "hé", "n": [1, None]})
    await client.close()


async def test_handlers_run_one_at_a_time_in_the_order_of_arrival(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    log: list[str] = []
    done = asyncio.Event()

    @client.on("step")
    async def step(number: int) -> None:
        log.append(f"begin {number}")
        await asyncio.sleep(0)
        log.append(f"end {number}")
        if number == 3:
            done.set()

    peer = await connect(client, hub)
    for number in (1, 2, 3):
        await peer.call("step", number)
    await soon(done.wait())

    assert log == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]
    await client.close()


async def test_a_handler_that_fails_does_not_keep_the_next_from_running(
    hub: ScriptedHub, caplog: pytest.LogCaptureFixture
) -> None:
    client = HubClient(hub.url)
    called = asyncio.Event()

    @client.on("first")
    def first() -> None:
        raise ValueError("no good")

    client.on("second")(called.set)
    peer = await connect(client, hub)
    await peer.call("first")
    await peer.call("first", "an argument too many")
    await peer.call("second")
    await soon(called.wait())

    failures = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in failures] == ["A handler for 'first' failed."] * 2
    await client.close()


async def test_a_handler_that_waits_for_what_is_cancelled_ends_none_but_itself(
    hub: ScriptedHub,
) -> None:
    client = HubClient(hub.url)
    client.on("next")(lambda: "heard")

    @client.on("wait")
    async def wait() -> None:
        other = asyncio.ensure_future(asyncio.sleep(PATIENCE))
        other.cancel()
        await other

    peer = await connect(client, hub)
    await peer.call("wait", invocation_id="1")
    await peer.call("next", invocation_id="2")

    assert "was cancelled" in str((await answered(peer, "1")).error)
    assert peer.value((await answered(peer, "2")).result) == "heard"
    await client.close()


async def test_a_handler_that_was_taken_away_is_not_called(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    called: asyncio.Queue[str] = asyncio.Queue()

    def first() -> None:
        called.put_nowait("first")

    client.on("hello")(first)
    client.on("hello")(lambda: called.put_nowait("second"))
    client.on("bye")(first)
    client.off("Hello", first)
    client.off("BYE")
    client.off("never")
    client.on("end")(lambda: called.put_nowait("end"))
    peer = await connect(client, hub)
    for target in ("hello", "bye", "end"):
        await peer.call(target)

    assert [await soon(called.get()), await soon(called.get())] == ["second", "end"]
    await client.close()


async def test_targets_without_a_handler_go_to_the_handler_for_those(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    called: asyncio.Queue[Any] = asyncio.Queue()
    client.on("known")(lambda *arguments: called.put_nowait(("known", arguments)))
    client.on_unhandled(lambda *arguments: called.put_nowait(("unhandled", arguments)))
    peer = await connect(client, hub)

    await peer.call("other", 1)
    await peer.call("known", 2)

    assert await soon(called.get()) == ("unhandled", ("other", 1))
    assert await soon(called.get()) == ("known", (2,))
    await client.close()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", [{"a": 1}, 0, "", [], None], ids=repr)
async def test_what_a_handler_returns_is_the_result(
    hub: ScriptedHub, encoding: Any, value: Any
) -> None:
    client = HubClient(hub.url, encoding=encoding)

    @client.on("ask")
    async def ask() -> Any:
        return value

    peer = await connect(client, hub)
    await peer.call("ask", invocation_id="7")

    completion = await answered(peer, "7")
    assert completion.error is None
    assert peer.value(completion.result) == value
    await client.close()


def returns_one() -> int:
    return 1


def fails() -> None:
    raise ValueError("no good")


def fails_silently() -> None:
    raise ValueError


def returns_what_cannot_be_sent() -> object:
    return object()


@pytest.mark.parametrize(
    ("handlers", "error"),
    [
        ([], "Client didn't provide a result."),
        ([returns_one, returns_one], "Client provided multiple results."),
        ([fails], "no good"),
        ([fails_silently], "ValueError"),
        ([returns_one, fails], "no good"),
        ([returns_what_cannot_be_sent], "The client's result cannot be sent: "),
    ],
)
@pytest.mark.filterwarnings("default")
async def test_a_result_that_cannot_be_had_is_an_error_for_the_hub(
    hub: ScriptedHub, handlers: list[Any], error: str
) -> None:
    client = HubClient(hub.url)
    for handler in handlers:
        client.on("ask")(handler)
    peer = await connect(client, hub)

    await peer.call("ask", invocation_id="7")

    completion = await answered(peer, "7")
    assert completion.error is not None
    assert completion.error.startswith(error)
    await client.close()


async def test_a_failure_before_a_result_does_not_spoil_it(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    client.on("ask")(fails)
    client.on("ask")(returns_one)
    peer = await connect(client, hub)

    await peer.call("ask", invocation_id="7")

    assert peer.value((await answered(peer, "7")).result) == 1
    await client.close()


async def test_send_expects_no_answer(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    await client.send("say", "hello", {"to": "all"})

    assert await peer.invocation() == ("say", ["hello", {"to": "all"}], None)
    await client.close()


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_invoke_returns_the_result_that_belongs_to_it(
    hub: ScriptedHub, encoding: Any
) -> None:
    client = HubClient(hub.url, encoding=encoding)
    peer = await connect(client, hub)

    first = asyncio.create_task(client.invoke("add", 1, 2))
    second = asyncio.create_task(client.invoke("add", 3, 4))
    third = asyncio.create_task(client.invoke("nothing"))
    asked = [await peer.invocation() for _ in range(3)]
    await peer.send(Completion(invocation_id=str(asked[2][2])))
    await peer.complete("no such id", "lost")
    await peer.complete(asked[1][2], 7)
    await peer.complete(asked[0][2], 3)

    assert [await soon(one) for one in (first, second, third)] == [3, 7, None]
    await client.close()


async def test_invoke_raises_what_the_hub_says(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    asked = asyncio.create_task(client.invoke("add"))
    _, _, invocation_id = await peer.invocation()
    error = "Invocation failed, status code 404"
    await peer.send(Completion(invocation_id=str(invocation_id), error=error))

    with pytest.raises(HubError, match=error):
        await soon(asked)
    await client.close()


async def test_an_invocation_that_is_answered_by_a_stream_fails(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    asked = asyncio.create_task(client.invoke("count"))
    _, _, invocation_id = await peer.invocation()
    item = peer.codec.encode_value(1)
    await peer.send(StreamItem(invocation_id=str(invocation_id), item=item))

    with pytest.raises(ProtocolError, match=r"Use stream\(\)"):
        await soon(asked)
    await client.close()


async def test_an_answer_that_comes_too_late_is_dropped(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    with pytest.raises(TimeoutError, match=r"'slow' was not answered within 0\.01 seconds"):
        await client.invoke("slow", timeout=0.01)
    _, _, late = await peer.invocation()
    await peer.complete(late, "late")
    asked = asyncio.create_task(client.invoke("quick"))
    _, _, invocation_id = await peer.invocation()
    await peer.complete(invocation_id, "in time")

    assert await soon(asked) == "in time"
    await client.close()


async def test_what_has_no_encoding_is_refused_before_it_is_sent(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    peer = await connect(client, hub)

    for attempt in (client.send("a", object()), client.invoke("b", object())):
        with pytest.raises(TypeError):
            await attempt
    await client.send("c")

    assert await peer.invocation() == ("c", [], None)
    await client.close()


async def test_a_handler_may_invoke_and_wait_for_the_answer(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    results: asyncio.Queue[Any] = asyncio.Queue()

    @client.on("poke")
    async def poke() -> None:
        results.put_nowait(await client.invoke("add", 1, 2))

    peer = await connect(client, hub)
    await peer.call("poke")
    _, _, invocation_id = await peer.invocation()
    await peer.complete(invocation_id, 3)

    assert await soon(results.get()) == 3
    await client.close()


async def test_what_comes_in_one_breath_with_the_handshake_is_heard(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    called: asyncio.Queue[int] = asyncio.Queue()
    client.on("hello")(called.put_nowait)
    opening = asyncio.create_task(client.open())

    peer = await hub.accept()
    await peer.handshake(b'{}\x1e{"type":1,"target":"hello","arguments":[1]}\x1e')

    await soon(opening)
    assert await soon(called.get()) == 1
    await client.close()


async def test_messages_that_a_client_has_no_use_for_change_nothing(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)
    called = asyncio.Event()
    client.on("hello")(called.set)
    peer = await connect(client, hub)
    arguments = peer.codec.encode_value([])

    await peer.send(
        CancelInvocation(invocation_id="9"),
        StreamInvocation(target="hello", arguments=arguments, invocation_id="9"),
        Completion(invocation_id="9"),
    )
    await peer.write(b'{"type":42}\x1e{"type":1,"target":"hello","arguments":[],"new":{}}\x1e')

    await soon(called.wait())
    await client.close()


async def test_without_a_connection_nothing_can_be_asked(hub: ScriptedHub) -> None:
    client = HubClient(hub.url)

    with pytest.raises(ConnectionLostError, match="is disconnected"):
        await client.send("hello")
    peer = await connect(client, hub)
    await client.close()

    assert await peer.message() == Close()
    with pytest.raises(ConnectionLostError, match="is disconnected"):
        await client.invoke("hello")
    with pytest.raises(ConnectionLostError, match="is disconnected"):
        await anext(client.stream("hello"))
