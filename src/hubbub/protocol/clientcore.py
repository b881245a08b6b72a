"""The client's end of one hub connection: bytes in and messages out, and back. No I/O, no clock.

It says the handshake, encodes what is sent, cuts and decodes what arrives and, where stateful
reconnect was agreed, keeps and counts messages. What a message means is not its affair.
"""

from collections.abc import Iterator
from typing import Final

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import (
    Codec,
    decode_handshake_response,
    encode_handshake_request,
)
from hubbub.protocol.connection import HandshakeError
from hubbub.protocol.framing import RecordReader, TextReader
from hubbub.protocol.messages import HandshakeRequest, Message, is_tracked
from hubbub.protocol.replay import Replay

__all__ = ["ClientConnection"]

# Bytes. A refusal may quote what the client has sent.
_MAX_HANDSHAKE: Final = 65_536
# HubProtocol.md: servers that know no stateful reconnect refuse version 2.
_PLAIN, _STATEFUL = 1, 2


class ClientConnection:
    """Speaks the hub protocol to a server (HubProtocol.md, "Overview").

    `replay` is `None` where stateful reconnect was not agreed.
    """

    __slots__ = ("_limit", "_reader", "codec", "is_open", "replay")

    def __init__(self, codec: Codec, *, limit: int, stateful: bool = False) -> None:
        """`limit` is the largest record that is taken, in bytes."""
        self.codec = codec
        self.is_open = False  # whether the server has accepted the handshake
        self.replay = Replay() if stateful else None
        self._limit = limit
        self._reader: RecordReader = TextReader(_MAX_HANDSHAKE)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "handshake"
        return f"ClientConnection({self.codec.name}, {state}, replay={self.replay!r})"

    def request(self) -> bytes:
        """The handshake request: the first bytes of the connection."""
        version = _STATEFUL if self.replay is not None else _PLAIN
        return encode_handshake_request(HandshakeRequest(self.codec.name, version))

    def send(self, message: Message) -> bytes:
        """The framed record of `message`. It counts as sent, and is kept where that was agreed."""
        data = self.codec.encode(message)
        if self.replay is not None and is_tracked(message):
            self.replay.sent(data)
        return data

    def receive(self, data: bytes) -> Iterator[Message]:
        """Take bytes, cut anywhere; yield the messages that are to be acted upon.

        Left out are messages of unknown type and what stateful reconnect deals with. Raises
        `HandshakeError` where the server refuses, `ProtocolError` at a record that is wrong.
        """
        if not self.is_open:
            rest = self._handshake(data)
            if rest is None:
                return
            data = rest
        for record in self._reader.feed(data):
            message = self.codec.decode(record)
            if message is not None and (self.replay is None or self.replay.accepts(message)):
                yield message

    def acknowledge(self) -> bytes:
        """The Ack that is due, nothing where none is."""
        ack = self.replay.ack() if self.replay is not None else None
        return self.codec.encode(ack) if ack is not None else b""

    def resume(self) -> bytes:
        """A new transport has taken over: forget half a record; return what goes out first on it.

        There is no second handshake (TransportProtocols.md, "Stateful Reconnect").
        """
        if self.replay is None:
            raise ValueError("stateful reconnect was not agreed")
        self._reader = self.codec.reader(self._limit)
        sequence, data = self.replay.replay()
        return self.codec.encode(sequence) + data

    def _handshake(self, data: bytes) -> bytes | None:
        """Look for the server's answer; return what follows it, `None` where it is incomplete."""
        reader = self._reader
        assert isinstance(reader, TextReader)
        record = reader.first(data)
        if record is None:
            return None
        try:
            response = decode_handshake_response(record)
        except ProtocolError as error:
            raise HandshakeError(f"Not a hub's answer to a handshake: {error}") from None
        if response.error is not None:
            raise HandshakeError(f"Server returned handshake error: {response.error}")
        self.is_open = True
        self._reader = self.codec.reader(self._limit)
        return reader.rest()
