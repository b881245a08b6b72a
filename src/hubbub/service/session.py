"""One connection of a client: handshake, messages, liveness, end. It knows no kind of transport.

It has no task and no queue: the transport calls it, the outbox writes through it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import JSON, VERSIONS, Codec, encode_handshake_response
from hubbub.protocol.connection import HandshakeError, ServerConnection
from hubbub.protocol.messages import (
    CancelInvocation,
    Close,
    Completion,
    HandshakeRequest,
    HandshakeResponse,
    Invocation,
    Message,
    StreamInvocation,
)
from hubbub.protocol.replay import Replay
from hubbub.service.access import ClientAccess
from hubbub.service.owner import Owner
from hubbub.service.settings import ServiceSettings
from hubbub.service.state import Held, State
from hubbub.service.tickets import Ticket
from hubbub.service.transports.transport import Transport
from hubbub.service.upstream.inbox import Inbox
from hubbub.service.upstream.streams import Streams

__all__ = ["TOO_SLOW", "Connection", "State"]

_logger = logging.getLogger("hubbub.service")


TOO_SLOW: Final = "The client is too slow to receive."
_LIVE: Final = frozenset({State.OPEN, State.DETACHED})
_ENDED: Final = frozenset({State.CLOSING, State.CLOSED})


class Connection:
    """One client's presence on one hub."""

    __slots__ = (
        "_closes_at",
        "_core",
        "_held",
        "_owner",
        "access",
        "close_reason",
        "descriptor",
        "groups",
        "hub",
        "id",
        "inbox",
        "received_at",
        "replay",
        "sent_at",
        "state",
        "streams",
        "token_expires",
        "transport",
        "user_id",
        "wire",
        "write",
    )

    def __init__(
        self,
        connection_id: str,
        access: ClientAccess,
        transport: Transport,
        owner: Owner,
        ticket: Ticket | None = None,
    ) -> None:
        """`ticket` is what negotiation gave out for this connection; it may be left out."""
        self.id = connection_id
        self.access = access
        self.hub = access.hub
        self.user_id = access.user_id
        # Unix seconds until which its token would open it again if nobody remembered it.
        self.token_expires = ticket.expires if ticket is not None else 0.0
        self.groups: frozenset[str] = frozenset()
        self.transport = transport
        self.wire = transport.wire(JSON)  # the handshake is JSON in every encoding
        self.write: Callable[[bytes], None] = transport.write
        # Of the socket, while bytes may be written there as well as by `write`; else -1.
        self.descriptor = -1
        self.replay: Replay | None = None  # only with stateful reconnect
        self.inbox: Inbox | None = None  # only while the app has not taken what the client said
        self.streams: Streams | None = None  # only once the client has asked for one
        self.state = State.HANDSHAKE
        self.close_reason: str | None = None
        self.received_at = self.sent_at = asyncio.get_running_loop().time()
        self._owner = owner
        self._held: Held | None = None  # only while the handshake is complete and not answered
        self._closes_at = _on_loop_clock(access.closes_at)
        self._core = ServerConnection(
            limit=owner.settings.max_message_size,
            carries_binary=transport.carries_binary,
            versions=VERSIONS if ticket is not None and ticket.is_stateful else VERSIONS[:1],
        )

    def __repr__(self) -> str:
        return (
            f"Connection({self.id!r}, hub={self.hub!r}, user={self.user_id!r}, "
            f"wire={self.wire.name}, state={self.state.name})"
        )

    def receive(self, data: bytes) -> None:
        """Take bytes from the client, cut anywhere. Never raises for what they are."""
        self.received_at = asyncio.get_running_loop().time()
        # The commonest message by far is answered by comparing bytes, where no record is begun.
        if data == self.wire.codec.ping and self.state is State.OPEN and self._core.is_empty:
            return
        if self.state in _ENDED:
            return
        if self._held is not None:
            self._hold(self._held, data)
            return
        self._take(self._core.receive(data))

    def admit(self) -> None:
        """Answer the handshake, and listen to what the client has said since."""
        held, self._held = self._held, None
        if held is None or self.state is not State.HANDSHAKE:
            return
        self._open()
        if self.state in _LIVE:
            self._take(held.messages)
        for data in held.pieces:
            self.receive(data)

    def tick(self, now: float) -> None:
        """Do what is due at `now`: end what has taken too long, ping what has been silent."""
        settings = self._owner.settings
        if self.transport.is_deserted(now):
            self.lost("The client stayed away.")
        elif self.state is State.HANDSHAKE:
            timeout = self.access.handshake_timeout or settings.handshake_timeout
            # Nothing has been sent yet, so this is the time since the connection began.
            if now - self.sent_at >= timeout:
                self._refuse_handshake(HandshakeError("Handshake was canceled."))
        elif self.state is State.DETACHED:
            if now - self.received_at >= settings.reconnect_timeout:
                self.lost()
        elif self.state is State.OPEN:
            self._tick_open(now, settings)

    def write_tracked(self, data: bytes, count: int) -> None:
        """Write `count` messages and keep them until a client with stateful reconnect has them."""
        assert self.replay is not None
        self.replay.sent(data, count)
        self.write(data)
        if not self.replay.is_full:
            return
        if self.state is State.DETACHED:
            self.lost("More was sent than is kept for a client that is away.")
        else:
            # A client that takes what it gets stays; it can only not come back to this connection.
            self.replay.give_up()

    def send(self, message: Message) -> None:
        """Send one message to this client, after what has been accepted for it before."""
        self.pass_on(self.wire.codec.encode(message), 1)

    def pass_on(self, records: bytes, count: int) -> None:
        """Send `count` ready records of this client's encoding, as `send` would."""
        if self.state in _LIVE:
            self._owner.deliver(self, records, count)

    def close(self, message: Close) -> None:
        """Tell the client why and end the connection after what is on its way."""
        if self.state in _ENDED:
            return
        if self.state is State.DETACHED:
            self.lost(message.error)
            return
        write, was_open = self.write, self.state is State.OPEN
        self.close_reason = message.error
        self._end(State.CLOSING)  # first, because a transport that is full calls `close_slow`
        if was_open:
            write(self.wire.frame(self.wire.codec.encode(message)))
        self.transport.close()

    def close_slow(self) -> None:
        """The transport has more on its way than is allowed: let the client go."""
        if self.state in _ENDED:
            return
        _logger.info("connection %s is too slow and is closed", self.id)
        self.close(Close(error=TOO_SLOW, allow_reconnect=True))

    def detach(self, reason: str | None = None) -> None:
        """The transport broke. With stateful reconnect the client may come back on another."""
        if self.state is State.OPEN and self.is_resumable:
            self.state = State.DETACHED
            self.write = _discard
            self.descriptor = -1
            self.received_at = asyncio.get_running_loop().time()  # the time to come back begins
            return
        self.lost(reason)

    def attach(self, transport: Transport, access: ClientAccess) -> None:
        """Go on over `transport`, beginning with what the client may have missed.

        `access` is what the client's token says by now.
        """
        assert self.replay is not None
        codec = self._core.codec
        assert codec is not None
        self.transport.abandon()
        self._core.restart()
        self._closes_at = _on_loop_clock(access.closes_at)
        self.transport = transport
        self.write = transport.write
        self.state = State.OPEN
        self.received_at = self.sent_at = asyncio.get_running_loop().time()
        sequence, missed = self.replay.replay()
        self.write(self.wire.frame(codec.encode(sequence)) + missed)

    @classmethod
    def restored(
        cls,
        connection_id: str,
        access: ClientAccess,
        transport: Transport,
        owner: Owner,
        codec: Codec,
        replay: Replay,
    ) -> "Connection":
        """One whose client, with stateful reconnect, is away: `attach` is to come next."""
        connection = cls(connection_id, access, transport, owner)
        connection._core.codec = codec
        connection._core.version = VERSIONS[-1]
        connection.wire = transport.wire(codec)
        connection.write = _discard
        connection.replay = replay
        connection.state = State.DETACHED
        return connection

    def cut(self) -> None:
        """Have the client, which has stateful reconnect, come back on another transport."""
        if self.state is State.OPEN:
            transport = self.transport
            self.detach()
            transport.cut()

    def hand_over(self) -> None:
        """Another node goes on with this connection: it is nobody's here, and has not ended."""
        self.state = State.CLOSED
        self.write = _discard

    @property
    def is_live(self) -> bool:
        """Whether what the client says is still heard."""
        return self.state not in _ENDED

    @property
    def is_established(self) -> bool:
        """Whether its handshake is done and it has not ended."""
        return self.state in _LIVE

    @property
    def is_resumable(self) -> bool:
        """Whether another transport may take over: agreed on, and nothing has been forgotten."""
        return self.state in _LIVE and self.replay is not None and not self.replay.has_given_up

    def lost(self, reason: str | None = None) -> None:
        """The transport has ended for good, by whichever side."""
        if self.state is State.CLOSED:
            return
        self.close_reason = self.close_reason or reason
        self._end(State.CLOSED)
        self._owner.gone(self)

    def leave(self) -> None:
        """The client has left its transport, which need not know it yet, and is not resumed."""
        self.transport.abandon()
        self.lost("The client came back when too much had been sent to it.")

    def fail(self) -> None:
        """Something of ours went wrong here: give the connection up, and its socket with it."""
        self.lost("internal error")
        with suppress(Exception):  # what is broken already may fail in this too; nobody else must
            self.transport.close()

    def _tick_open(self, now: float, settings: ServiceSettings) -> None:
        if self._closes_at is not None and now >= self._closes_at:
            # A diagnostic client that came back would only be closed again.
            again = not self.access.is_diagnostic
            self._owner.dismiss(
                self, Close(error="The access token has expired.", allow_reconnect=again)
            )
            return
        if self.replay is not None and (ack := self.replay.ack()) is not None:
            self.write(self.wire.frame(self.wire.codec.encode(ack)))
        if self.transport.has_keep_alive:
            return
        # A client whose inbox is full is not listened to, so its silence says nothing.
        if self.inbox is None and now - self.received_at >= settings.client_timeout:
            _logger.info("connection %s has been silent for too long", self.id)
            self.close(
                Close(
                    error="Client hasn't sent a message/ping within the configured "
                    "ClientTimeoutInterval.",
                    allow_reconnect=True,
                )
            )
        elif now - self.sent_at >= settings.keep_alive_interval:
            self.sent_at = now
            self.write(self.wire.ping)

    def _take(self, messages: Iterator[HandshakeRequest | Message]) -> None:
        try:
            for message in messages:
                if isinstance(message, HandshakeRequest):
                    if not self._owner.admits(self):
                        self._held = Held(messages)
                        return
                    self._open()
                elif self.replay is None or self.replay.accepts(message):
                    self._handle(message)
                if self.state in _ENDED:
                    return
        except HandshakeError as error:
            self._refuse_handshake(error)
        except ProtocolError as error:
            self.close(Close(error=f"Connection closed with an error. {error}"))

    def _hold(self, held: Held, data: bytes) -> None:
        """Keep what a client says that has not waited for the answer to its handshake."""
        held.pieces.append(data)
        held.size += len(data)
        if held.size > self._owner.settings.max_message_size:
            self._refuse_handshake(HandshakeError("Handshake was canceled.", "It was not awaited."))

    def _open(self) -> None:
        codec = self._core.codec
        assert codec is not None
        self.wire = self.transport.wire(codec)
        if self._core.version == VERSIONS[-1]:
            self.replay = Replay(self._owner.settings.replay_buffer_size)
        self.write(self.wire.frame(encode_handshake_response(HandshakeResponse())))
        if self.state is not State.HANDSHAKE:
            return  # even that was too much for the transport
        self.state = State.OPEN
        self._owner.opened(self)

    def _refuse_handshake(self, error: HandshakeError) -> None:
        text = str(error)
        if error.detail and self.access.detailed_errors:
            text = f"{text} {error.detail}"
        _logger.info("connection %s refused: %s %s", self.id, error, error.detail)
        self.write(self.wire.frame(encode_handshake_response(HandshakeResponse(error=text))))
        self.close_reason = text
        self._end(State.CLOSING)
        self.transport.close()

    def _handle(self, message: Message) -> None:
        match message:
            case Invocation() | StreamInvocation():
                self._owner.invoked(self, message)
            case Close():
                self.close(Close())
            case Completion():
                self._owner.completed(self, message)
            case CancelInvocation():
                self._owner.cancelled(self, message)
            case _:
                pass  # streams of clients have nobody to go to

    def _end(self, state: State) -> None:
        was_live = self.state in _LIVE
        self.state = state
        self._held = None
        self.write = _discard
        self.descriptor = -1
        if was_live:
            self._owner.closed(self)


def _discard(_data: bytes) -> None:
    """A flush that began before the connection ended may still write to it."""


def _on_loop_clock(unix_seconds: int | None) -> float | None:
    if unix_seconds is None:
        return None
    return asyncio.get_running_loop().time() + unix_seconds - time.time()
