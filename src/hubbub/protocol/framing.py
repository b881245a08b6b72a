"""Records in a stream of bytes: text records end in 0x1e, binary records begin with their length.

Pieces may arrive cut anywhere or joined; a reader keeps what is incomplete, up to its limit.
"""

from typing import Protocol

from hubbub.errors import ProtocolError

__all__ = ["BinaryReader", "RecordReader", "TextReader", "varint"]

_SEPARATOR = b"\x1e"
# HubProtocol.md, "MessagePack encoding": a VarInt of at most five bytes, at most 2^31 - 1.
_MAX_VARINT_BYTES = 5
_MAX_VARINT = 0x7FFFFFFF


class RecordReader(Protocol):
    """Cuts a stream of bytes into records."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the records that are complete now, without their framing."""

    def rest(self) -> bytes:
        """Hand over the bytes of the incomplete record and forget them."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no incomplete record."""


class TextReader:
    """Cuts text records at 0x1e. Satisfies `RecordReader`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the complete records. A record over the limit is an error."""
        if not self._partial and data.endswith(_SEPARATOR) and len(data) - 1 <= self._limit:
            return data[:-1].split(_SEPARATOR)
        *records, last = data.split(_SEPARATOR)
        if records and self._partial:
            records[0] = bytes(self._partial) + records[0]
            self._partial.clear()
        self._partial += last
        if any(len(record) > self._limit for record in (*records, self._partial)):
            raise _too_large(self._limit)
        return records

    def first(self, data: bytes) -> bytes | None:
        """Take more bytes; return the first complete record, and keep what follows for `rest`."""
        self._partial += data
        end = self._partial.find(_SEPARATOR)
        if end > self._limit or (end < 0 and len(self._partial) > self._limit):
            raise _too_large(self._limit)
        if end < 0:
            return None
        record = bytes(self._partial[:end])
        del self._partial[: end + 1]
        return record

    @property
    def is_empty(self) -> bool:
        """Whether there is no incomplete record."""
        return not self._partial

    def rest(self) -> bytes:
        """Hand over the bytes of the incomplete record and forget them."""
        rest = bytes(self._partial)
        self._partial.clear()
        return rest


class BinaryReader:
    """Cuts binary records by their length prefix. Satisfies `RecordReader`.

    A prefix over the limit is an error as soon as it is read: nothing is kept for it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._missing = 0  # so a record that drips in byte by byte is not looked at each time

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the complete records. A record over the limit is an error."""
        if self._partial:
            self._partial += data
            if len(data) < self._missing:
                self._missing -= len(data)
                return []
            data = self.rest()
        records = []
        position = 0
        while (head := self._length(data, position)) is not None:
            start, length = head
            if start + length > len(data):
                self._missing = start + length - len(data)
                break
            records.append(data[start : start + length])
            position = start + length
        self._partial += data[position:]
        return records

    @property
    def is_empty(self) -> bool:
        """Whether there is no incomplete record."""
        return not self._partial

    def rest(self) -> bytes:
        """Hand over the bytes of the incomplete record and forget them."""
        rest = bytes(self._partial)
        self._partial.clear()
        self._missing = 0
        return rest

    def _length(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Where the record at `position` starts, and its length; `None` if cut off before that."""
        length = shift = 0
        for index in range(position, min(position + _MAX_VARINT_BYTES, len(data))):
            byte = data[index]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                if length > self._limit:
                    raise _too_large(self._limit)
                return index + 1, length
        if len(data) - position >= _MAX_VARINT_BYTES:
            raise ProtocolError("A length prefix is at most five bytes long.")
        return None


def varint(number: int) -> bytes:
    """Format a record's length as HubProtocol.md does: seven bits a byte, the lowest first."""
    if not 0 <= number <= _MAX_VARINT:
        raise ValueError(f"a record's length is between 0 and {_MAX_VARINT}, not {number}")
    if number < 0x80:
        return bytes((number,))
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _too_large(limit: int) -> ProtocolError:
    # The reference server's sentence, so that what people search for is what they see.
    return ProtocolError(f"The maximum message size of {limit}B was exceeded.")
