"""Invoking a client and waiting for its result; items and ends of streams that go to a client."""

import asyncio
import secrets
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
from hubbub.service.wire import transcode

__all__ = ["complete_stream", "invoke_connection", "send_to_stream"]

_NULL: Final = Raw(b"null")


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
    stream_id = call.names["streamId"]

    def stream_item(codec: Codec) -> Message:
        return StreamItem(invocation_id=stream_id, item=transcode(item, codec))

    address = One(call.hub, call.names["connectionId"])
    call.node.router.deliver(Envelope(address, LazyMessage(stream_item)))
    if completed:
        _complete(call, None)
    return None


async def complete_stream(call: Call) -> Answer | None:
    """POST /api/hubs/{hub}/connections/{connectionId}/streams/{streamId}/:complete"""
    # The swagger calls it reason, the SDK sends error.
    error = call.query.text("error")
    _complete(call, error if error is not None else call.query.text("reason"))
    return None


def _complete(call: Call, error: str | None) -> None:
    completion = Completion(invocation_id=call.names["streamId"], error=error or None)
    address = One(call.hub, call.names["connectionId"])
    call.node.router.deliver(Envelope(address, LazyMessage(lambda _: completion)))


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
