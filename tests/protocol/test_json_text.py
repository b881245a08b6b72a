"""JSON with comments and trailing commas, and what is said about everything else."""

import pytest

from hubbub.errors import ConfigError
from hubbub.protocol.jsontext import parse_json, parse_json_object


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1} // the end', {"a": 1}),
        ('{/* one\n two */ "a": [1, 2,], }', {"a": [1, 2]}),
        ('{"url": "http://x//y", "b": "/* no comment */", "c": ",]"}',
         {"url": "http://x//y", "b": "/* no comment */", "c": ",]"}),
        (r'{"a": "\"//"}', {"a": '"//'}),
        ("[1]", [1]),
    ],
)  # fmt: skip
def test_comments_and_trailing_commas_are_left_out_and_texts_are_not(
    text: str, value: object
) -> None:
    assert parse_json(text, "a.json") == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{\n  /* a\n  comment */\n  "a": ?\n}', "a.json line 4, column 8: this is not valid JSON"),
        ("", "a.json line 1, column 1: this is not valid JSON"),
        ("{" * 10 + '"a":', "a.json line 1, column 2: this is not valid JSON"),
        ("[" * 100_000, "a.json is nested too deeply"),
        ("1" * 5000, "a.json is not valid JSON \\(Exceeds the limit"),
        ("[1]", "a.json must hold one JSON object"),
        ("null", "a.json must hold one JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^{reason}"):
        parse_json_object(text, "a.json")
