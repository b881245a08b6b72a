"""Methods that yield: each item goes to the client that asked, and every end is told."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from tests.client.recording import Recorder
from tests.serverless.calling import NOWHERE, Host

from hubbub.serverless import (
    ArgumentError,
    RefusedError,
    ServerlessHub,
    StreamingError,
    requires_claim,
)

STREAM = {"X-Hubbub-Stream-Id": "s%2F1"}
PATH = "/api/hubs/chat/connections/c1/streams/s%2F1"
GONE = ["Error.Stream.NotExisted", "Error.Connection.NotExisted", "Warning.Connection.NotExisted"]


class Chat(ServerlessHub):
    """What a generator does is noted in `notes`."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        super().__init__(recorder.connection_string if recorder is not None else NOWHERE)
        self.recorder = recorder
        self.notes: list[Any] = []
        self.waits = asyncio.Event()

    async def count(self, most: int) -> AsyncIterator[int]:
        try:
            for number in range(most):
                self.notes.append((number, self._sent()))
                yield number
        finally:
            self.notes.append("closed")

    def count_plainly(self, most: int) -> Iterator[int]:
        try:
            for number in range(most):
                self.notes.append((number, self._sent()))
                yield number
        finally:
            self.notes.append("closed")

    async def fail(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more")

    def fail_plainly(self) -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    async def whatever(self) -> AsyncIterator[Any]:
        yield {"id": self.context.stream_id, "text": "ä"}
        yield None
        yield 1j

    async def wait(self) -> AsyncGenerator[str, None]:
        try:
            yield "first"
            self.waits.set()
            await asyncio.Event().wait()
        finally:
            await self.clients.all.send("closed")

    @requires_claim("admin")
    async def guarded(self) -> AsyncIterator[int]:
        yield 1

    async def add(self, first: int) -> int:
        return first + 1

    def add_plainly(self, first: int) -> int:
        return first + 1

    def _sent(self) -> int:
        return len(self.recorder.asked) if self.recorder is not None else 0


COUNT = pytest.mark.parametrize("method", ["count", "count_plainly"])


def told(recorder: Recorder) -> list[Any]:
    """What the service was asked: items, and errors that end the stream."""
    found: list[Any] = []
    for asked in recorder.asked:
        parts = urlsplit(asked.target)
        assert parts.path.rpartition("/")[0] == PATH, asked.target
        verb = parts.path.rpartition("/")[2]
        if verb == ":send":
            found.append(json.loads(asked.body))
        else:
            found.append((verb, unquote(parts.query.partition("error=")[2])))
    return found


@COUNT
async def test_each_item_is_sent_before_the_next_is_asked_for(
    recorder: Recorder, method: str
) -> None:
    chat = Chat(recorder)

    returned = await Host(chat).call(method, 3, Headers=STREAM)

    assert returned is None  # which ends the stream, as the answer to its webhook
    assert told(recorder) == [0, 1, 2]
    assert chat.notes == [(0, 0), (1, 1), (2, 2), "closed"]
    await chat.close()


@COUNT
async def test_a_stream_without_items_is_one(recorder: Recorder, method: str) -> None:
    assert await Host(Chat(recorder)).call(method, 0, Headers=STREAM) is None
    assert told(recorder) == []


@COUNT
@pytest.mark.parametrize("code", GONE)
async def test_a_generator_whose_client_left_is_closed_at_the_next_item(
    recorder: Recorder, method: str, code: str
) -> None:
    recorder.status, recorder.headers = 404, {"x-ms-error-code": code}
    chat = Chat(recorder)

    assert await Host(chat).call(method, 1_000_000, Headers=STREAM) is None

    assert told(recorder) == [0]
    assert chat.notes == [(0, 0), "closed"]
    await chat.close()


@COUNT
@pytest.mark.parametrize("status", [404, 413, 500])
async def test_an_item_that_the_service_does_not_take_ends_the_stream_with_an_error(
    recorder: Recorder, method: str, status: int
) -> None:
    recorder.status = status
    chat = Chat(recorder)

    with pytest.raises(StreamingError, match=r"^An item of the stream could not be sent\.$"):
        await Host(chat).call(method, 10, Headers=STREAM)

    assert told(recorder) == [
        0,
        (":complete", "StreamingError: An item of the stream could not be sent."),
    ]
    assert chat.notes == [(0, 0), "closed"]
    await chat.close()


@pytest.mark.parametrize("method", ["fail", "fail_plainly"])
async def test_what_is_raised_ends_the_stream_and_is_the_hosts_to_log(
    recorder: Recorder, method: str
) -> None:
    chat = Chat(recorder)

    with pytest.raises(ValueError, match="no more"):
        await Host(chat).call(method, Headers=STREAM)

    assert told(recorder) == [1, (":complete", "ValueError: no more")]
    await chat.close()


async def test_items_are_json_and_what_is_not_ends_the_stream(recorder: Recorder) -> None:
    with pytest.raises(TypeError, match="A complex is not JSON"):
        await Host(Chat(recorder)).call("whatever", Headers=STREAM)

    first, second, (verb, error) = told(recorder)
    assert (first, second) == ({"id": "s/1", "text": "ä"}, None)
    assert (verb, error[:28]) == (":complete", "TypeError: A complex is not ")


@pytest.mark.parametrize("method", ["count", "count_plainly", "add", "add_plainly"])
async def test_arguments_that_do_not_fit_end_the_stream(recorder: Recorder, method: str) -> None:
    chat = Chat(recorder)
    headers = STREAM if method.startswith("count") else {}

    with pytest.raises(ArgumentError, match="does not fit"):
        await Host(chat).call(method, "many", Headers=headers)

    errors = [error for _, error in told(recorder)]
    assert [error[:25] for error in errors] == ["ArgumentError: Argument 1"] * bool(headers)
    assert chat.notes == []
    await chat.close()


async def test_a_refused_stream_ends_with_what_the_check_has_raised(recorder: Recorder) -> None:
    with pytest.raises(RefusedError):
        await Host(Chat(recorder)).call("guarded", Headers=STREAM)

    ((_, error),) = told(recorder)
    assert error.startswith("RefusedError: guarded needs the claim 'admin'")


@COUNT
async def test_a_stream_that_is_invoked_is_an_error_and_does_not_begin(method: str) -> None:
    chat = Chat()

    error = rf"attempted to invoke the streaming '{method}' method with a non-streaming"
    with pytest.raises(StreamingError, match=error):
        await Host(chat).call(method, 1)

    assert chat.notes == []


@pytest.mark.parametrize("method", ["add", "add_plainly"])
async def test_a_method_that_returns_cannot_be_streamed(recorder: Recorder, method: str) -> None:
    chat = Chat(recorder)
    error = (
        f"The client attempted to invoke the non-streaming '{method}' method with a streaming "
        "invocation."
    )

    with pytest.raises(StreamingError) as caught:
        await Host(chat).call(method, 1, Headers=STREAM)

    assert str(caught.value) == error
    assert told(recorder) == [(":complete", f"StreamingError: {error}")]
    await chat.close()


async def test_a_service_that_is_away_hides_no_error_of_the_app() -> None:
    with pytest.raises(ArgumentError):
        await Host(Chat()).call("count", Headers=STREAM)


@COUNT
async def test_a_service_that_is_away_ends_the_generator(method: str) -> None:
    chat = Chat()

    with pytest.raises(StreamingError, match="could not be sent"):
        await Host(chat).call(method, 1_000_000, Headers=STREAM)

    assert chat.notes == [(0, 0), "closed"]
    await chat.close()


async def test_a_cancelled_function_closes_its_generator(recorder: Recorder) -> None:
    chat = Chat(recorder)
    running = asyncio.ensure_future(Host(chat).call("wait", Headers=STREAM))
    await chat.waits.wait()

    running.cancel()
    await asyncio.wait({running})

    assert running.cancelled()
    assert [asked.target.partition("?")[0] for asked in recorder.asked] == [
        f"{PATH}/:send",
        "/api/hubs/chat/:send",
    ]
    await chat.close()


async def test_plain_generators_run_in_the_hosts_threads(recorder: Recorder) -> None:
    threads = set[str]()

    class Plain(ServerlessHub, hub_name="chat"):
        def who(self) -> Iterator[str]:
            threads.add(threading.current_thread().name)
            yield self.context.connection_id

    plain = Plain(recorder.connection_string)
    await Host(plain).call("who", Headers=STREAM)

    assert told(recorder) == ["c1"]
    assert threading.main_thread().name not in threads
    await plain.close()
