"""What a supervisor hears of a child: word by word, in whatever pieces they come."""

import os
from collections.abc import Iterator

import pytest

from hubbub.cli.words import Words


@pytest.fixture
def pipe() -> Iterator[tuple[Words, int]]:
    """What hears, and where to write."""
    read_end, write_end = os.pipe()
    words = Words(read_end)
    yield words, write_end
    words.close()


def test_words_come_one_by_one_then_none_then_the_end(pipe: tuple[Words, int]) -> None:
    words, write_end = pipe
    assert words.next(0.0) is None
    os.write(write_end, b'{"a": 1}\n{"b": 2}\n{"c"')
    assert words.next(30.0) == {"a": 1}
    assert words.next(30.0) == {"b": 2}
    assert words.next(0.0) is None
    os.write(write_end, b": 3}\n")
    assert words.next(30.0) == {"c": 3}
    os.close(write_end)
    assert words.next(30.0) == {}
    assert words.next(30.0) == {}
