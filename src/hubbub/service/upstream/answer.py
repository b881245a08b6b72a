"""From an app's answer to what its client gets: an `invoke` always ends in a completion.

So does a stream, but for an answer without a body: its items and its end come by REST.
"""

from typing import Final

from msgspec import UnsetType

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Completion, Invocation, Message, StreamItem
from hubbub.service.slices import Slices
from hubbub.service.upstream.outcome import Kind, Outcome

__all__ = ["CLIENT_STREAMS", "check_answer", "completion_for", "stream_end"]

CLIENT_STREAMS: Final = (
    "Invocation failed, this service does not pass streams of clients on to its upstream."
)
# The sentences of the official emulator, which apps and people know.
_TEXTS: Final = {
    Kind.TOO_LARGE: "Invocation failed, response too large.",
    Kind.UNUSABLE: "Invocation failed, error: the upstream's response is not a completion.",
    Kind.CUT_OFF: "Invocation failed, error: the upstream's response ended early.",
}
_UNREACHED: Final = "Invocation failed, status code 500"  # what the emulator makes of all others
# What an app may send to its client in an answer: the others are between client and service.
_PASSED_ON: Final = (Completion, Invocation, StreamItem)
_PIECE: Final = 16 * 1024  # bytes that are read in one go; they may be thousands of records


async def check_answer(
    outcome: Outcome, invocation_id: str, codec: Codec, limit: int
) -> tuple[Outcome, list[Message]]:
    """Look at the body that answers an invoke; return the outcome, and the messages in its body.

    They are whole records of the client's encoding, and one of them completes the invocation. An
    answer that is anything else becomes another outcome. `limit` is what a client may be sent.
    Many records do not hold the loop.
    """
    if outcome.kind is not Kind.ANSWERED or not outcome.body:
        return outcome, []
    if len(outcome.body) > limit:
        detail = f"The answer has {len(outcome.body)} bytes; a client is sent {limit} at most."
        return _failed(outcome, Kind.TOO_LARGE, detail), []
    try:
        messages = await _messages(outcome.body, codec, limit)
    except ProtocolError as error:
        return _failed(outcome, Kind.UNUSABLE, f"The answer is not {codec.name}: {error}."), []
    if messages is None:
        detail = f"The answer is not whole records of {codec.name}: is the framing missing?"
        return _failed(outcome, Kind.UNUSABLE, detail), []
    completions = [
        message
        for message in messages
        if isinstance(message, Completion) and message.invocation_id == invocation_id
    ]
    passed_on: list[Message] = [message for message in messages if isinstance(message, _PASSED_ON)]
    if len(completions) != 1 or len(passed_on) != len(messages):
        detail = "The answer does not hold exactly one completion of this invocation."
        return _failed(outcome, Kind.UNUSABLE, detail), []
    return outcome, passed_on


async def _messages(body: bytes, codec: Codec, limit: int) -> list[Message | None] | None:
    """The messages in a body, `None` where it ends within one. Raises `ProtocolError`."""
    slices = Slices()
    reader = codec.reader(limit)
    messages: list[Message | None] = []
    for start in range(0, len(body), _PIECE):
        messages += map(codec.decode, reader.feed(body[start : start + _PIECE]))
        if slices.is_over:
            await slices.pause()
    return messages if reader.is_empty else None


def stream_end(
    outcome: Outcome,
    messages: list[Message],
    invocation_id: str,
    target: str,
    hub: str,
    codec: Codec,
) -> list[Message]:
    """What a client is sent when its stream's webhook has an answer, checked by `check_answer`.

    Nothing, where the answer has no body: the app has accepted the call, the stream goes on.
    """
    if outcome.kind is not Kind.ANSWERED:
        return [completion_for(outcome, invocation_id, target, hub)]
    return [
        _end(message, target, codec)
        if isinstance(message, Completion) and message.invocation_id == invocation_id
        else message
        for message in messages
    ]


def _end(completion: Completion, target: str, codec: Codec) -> Completion:
    """A stream ends with an error or without one: who gives a result has not streamed."""
    error, result = completion.error, completion.result
    if not isinstance(result, UnsetType) and bytes(result).strip() != bytes(
        codec.encode_value(None)
    ):
        # The sentence of the original's server.
        error = (
            f"The client attempted to invoke the non-streaming '{target[:100]}' method with a "
            "streaming invocation."
        )
    return Completion(invocation_id=completion.invocation_id, error=error)


def completion_for(outcome: Outcome, invocation_id: str, target: str, hub: str) -> Completion:
    """The completion of an invoke whose answer has no record for the client."""
    if outcome.kind is Kind.ANSWERED:
        return Completion(invocation_id=invocation_id)
    if outcome.kind is Kind.STATUS:
        error = f"Invocation failed, status code {outcome.status}"
    elif outcome.kind is Kind.NO_TEMPLATE:
        error = f"Invocation failed, no upstream takes '{target[:100]}' of hub '{hub}'."
    else:
        error = _TEXTS.get(outcome.kind, _UNREACHED)
    return Completion(invocation_id=invocation_id, error=error)


def _failed(outcome: Outcome, kind: Kind, detail: str) -> Outcome:
    return Outcome(
        kind=kind,
        where=outcome.where,
        status=outcome.status,
        detail=detail,
        attempts=outcome.attempts,
        seconds=outcome.seconds,
    )
