"""What the hub asks of this client: finds the handlers, calls them, sends back a client result."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET, Raw, UnsetType

from hubbub.client.failures import ConnectionLostError
from hubbub.client.handlers import Handlers, call
from hubbub.errors import ProtocolError
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Completion, Invocation, Message

__all__ = ["answer"]

_logger = logging.getLogger("hubbub.client")


async def answer(
    message: Invocation,
    handlers: Handlers,
    codec: Codec,
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Call the handlers for `message`; `send` what it asks for. Raises nothing of theirs."""
    outcomes = await _outcomes(message, handlers, codec)
    if message.invocation_id is None:
        return
    error, result = _conclude(outcomes, codec)
    try:
        await send(Completion(invocation_id=message.invocation_id, error=error, result=result))
    except ConnectionLostError as lost:
        _logger.info("! the result of %r came too late: %s", message.target, lost)


async def _outcomes(
    message: Invocation, handlers: Handlers, codec: Codec
) -> list[Any | Exception] | None:
    """What the handlers returned or raised, `None` where there are none."""
    found = handlers.find(message.target)
    names: tuple[str, ...] = ()
    if not found:
        found, names = tuple(handlers.unhandled), (message.target,)
    if not found:
        _logger.warning("! no handler for %r", message.target)
        return None
    try:
        arguments = codec.decode_value(message.arguments)
    except ProtocolError as error:
        _logger.warning("! arguments of %r were not understood: %s", message.target, error)
        return [error]
    return await call(found, repr(message.target), *names, *arguments)


def _conclude(
    outcomes: list[Any | Exception] | None, codec: Codec
) -> tuple[str | None, Raw | UnsetType]:
    """The error or the result to send. The sentences are the JavaScript client's."""
    if outcomes is None:
        return "Client didn't provide a result.", UNSET
    results = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    if len(results) > 1:
        return "Client provided multiple results.", UNSET
    if outcomes and isinstance(outcomes[-1], Exception):
        return str(outcomes[-1]) or type(outcomes[-1]).__name__, UNSET
    try:
        # A function that returns nothing returns None, and that is a result: null.
        return None, codec.encode_value(results[0] if results else None)
    except Exception as error:
        # The app's value has no encoding: that costs this result, not the connection.
        _logger.warning("! a result cannot be sent: %s", error)
        return f"The client's result cannot be sent: {error}", UNSET
