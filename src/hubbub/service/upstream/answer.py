"""From an app's answer to what its client gets: an `invoke` always ends in a completion."""

from typing import Final

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Completion, Invocation, StreamItem
from hubbub.service.upstream.outcome import Kind, Outcome

__all__ = ["CLIENT_STREAMS", "STREAM_INVOCATION", "check_answer", "completion_for"]

STREAM_INVOCATION: Final = (
    "Invocation failed, this service does not stream results of its upstream. Use invoke."
)
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


def check_answer(
    outcome: Outcome, invocation_id: str, codec: Codec, limit: int
) -> tuple[Outcome, int]:
    """Look at the body that answers an invoke; return the outcome, and the records in its body.

    They are whole records of the client's encoding, and one of them completes the invocation. An
    answer that is anything else becomes another outcome. `limit` is what a client may be sent.
    """
    if outcome.kind is not Kind.ANSWERED or not outcome.body:
        return outcome, 0
    if len(outcome.body) > limit:
        detail = f"The answer has {len(outcome.body)} bytes; a client is sent {limit} at most."
        return _failed(outcome, Kind.TOO_LARGE, detail), 0
    reader = codec.reader(limit)
    try:
        messages = [codec.decode(record) for record in reader.feed(outcome.body)]
    except ProtocolError as error:
        return _failed(outcome, Kind.UNUSABLE, f"The answer is not {codec.name}: {error}."), 0
    if reader.rest():
        detail = f"The answer is not whole records of {codec.name}: is the framing missing?"
        return _failed(outcome, Kind.UNUSABLE, detail), 0
    completions = [
        message
        for message in messages
        if isinstance(message, Completion) and message.invocation_id == invocation_id
    ]
    if len(completions) != 1 or not all(isinstance(item, _PASSED_ON) for item in messages):
        detail = "The answer does not hold exactly one completion of this invocation."
        return _failed(outcome, Kind.UNUSABLE, detail), 0
    return outcome, len(messages)


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
