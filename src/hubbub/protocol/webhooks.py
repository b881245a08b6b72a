"""Webhooks, both ends of them: what a service tells an app, and how the app reads and answers it.

It makes and reads headers and bodies, and checks signatures. Sending them is not its affair.

    webhook = receive_webhook(request.headers, body, access_keys)
    answer = webhook.complete(f"hello {webhook.arguments[0]}")
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import UNSET, Raw, Struct

from hubbub.errors import ProtocolError
from hubbub.protocol import challenge
from hubbub.protocol.codec import JSON, MESSAGEPACK, Codec
from hubbub.protocol.messages import Completion, Invocation, StreamInvocation
from hubbub.protocol.upstreamsignature import check_full, is_signed, sign_connection, sign_full
from hubbub.protocol.upstreamtext import (
    decode_text,
    encode_query,
    encode_text,
    format_claims,
    parse_claims,
    parse_query,
)

__all__ = [
    "CONNECTED",
    "CONNECTIONS",
    "CONTENT_TYPES",
    "DISCONNECTED",
    "FULL_SIGNATURE",
    "MESSAGES",
    "STREAM_ID",
    "Event",
    "Webhook",
    "WebhookError",
    "connected_body",
    "disconnected_body",
    "event_headers",
    "full_signature",
    "invocation_body",
    "parse_stream_id",
    "parse_webhook",
    "receive_webhook",
]

CONNECTIONS: Final = "connections"
MESSAGES: Final = "messages"
CONNECTED: Final = "connected"
DISCONNECTED: Final = "disconnected"
FULL_SIGNATURE: Final = "X-Hubbub-Signature"
# The call is a stream's, and this names it, percent-encoded. Its body is that of an invocation all
# the same: hosts of the original read no other (extension facts, 4.6.1), and they give their
# functions every header.
STREAM_ID: Final = "X-Hubbub-Stream-Id"
CONTENT_TYPES: Final = {JSON.name: "application/json", MESSAGEPACK.name: "application/x-msgpack"}

_CODECS: Final[Mapping[str, Codec]] = {
    CONTENT_TYPES[JSON.name]: JSON,
    CONTENT_TYPES[MESSAGEPACK.name]: MESSAGEPACK,
}
_encoder: Final = msgspec.json.Encoder()
_members: Final = msgspec.json.Decoder(dict[str, Raw])
# What a full signature covers besides the time and the body.
_IDENTITY: Final = (
    "X-ASRS-Hub",
    "X-ASRS-Category",
    "X-ASRS-Event",
    "X-ASRS-Connection-Id",
    "X-ASRS-User-Id",
    STREAM_ID,
)


class WebhookError(ProtocolError):
    """A request that is no webhook, or not one of ours.

    `status` is the HTTP status for it, `challenge` what its WWW-Authenticate says, if anything.
    """

    def __init__(self, status: int, message: str, wanted: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.challenge = wanted


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened on a connection, with all that the app is told about who it is."""

    hub: str
    category: str
    event: str  # connected, disconnected, or the name of the method that was called
    connection_id: str
    user_id: str | None = None
    claims: Mapping[str, Any] = {}
    query: str = ""  # of the client's address, without a question mark
    stream_id: str | None = None  # of the stream that the client asks for, None where it does not


class Webhook(Struct, frozen=True, kw_only=True):
    """An event as an app has received it."""

    hub: str
    category: str
    event: str
    connection_id: str
    user_id: str | None
    claims: Mapping[str, str]
    query: Mapping[str, str]
    codec: Codec
    invocation: Invocation | None = None  # None for connected and disconnected
    error: str | None = None  # why the connection ended, None where nothing was wrong
    # Of the stream that the client waits for: items go there by REST while this is answered.
    stream_id: str | None = None

    @property
    def arguments(self) -> list[Any]:
        """What the client has passed to the method. Raises `WebhookError` where it is not that."""
        if self.invocation is None:
            return []
        try:
            arguments: list[Any] = self.codec.decode_value(self.invocation.arguments)
        except ProtocolError as error:
            raise WebhookError(400, f"The arguments cannot be read: {error}") from None
        return arguments

    @property
    def wants_answer(self) -> bool:
        """Whether the client waits for a completion: it did not call `send`."""
        return self.invocation is not None and self.invocation.invocation_id is not None

    def complete(self, result: Any = None) -> bytes:
        """The response body that gives the client `result`; empty where it waits for none.

        For a stream, `None` is its end. Raises `TypeError` where `result` has no form in the
        client's encoding.
        """
        return self._answer(Raw(self.codec.encode_value(result)), None)

    def fail(self, error: str) -> bytes:
        """The response body that tells the client what went wrong; the status is still 200."""
        return self._answer(UNSET, error)

    def _answer(self, result: Any, error: str | None) -> bytes:
        if self.invocation is None or self.invocation.invocation_id is None:
            return b""
        return self.codec.encode(
            Completion(invocation_id=self.invocation.invocation_id, result=result, error=error)
        )


def event_headers(event: Event, keys: Sequence[str], content_type: str) -> dict[str, str]:
    """The headers that announce `event`, but for `Authorization`."""
    headers = {
        "Content-Type": content_type,
        "X-ASRS-Connection-Id": event.connection_id,
        "X-ASRS-Hub": encode_text(event.hub),
        "X-ASRS-Category": event.category,
        "X-ASRS-Event": encode_text(event.event),
        "X-ASRS-Signature": sign_connection(event.connection_id, keys),
    }
    if event.user_id:
        headers["X-ASRS-User-Id"] = encode_text(event.user_id)
    if claims := format_claims(event.claims):
        headers["X-ASRS-User-Claims"] = claims
    if query := encode_query(event.query):
        headers["X-ASRS-Client-Query"] = query
    if event.stream_id is not None:
        headers[STREAM_ID] = quote(event.stream_id, safe="")
    return headers


