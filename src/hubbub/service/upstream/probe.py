"""One event sent by hand, as the service would send it, for whoever wants to see the answer."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct, UnsetType

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import Codec
from hubbub.protocol.messages import Completion, Invocation
from hubbub.protocol.upstreamtemplate import Template
from hubbub.protocol.webhooks import (
    CONNECTIONS,
    CONTENT_TYPES,
    DISCONNECTED,
    Event,
    connected_body,
    disconnected_body,
    invocation_body,
)
from hubbub.service.upstream.answer import check_answer
from hubbub.service.upstream.delivery import Courier
from hubbub.service.upstream.outcome import MAX_ANSWER, Kind, Outcome

__all__ = ["Probe", "send_probe"]

_INVOCATION_ID: Final = "probe"


class Probe(Struct, frozen=True, kw_only=True):
    """What came of a probe. `result` and `error` are the client's, where it waited for them."""

    outcome: Outcome
    template: Template | None = None
    result: Any = None
    error: str | None = None


async def send_probe(
    courier: Courier, event: Event, codec: Codec, arguments: Sequence[Any], *, waits: bool
) -> Probe:
    """Send `event`; `waits` says whether the client would wait, as `invoke` does.

    Raises `TypeError` or `OverflowError` where the arguments cannot be said in the encoding.
    """
    template = courier.template_for(event)
    if template is None:
        return Probe(outcome=Outcome(kind=Kind.NO_TEMPLATE))
    if event.category == CONNECTIONS:
        body = disconnected_body(None) if event.event == DISCONNECTED else connected_body()
        outcome = await courier.deliver(event, template, CONTENT_TYPES["json"], body)
        return Probe(outcome=outcome, template=template)
    invocation = Invocation(
        target=event.event,
        arguments=codec.encode_value(list(arguments)),
        invocation_id=_INVOCATION_ID if waits else None,
    )
    body = invocation_body(invocation, codec)
    outcome = await courier.deliver(event, template, CONTENT_TYPES[codec.name], body)
    if not waits:
        return Probe(outcome=outcome, template=template)
    outcome, messages = await check_answer(outcome, _INVOCATION_ID, codec, MAX_ANSWER)
    if not messages:
        return Probe(outcome=outcome, template=template)
    completion = next(message for message in messages if isinstance(message, Completion))
    return Probe(
        outcome=outcome,
        template=template,
        result=_result(completion, codec),
        error=completion.error,
    )


def _result(completion: Completion, codec: Codec) -> Any:
    """The result as a value, or its bytes as text where they cannot be opened."""
    if isinstance(completion.result, UnsetType):
        return None
    try:
        return codec.decode_value(completion.result)
    except ProtocolError:
        return repr(bytes(completion.result))
