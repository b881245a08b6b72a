"""Records cut out of streams, up to a limit, whatever the pieces are in which a stream comes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.strategies import cut
from tests.vectors.reading import cases, read

from hubbub.errors import ProtocolError
from hubbub.protocol.framing import BinaryReader, TextReader, varint

Reader = TextReader | BinaryReader
NO_SEPARATOR = st.binary(max_size=30).map(lambda data: data.replace(b"\x1e", b"-"))


def feed(reader: Reader, pieces: list[bytes]) -> list[bytes]:
    return [record for piece in pieces for record in reader.feed(piece)]


def drops(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


@pytest.mark.parametrize("vector", cases(read("length_prefixes")))
def test_a_length_is_written_in_sevens_of_bits_the_lowest_first(vector: dict[str, Any]) -> None:
    assert varint(vector["length"]).hex() == vector["bytes"]


@pytest.mark.parametrize("length", [-1, 2**31])
def test_a_length_that_no_record_has_cannot_be_written(length: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 2147483647"):
        varint(length)


@given(length=st.integers(0, 300_000))
def test_a_length_is_read_as_it_was_written(length: int) -> None:
    assert BinaryReader(300_000).feed(varint(length) + bytes(length)) == [bytes(length)]


@given(data=st.data(), records=st.lists(NO_SEPARATOR, max_size=6), partial=NO_SEPARATOR)
def test_text_cut_anywhere_gives_the_same_records_as_whole(
    data: st.DataObject, records: list[bytes], partial: bytes
) -> None:
    stream = b"".join(record + b"\x1e" for record in records) + partial
    reader = TextReader(30)

    received = feed(reader, data.draw(cut(stream)))

    assert received == records == TextReader(30).feed(stream)
    assert reader.rest() == partial
    assert reader.rest() == b""


@given(
    data=st.data(),
    records=st.lists(st.binary(max_size=300), max_size=6),
    partial=st.binary(max_size=100),
)
def test_binary_records_cut_anywhere_are_the_same_as_whole(
    data: st.DataObject, records: list[bytes], partial: bytes
) -> None:
    end = varint(200) + partial
    stream = b"".join(varint(len(record)) + record for record in records) + end
    reader = BinaryReader(300)

    received = feed(reader, data.draw(cut(stream)))

    assert received == records
    assert reader.rest() == end
    assert reader.rest() == b""


def test_text_that_drips_in_byte_by_byte_is_read() -> None:
    stream = b'{"type":6}\x1e' * 3
    assert feed(TextReader(1000), drops(stream)) == [b'{"type":6}'] * 3


def test_binary_records_that_drip_in_byte_by_byte_are_read() -> None:
    stream = (varint(300) + bytes(300)) * 2
    assert feed(BinaryReader(1000), drops(stream)) == [bytes(300)] * 2


def test_a_text_record_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert TextReader(4).feed(b"abcd\x1e") == [b"abcd"]
    assert TextReader(4).feed(b"abcd\x1eabcd") == [b"abcd"]
    for pieces in (
        [b"abcde\x1e"],
        [b"abcde"],
        [b"a\x1eabcde\x1e"],
        [b"abcde\x1ea"],
        [b"ab", b"cde"],
        [b"ab", b"cde\x1e"],
        [b"ab\x1e", b"abc", b"de\x1e"],
    ):
        with pytest.raises(ProtocolError, match="maximum message size of 4B was exceeded"):
            feed(TextReader(4), pieces)


def test_many_text_records_together_may_be_longer_than_the_limit() -> None:
    assert TextReader(4).feed(b"abcd\x1e" * 100) == [b"abcd"] * 100


def test_a_binary_record_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert BinaryReader(4).feed(b"\x04abcd") == [b"abcd"]
    assert BinaryReader(4).feed(b"\x04abcd" * 100) == [b"abcd"] * 100
    with pytest.raises(ProtocolError, match="maximum message size of 4B was exceeded"):
        BinaryReader(4).feed(b"\x05")


@pytest.mark.parametrize("prefix", ["ffffffff07", "8080808008", "ffffffff7f", "ffffff7f"])
def test_a_prefix_that_promises_too_much_is_refused_before_anything_is_kept(prefix: str) -> None:
    with pytest.raises(ProtocolError, match="maximum message size"):
        BinaryReader(1_048_576).feed(bytes.fromhex(prefix))


@pytest.mark.parametrize(
    "pieces",
    [
        ["ffffffffff"],
        ["8080808080"],
        ["808080808001"],
        ["80", "80", "80", "80", "80"],
        ["0100" + "ffffffffff"],
    ],
)
def test_a_prefix_of_more_than_five_bytes_is_refused(pieces: list[str]) -> None:
    with pytest.raises(ProtocolError, match="at most five bytes"):
        feed(BinaryReader(1_048_576), [bytes.fromhex(piece) for piece in pieces])


def test_an_empty_record_is_a_record() -> None:
    assert TextReader(4).feed(b"\x1e\x1e") == [b"", b""]
    assert BinaryReader(4).feed(b"\x00\x00") == [b"", b""]
    assert TextReader(4).feed(b"") == []
    assert BinaryReader(4).feed(b"") == []


def test_the_first_text_record_can_be_had_alone_and_the_rest_after_it() -> None:
    reader = TextReader(4)
    assert reader.first(b"ab") is None
    assert reader.first(b"cd\x1e\x02\x91\x06 and more than the limit") == b"abcd"
    assert reader.rest() == b"\x02\x91\x06 and more than the limit"


@pytest.mark.parametrize("data", [b"abcde", b"abcde\x1e"])
def test_the_first_text_record_is_no_longer_than_the_limit(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="maximum message size of 4B"):
        TextReader(4).first(data)