def full_signature(
    headers: Mapping[str, str], body: bytes, keys: Sequence[str], *, now: int
) -> str:
    """The value of X-Hubbub-Signature for a webhook with these headers and this body."""
    return sign_full([headers.get(name, "") for name in _IDENTITY], body, keys, now=now)


def connected_body() -> bytes:
    """The body that tells of a new connection; JSON whatever the client speaks."""
    return b'{"type":10}'


def disconnected_body(error: str | None) -> bytes:
    """The body that tells of a connection's end; JSON whatever the client spoke."""
    if error is None:
        return b'{"type":11}'
    return b'{"type":11,"error":%b}' % _encoder.encode(error)


def invocation_body(invocation: Invocation | StreamInvocation, codec: Codec) -> bytes:
    """An invocation as its client encodes it, without framing, headers and stream ids.

    That of a stream has the same form, see `STREAM_ID`. The arguments are bytes of `codec` already
    and are not opened.
    """
    id_ = invocation.invocation_id
    if codec is JSON:
        return b'{"type":1%b,"target":%b,"arguments":%b}' % (
            b"" if id_ is None else b',"invocationId":' + _encoder.encode(id_),
            _encoder.encode(invocation.target),
            bytes(invocation.arguments),
        )
    record = codec.encode(
        Invocation(target=invocation.target, arguments=invocation.arguments, invocation_id=id_)
    )
    return codec.reader(len(record)).feed(record)[0]


def receive_webhook(
    headers: Mapping[str, str],
    body: bytes,
    keys: Sequence[str],
    *,
    now: int | None = None,
) -> Webhook:
    """Read a webhook and check who has sent it. Raises `WebhookError`, whose status answers it.

    With `now`, in Unix seconds, the full signature is asked for too: it covers time and body, and
    the template has to say that it is sent.
    """
    webhook = parse_webhook(headers, body)
    lower = _lower(headers)
    if not is_signed(lower.get("x-asrs-signature"), webhook.connection_id, keys):
        raise WebhookError(
            401,
            "The request is unauthorized, please check the Signature. "
            "It was made with another access key than those of this app.",
            challenge.ACCESS_KEY,
        )
    if now is not None:
        identity = [lower.get(name.lower(), "") for name in _IDENTITY]
        try:
            check_full(lower.get(FULL_SIGNATURE.lower(), ""), identity, body, keys, now=now)
        except ProtocolError as error:
            raise WebhookError(401, str(error), challenge.FULL_SIGNATURE) from None
    return webhook


def parse_webhook(headers: Mapping[str, str], body: bytes) -> Webhook:
    """Read a webhook whose sender is not checked. Raises `WebhookError`."""
    lower = _lower(headers)
    kind = lower.get("content-type", "").partition(";")[0].strip()
    codec = _CODECS.get(kind)
    if codec is None:
        raise WebhookError(415, f"A webhook is {' or '.join(_CODECS)}, not {kind or 'nothing'}.")
    hub, category, event, connection_id = (_required(lower, name) for name in _IDENTITY[:4])
    invocation, stream_id, error = None, None, None
    if category.lower() == MESSAGES:
        invocation = _invocation(body, codec)
        if invocation.target.lower() not in {event.lower(), lower["x-asrs-event"].lower()}:
            raise WebhookError(
                400, f"The body calls {invocation.target!r} and the header X-ASRS-Event {event!r}."
            )
        stream_id = _stream_id(lower, invocation)
    elif event.lower() == DISCONNECTED:
        error = _error(body)
    user_id = lower.get("x-asrs-user-id")
    return Webhook(
        hub=hub,
        category=category,
        event=event,
        connection_id=connection_id,
        user_id=decode_text(user_id) if user_id else None,
        claims=parse_claims(lower.get("x-asrs-user-claims", "")),
        query=parse_query(lower.get("x-asrs-client-query", "")),
        codec=codec,
        invocation=invocation,
        error=error,
        stream_id=stream_id,
    )


def parse_stream_id(headers: Mapping[str, str]) -> str | None:
    """The stream that a webhook's headers name, in lower case; `None` where it is of none."""
    text = headers.get(STREAM_ID.lower())
    return unquote(text) if text else None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case; of several headers of a name the first."""
    lower: dict[str, str] = {}
    for name, value in headers.items():
        lower.setdefault(name.lower(), value)
    return lower


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower(), "")
    if not value:
        raise WebhookError(400, f"The header {name} is missing or empty.")
    return decode_text(value)


def _invocation(body: bytes, codec: Codec) -> Invocation:
    try:
        message = codec.decode(body)
    except ProtocolError as error:
        raise WebhookError(400, f"The body is not an invocation: {error}") from None
    if not isinstance(message, Invocation):
        raise WebhookError(400, "The body is a hub message, but not an invocation.")
    return message


def _stream_id(headers: Mapping[str, str], invocation: Invocation) -> str | None:
    stream_id = parse_stream_id(headers)
    if stream_id is not None and stream_id != invocation.invocation_id:
        raise WebhookError(400, f"The header {STREAM_ID} is not the id of the invocation.")
    return stream_id


def _error(body: bytes) -> str | None:
    """Why a connection ended; the official emulator writes member names with a capital."""
    try:
        members = {name.lower(): value for name, value in _members.decode(body).items()}
        return msgspec.json.decode(members.get("error", Raw(b"null")), type=str | None) or None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WebhookError(400, f"The body does not say how it ended: {error}") from None
