"""Filters of connections: what they choose, what they refuse, and that none takes long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.service.filter import MAX_LENGTH, FilterError, Subject, parse_filter

ADA = Subject("c1", "ada", {"red", "blue"})
BOB = Subject("c2", "Bob O'Neil", {"red"})
NOBODY = Subject("c3", None, ())
EVERYBODY = {"ada": ADA, "bob": BOB, "nobody": NOBODY}


def chosen(text: str) -> set[str]:
    accepts = parse_filter(text)
    return {name for name, subject in EVERYBODY.items() if accepts(subject)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", {"ada", "bob", "nobody"}),
        ("false", set()),
        ("userId eq 'ada'", {"ada"}),
        ("userId eq 'Ada'", set()),
        ("USERID EQ 'ada'", {"ada"}),
        ("'ada' eq userId", {"ada"}),
        ("userId eq null", {"nobody"}),
        ("userId ne null", {"ada", "bob"}),
        ("userId ne 'ada'", {"bob", "nobody"}),
        ("userId eq 'Bob O''Neil'", {"bob"}),
        ("connectionId eq 'c3'", {"nobody"}),
        ("connectionId gt 'c1' and connectionId le 'c3'", {"bob", "nobody"}),
        ("'red' in groups", {"ada", "bob"}),
        ("'red' in (groups)", {"ada", "bob"}),
        ("not ('blue' in groups)", {"bob", "nobody"}),
        ("userId in ('ada', 'eve')", {"ada"}),
        ("userId in ('ada', null)", {"ada", "nobody"}),
        ("length(groups) gt 1", {"ada"}),
        ("length(groups) eq 0", {"nobody"}),
        ("length(userId) ge 3", {"ada", "bob"}),
        ("length(userId) lt -1", set()),
        ("startswith(userId, 'a')", {"ada"}),
        ("endswith(userId,'Neil')", {"bob"}),
        ("contains(userId, ' ')", {"bob"}),
        ("not startswith(userId, 'a')", {"bob", "nobody"}),
        ("startswith(userId, 'a') eq true", {"ada"}),
        ("indexof(userId, 'd') eq 1", {"ada"}),
        ("indexof(userId, 'x') eq -1", {"ada", "bob"}),
        ("tolower(userId) eq 'bob o''neil'", {"bob"}),
        ("toupper(userId) eq 'ADA'", {"ada"}),
        ("trim(concat(' ', userId)) eq 'ada'", {"ada"}),
        ("substring(userId, 1) eq 'da'", {"ada"}),
        ("substring(userId, 0, 2) eq 'ad'", {"ada"}),
        ("substring(userId, -5, +2) eq 'ad'", {"ada"}),
        ("userId eq 'x' or userId eq 'ada' and 'red' in groups", {"ada"}),
        ("(userId eq 'ada' or userId eq null) and not ('red' in groups)", {"nobody"}),
        ("not not true", {"ada", "bob", "nobody"}),
        ("true and\ttrue\n", {"ada", "bob", "nobody"}),
        ("'a' in ('a')", {"ada", "bob", "nobody"}),
    ],
)
def test_a_filter_chooses(text: str, expected: set[str]) -> None:
    assert chosen(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected userId"),
        ("   ", "expected userId"),
        ("userId", "this is a string"),
        ("1", "this is a whole number"),
        ("groups", "this is groups"),
        ("null", "this is null"),
        ("userId eq", "Unexpected 'the end'"),
        ("userId eq 'a", "cannot be read at character 11"),
        ('userId eq "a"', "cannot be read"),
        ("userId == 'a'", "cannot be read at character 8"),
        ("userId eq 1", "compares a string with a whole number"),
        ("groups eq 'a'", "does not compare groups"),
        ("groups in ('a')", "Left of 'in' is one value"),
        ("'a' in userId", "Right of 'in' is groups"),
        ("userId in ()", "Unexpected ')'"),
        ("userId in ('a'", "expected ')'"),
        ("userId in ('a', 1)", "compares a string with a whole number"),
        ("(true", "expected ')'"),
        ("true)", "Unexpected ')'"),
        ("true true", "Unexpected 'true'"),
        ("true and", "Unexpected 'the end'"),
        ("true and userId", "Beside 'and' is a string"),
        ("1 or true", "Beside 'or' is a whole number"),
        ("not userId", "'not' is followed by a string"),
        ("not length(userId) gt 5", "parentheses, as in not (length(userId) gt 5)"),
        ("name eq 'a'", "Unexpected 'name'"),
        ("__import__('os')", "the functions are startswith"),
        ("startswith(userId)", "startswith has 2 arguments, not 1"),
        ("startswith(userId, 'a', 'b')", "has 2 arguments, not 3"),
        ("startswith(userId, 1)", "is given a whole number where a string belongs"),
        ("length(1) eq 1", "length is given a whole number"),
        ("tolower(groups) eq 'a'", "tolower is given groups"),
        ("length(userId) eq 1234567890", "at most 9 digits"),
        ("userId.x eq 'a'", "cannot be read"),
        ("userId eq 'a'; true", "cannot be read"),
        ("ünïcode eq 'a'", "cannot be read at character 1"),
    ],
)
def test_what_is_no_filter_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse_filter(text)

    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 40 + "true" + ")" * 40,
        "not " * 40 + "true",
        "not (" * 40 + "true" + ")" * 40,
        "tolower(" * 40 + "userId" + ")" * 40 + " eq 'a'",
        " and ".join(["true"] * 600),
        "userId eq '" + "x" * MAX_LENGTH + "'",
        "(" * 4000,
        "not " * 2000,
    ],
)
def test_a_filter_that_is_larger_than_any_need_be_is_refused(text: str) -> None:
    with pytest.raises(FilterError, match="at most"):
        parse_filter(text)


def test_a_filter_may_have_a_hundred_clauses_and_nest() -> None:
    clauses = " or ".join(f"userId eq 'u{number}'" for number in range(100))
    nested = "(" * 20 + clauses + ")" * 20

    assert chosen(nested) == set()
    assert parse_filter(nested)(Subject("c", "u99", ())) is True


WORDS = st.sampled_from(
    ["userId", "connectionId", "groups", "'ada'", "'red'", "''", "1", "-1", "null", "true", "false",
     "eq", "ne", "gt", "in", "and", "or", "not", "(", ")", ",", "startswith", "length", "substring",
     "contains", "concat", "tolower", "x", "'"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=14).map(" ".join))
def test_any_words_are_a_filter_or_refused(text: str) -> None:
    try:
        accepts = parse_filter(text)
    except FilterError:
        return
    assert {accepts(subject) for subject in EVERYBODY.values()} <= {True, False}


@st.composite
def filters(draw: Any, depth: int = 0) -> tuple[str, Any]:
    """A filter and the same as a Python function."""
    joins = ["not", "and", "or"] if depth < 3 else []
    kind = draw(st.sampled_from(["eq", "group", "starts", "list", *joins]))
    user = draw(st.sampled_from(["ada", "Bob O'Neil", "", "a", "B"]))
    quoted = "'" + user.replace("'", "''") + "'"
    if kind == "eq":
        return f"userId eq {quoted}", lambda s: s.user_id == user
    if kind == "group":
        return f"{quoted} in groups", lambda s: user in s.groups
    if kind == "starts":
        return (
            f"startswith(userId,{quoted})",
            lambda s: s.user_id is not None and s.user_id.startswith(user),
        )
    if kind == "list":
        return f"userId in ({quoted}, 'ada')", lambda s: s.user_id in (user, "ada")
    left, first = draw(filters(depth=depth + 1))
    if kind == "not":
        return f"not ({left})", lambda s: not first(s)
    right, second = draw(filters(depth=depth + 1))
    if kind == "and":
        return f"({left}) and ({right})", lambda s: first(s) and second(s)
    return f"({left}) or ({right})", lambda s: first(s) or second(s)


@given(filters())
def test_a_filter_means_what_it_says(case: tuple[str, Any]) -> None:
    text, expected = case
    accepts = parse_filter(text)

    assert [accepts(each) for each in EVERYBODY.values()] == [
        expected(each) for each in EVERYBODY.values()
    ]
