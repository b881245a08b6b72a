"""Invoking a client and waiting for its result; items and ends of streams that go to a client."""

import asyncio
import secrets
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import Raw, UnsetType

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Completion, Message, StreamItem
from hubbub.service.calls import Answer, Call, RestError
from hubbub.service.payload import LazyMessage, decode_payload
from hubbub.service.results import ConnectionLostError
from hubbub.service.router import Envelope, One
from hubbub.service.session import Connection
from hubbub.service.settings import ServiceSettings
from hubbub.service.wire import transcode

__all__ = ["complete_stream", "invoke_connection", "send_to_stream"]

_NULL: Final = Raw(b"null")
_LOOK_SECONDS: Final = 0.02


async def invoke_connection(call: Call) -> Answer | None:
    """POST /api/hubs/{hub}/connections/{connectionId}/:invoke"""
    payload = decode_payload(await call.body(), call.content_type())
    connection = call.connection()
    if connection is None:
        raise _no_connection(f"There is no connection {call.names['connectionId']!r}.")
    codec = connection.wire.codec
    invocation_id = secrets.token_urlsafe(12)
    try:
        invocation = payload.invocation(codec, invocation_id)
    except ProtocolError as error:
        raise RestError(400, str(error), target="body") from None
    answer = call.node.results.expect(connection.id, invocation_id)
    address = One(call.hub, connection.id)
    call.node.router.deliver(Envelope(address, LazyMessage(lambda _: invocation)))
    completion = await _answer(call, answer)
    if completion.error is not None:
        raise RestError(
            400,
            f"The client answered with an error: {completion.error}",
            code="Error.Connection.InvocationFailed",
            target="connectionId",
        )
    return Answer.json({"result": _result(connection, completion), "protocol": codec.name})


async def send_to_stream(call: Call) -> Answer | None:
    """POST /api/hubs/{hub}/connections/{connectionId}/streams/{streamId}/:send"""
    completed = call.query.flag("completed")
    item = _item(await call.body())
    connection, stream_id = _listening(call)
    stream = connection.streams.find(stream_id) if connection.streams is not None else None
    if stream is not None:
        stream.extend(call.node.settings.stream_timeout)
        await _room(connection, call.node.settings)
        _listening(call)  # who has waited may be too late

    def stream_item(codec: Codec) -> Message:
        return StreamItem(invocation_id=stream_id, item=transcode(item, codec))

    address = One(call.hub, connection.id)
    call.node.router.deliver(Envelope(address, LazyMessage(stream_item)))
    if completed:
        _complete(call, connection, None)
    return None


async def complete_stream(call: Call) -> Answer | None:
    """POST /api/hubs/{hub}/connections/{connectionId}/streams/{streamId}/:complete"""
    # The swagger calls it reason, the SDK sends error.
    error = call.query.text("error")
    connection, _ = _listening(call)
    _complete(call, connection, error if error is not None else call.query.text("reason"))
    return None


def _complete(call: Call, connection: Connection, error: str | None) -> None:
    completion = Completion(invocation_id=call.names["streamId"], error=error or None)
    address = One(call.hub, connection.id)
    call.node.router.deliver(Envelope(address, LazyMessage(lambda _: completion)))
    if connection.streams is not None:
        connection.streams.end(call.names["streamId"])


def _listening(call: Call) -> tuple[Connection, str]:
    """The connection and the id of a stream, unless it is known that nobody waits for it.

    A stream that the service does not know may be between the app and its client.
    """
    connection, stream_id = call.connection(), call.names["streamId"]
    if connection is None:
        raise _no_connection(f"There is no connection {call.names['connectionId']!r}.")
    if connection.streams is not None and connection.streams.has_ended(stream_id):
        raise RestError(
            404,
            f"The stream {stream_id!r} has ended.",
            code="Error.Stream.NotExisted",
            target="streamId",
        )
    return connection, stream_id


async def _room(connection: Connection, settings: ServiceSettings) -> None:
    """Wait, for a while, until the client has taken most of what is on its way to it.

    A stream that is quicker than its client is held up so, and the client is not closed as slow.
    """
    limit = settings.max_pending_bytes // 4
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.send_timeout):
            # No transport tells when its buffer is only a quarter full.
            while connection.is_live and connection.transport.pending > limit:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_SECONDS)


async def _answer(call: Call, answer: asyncio.Future[Completion]) -> Completion:
    timeout = call.node.settings.invoke_timeout
    try:
        return await asyncio.wait_for(answer, timeout)
    except TimeoutError:
        raise RestError(
            504,
            f"The client has not answered within {timeout:g} seconds.",
            code="Error.Connection.Timeout",
            target="connectionId",
        ) from None
    except ConnectionLostError as error:
        raise _no_connection(str(error)) from None


def _result(connection: Connection, completion: Completion) -> Any:
    """The result as JSON. A client that returns nothing has the result null."""
    result = completion.result
    if isinstance(result, UnsetType):
        return _NULL
    codec = connection.wire.codec
    try:
        return Raw(msgspec.json.encode(codec.decode_value(result)))
    except (ProtocolError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RestError(
            400,
            f"The client's result cannot be said in JSON: {error}",
            code="Error.Connection.InvocationFailed",
            target="connectionId",
        ) from None


def _item(body: bytes) -> bytes:
    """The bare JSON of a stream's item, checked."""
    if not body:
        raise RestError(400, "The body is the item, as JSON.", target="body")
    try:
        body.decode()
        return bytes(msgspec.json.decode(body, type=Raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RestError(400, f"The body is the item, as JSON: {error}", target="body") from None


def _no_connection(message: str) -> RestError:
    return RestError(404, message, code="Error.Connection.NotExisted", target="connectionId")
