"""The server's end of one hub connection: bytes in, handshake and messages out. No I/O, no clock.

It checks the handshake and cuts and decodes what follows; what a message means is not its affair.
"""

from collections.abc import Iterator

from hubbub.errors import ProtocolError
from hubbub.protocol.codec import CODECS, VERSIONS, Codec, decode_handshake_request
from hubbub.protocol.framing import RecordReader, TextReader
from hubbub.protocol.messages import HandshakeRequest, Message

__all__ = ["HandshakeError", "ServerConnection"]

# A handshake is some fifty bytes; extra members are allowed, megabytes of them are not.
_MAX_HANDSHAKE = 4096


class HandshakeError(ProtocolError):
    """A handshake that cannot be accepted. The message is the one the client is told.

    `detail` says more to the service's log, and to a client that may see detailed errors.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class ServerConnection:
    """Reads what a client sends (HubProtocol.md, "Overview"). `codec` is set by the handshake."""

    __slots__ = ("_limit", "_reader", "_versions", "carries_binary", "codec", "version")

    def __init__(
        self, *, limit: int, carries_binary: bool = True, versions: tuple[int, ...] = VERSIONS[:1]
    ) -> None:
        """`limit` is the largest record in bytes; `carries_binary` says what the transport can."""
        self.codec: Codec | None = None
        self.version = 0
        self.carries_binary = carries_binary
        self._limit = limit
        self._versions = versions
        self._reader: RecordReader = TextReader(_MAX_HANDSHAKE)

    def __repr__(self) -> str:
        return f"ServerConnection({self.codec.name if self.codec else 'handshake'})"

    def receive(self, data: bytes) -> Iterator[HandshakeRequest | Message]:
        """Take bytes; yield the handshake request first, then the messages, as they are complete.

        Messages of unknown type are left out. Raises `HandshakeError` or `ProtocolError` at the
        record that is wrong; those before it have been yielded then.
        """
        if self.codec is None:
            request = self._handshake(data)
            if request is None:
                return
            yield request
            data = self._start(request)
        codec = self.codec
        assert codec is not None
        for record in self._reader.feed(data):
            message = codec.decode(record)
            if message is not None:
                yield message

    @property
    def is_empty(self) -> bool:
        """Whether no record has been begun and not ended."""
        return self._reader.is_empty

    def restart(self) -> None:
        """A new transport takes over: forget the piece of a record that the old one left."""
        assert self.codec is not None
        self._reader = self.codec.reader(self._limit)

    def _handshake(self, data: bytes) -> HandshakeRequest | None:
        reader = self._reader
        assert isinstance(reader, TextReader)
        try:
            record = reader.first(data)
            if record is None:
                return None
            request = decode_handshake_request(record)
        except ProtocolError as error:
            raise HandshakeError(
                "An unexpected error occurred during connection handshake.", str(error)
            ) from None
        self._check(request)
        self.codec = CODECS[request.protocol]
        self.version = request.version
        return request

    def _check(self, request: HandshakeRequest) -> None:
        codec = CODECS.get(request.protocol)
        if codec is None:
            raise HandshakeError(f"The protocol '{request.protocol}' is not supported.")
        if codec.is_binary and not self.carries_binary:
            raise HandshakeError(
                f"Cannot use the '{codec.name}' protocol on the current transport. "
                "The transport does not support 'Binary' transfer format."
            )
        if request.version not in self._versions:
            raise HandshakeError(
                f"The server does not support version {request.version} "
                f"of the '{codec.name}' protocol."
            )

    def _start(self, request: HandshakeRequest) -> bytes:
        """Read records of the chosen encoding from here on; return what followed the handshake."""
        rest = self._reader.rest()
        self._reader = CODECS[request.protocol].reader(self._limit)
        return rest
