"""Texts in webhook headers: what a header cannot carry arrives all the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.protocol.upstreamtext import (
    decode_text,
    encode_query,
    encode_text,
    format_claims,
    parse_claims,
    parse_query,
)

LONG = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("bob", "bob"),
        ("100% a+b, c: d", "100% a+b, c: d"),
        ("a%2Fb", "a%2Fb"),
        ("Jürgen", "J%C3%BCrgen"),
        ("你好", "%E4%BD%A0%E5%A5%BD"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
        (" both ends  ", "%20both ends%20%20"),
        ("\u00e9 ", "%C3%A9%20"),
        ("", ""),
    ],
)
def test_printable_ascii_stays_and_the_rest_is_percent_encoded(text: str, header: str) -> None:
    assert encode_text(text) == header
    assert decode_text(header) == text


def test_a_long_row_of_blanks_costs_no_more_than_its_length() -> None:
    blanks = " " * 1_000_000  # whose square would take hours

    assert encode_text(f"é{blanks}x") == f"%C3%A9{blanks}x"
    assert format_claims({"a": f",{blanks}x"}) == f"a: %2C{blanks}x"
    assert encode_text(blanks) == "%20" * len(blanks)


def test_a_character_that_utf_8_cannot_say_does_not_break_the_request() -> None:
    assert encode_text("a\ud800") == "a%3F"


@pytest.mark.parametrize("value", ["%FF", "%C3", "%41", "50%", "%zz", "a%20b", "%2C"])
def test_what_the_encoding_never_makes_is_not_decoded(value: str) -> None:
    assert decode_text(value) == value


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="%")))
def test_every_text_without_percent_arrives_in_printable_ascii(text: str) -> None:
    header = encode_text(text)

    assert header.isascii()
    assert header.isprintable()
    assert header == header.strip()
    assert decode_text(header) == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="%"), min_size=1)


# A plain word could be a short name, which arrives as its long one.
@given(st.dictionaries(TEXTS.filter(lambda name: not name.isidentifier()), TEXTS))
def test_claims_arrive_whatever_is_in_them(claims: dict[str, str]) -> None:
    header = format_claims(claims)

    assert header.isascii()
    assert header.isprintable()
    assert parse_claims(header) == claims


def test_a_value_cannot_smuggle_in_another_claim() -> None:
    header = format_claims({"nick": "bob, role: admin", "title": "a: b"})

    assert header == "nick: bob%2C role%3A admin, title: a%3A b"
    assert parse_claims(header) == {"nick": "bob, role: admin", "title": "a: b"}


def test_claims_have_the_names_that_apps_of_the_original_find() -> None:
    header = format_claims({"nameid": "bob", "role": ["a", "b"], "asrs.s.uid": "bob"})

    assert header == (
        f"{LONG}nameidentifier: bob, "
        "http://schemas.microsoft.com/ws/2008/06/identity/claims/role: a, "
        "http://schemas.microsoft.com/ws/2008/06/identity/claims/role: b, asrs.s.uid: bob"
    )


def test_claims_that_are_no_texts_are_json() -> None:
    header = format_claims({"admin": True, "age": 7, "none": None, "tree": {"a": [1]}})

    assert header == 'admin: true, age: 7, none: null, tree: {"a":[1]}'


def test_an_address_in_a_claim_stays_as_it_is() -> None:
    picture = "https://example.org/a%2Fb?d=https%3A%2F%2Fexample.net%2Fc"

    assert format_claims({"picture": picture}) == f"picture: {picture}"
    assert parse_claims(f"picture: {picture}") == {"picture": picture}


def test_no_claims_are_no_header() -> None:
    assert format_claims({}) == ""
    assert parse_claims("") == {}


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ("k1: v1, k1: v2, k2: v3", {"k1": "v1", "k2": "v3"}),  # UP-01
        ("a: b: c, d", {}),
        ("k: , k: v", {"k": "v"}),
        (" k : v ", {"k": "v"}),
    ],
)
def test_claims_are_read_as_azure_functions_reads_them(header: str, claims: dict[str, str]) -> None:
    assert parse_claims(header) == claims


@pytest.mark.parametrize(
    ("header", "query"),
    [
        ("?k1=v1&k1=v2&k2=v3", {"k1": "v1,v2", "k2": "v3"}),  # UP-02
        ("k=a+b%20c&empty=&bare", {"k": "a b c", "empty": "", "bare": ""}),
        ("", {}),
        ("?", {}),
    ],
)
def test_queries_are_read_as_azure_functions_reads_them(header: str, query: dict[str, str]) -> None:
    assert parse_query(header) == query


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("hub=chat&a=b%20c", "?hub=chat&a=b%20c"),
        ("", ""),
        ("a=J\u00c3\u00bcrgen", "?a=J%C3%BCrgen"),  # the bytes of UTF-8, a character each
        ("a=\x01 \u20ac", "?a=%01%20?"),
    ],
)
def test_a_query_goes_as_the_client_sent_it(query: str, header: str) -> None:
    assert encode_query(query) == header
