"""Binding expressions: settings, names of the request, and what every trigger has."""

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from hubbub.functions.dotnet import format_datetime, format_guid
from hubbub.functions.expressions import parse_template, resolve_settings
from hubbub.functions.function import FunctionError, InvocationError
from hubbub.functions.request import HttpCall, HttpData

REQUEST = HttpData(
    HttpCall(
        method="POST",
        url=lambda: "http://localhost/api/f",
        headers={"x-ms-client-principal-id": "principal", "x-user": "header"},
        query={"user": "query", "code": "secret", "Name": "bob", "both": "query"},
        route={"id": "5", "both": "route"},
        body=b'{"user":"body","u1":"one","tags":[1],"n":1.0,"f":1.5,"yes":true,"no":null,'
        b'"deep":{"Er":{"x":"y"}},"date":"2026-01-02T03:04:05+00:00","both":"body"}',
    )
)


def evaluate(text: str, data: Any = REQUEST) -> str:
    return parse_template(text).evaluate(data, "negotiate")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{u1}", "one"),
        ("{U1}-{id}", "one-5"),
        ("{user}", "query"),
        ("{both}", "route"),
        ("{query.user}", "query"),
        ("{Query.name}", "bob"),
        ("{query.code}", "secret"),
        ("{headers.x-ms-client-principal-id}", "principal"),
        ("{headers.X-User}", "header"),
        ("{deep.er.X}", "y"),
        ("{deep.er}", '{"x": "y"}'),
        ("{n} {f} {yes} {no}", "1 1.5 True "),
        ("{{{u1}}}", "{one}"),
        ("{date:yyyy/MM}", "2026/01"),
        ("{sys.MethodName}", "negotiate"),
    ],
)
def test_a_name_is_replaced_by_its_value(text: str, value: str) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("{rand-guid}", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("{rand-guid:N}", r"[0-9a-f]{32}"),
        ("{sys.RandGuid}", r"[0-9a-f]{8}-.*"),
        ("{datetime}", r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ"),
        ("{datetime:yyyyMM}", r"\d{6}"),
        ("{sys.UtcNow:yyyy}", r"\d{4}"),
    ],
)
def test_times_and_guids_are_new(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, evaluate(text))


def test_dates_and_guids_take_the_usual_forms() -> None:
    moment = datetime(2026, 2, 3, 16, 5, 6, 789000, tzinfo=UTC)
    form = "yyyy yy MMMM MMM MM M dddd ddd dd d HH H hh h mm m ss s fff tt K zzz 'yy'"
    guid = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")

    assert format_datetime(moment, form) == (
        "2026 26 February Feb 02 2 Tuesday Tue 03 3 16 16 04 4 05 5 06 6 789 PM Z +00:00 yy"
    )
    assert format_guid(guid, "b") == "{0f8fad5b-d9cb-469f-a165-70867728950e}"
    assert format_guid(guid, "P") == "(0f8fad5b-d9cb-469f-a165-70867728950e)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{tags}", "No value for named parameter 'tags'."),
        ("{code}", "No value for named parameter 'code'."),
        ("{none}", "No value for named parameter 'none'."),
        ("{headers.x-no}", "Error while accessing 'headers.x-no': property doesn't exist."),
        ("{u1.x}", "Error while accessing 'u1.x'"),
        ("{deep.no.x}", "Error while accessing 'deep.no'"),
        ("{sys.Unknown}", "No value for named parameter 'sys'."),
    ],
)  # fmt: skip
def test_a_missing_name_fails_the_invocation(text: str, words: str) -> None:
    with pytest.raises(InvocationError) as raised:
        evaluate(text)
    assert words in str(raised.value)


def test_a_part_of_a_route_may_be_called_code() -> None:
    call = HttpCall(
        method="GET", url=str, headers={}, query={"code": "key"}, route={"Code": "7"}, body=b""
    )

    assert evaluate("{code}", HttpData(call)) == "7"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"5", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_offers_no_names(body: bytes) -> None:
    call = HttpCall(method="POST", url=str, headers={}, query={}, route={}, body=body)

    with pytest.raises(InvocationError, match="No value for named parameter 'a'"):
        evaluate("{a}", HttpData(call))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{a-b}", "The parameter name 'a-b' is invalid."),
        ("{}", "The parameter name '' is invalid."),
        ("{a..b}", "The parameter name 'a..b' is invalid."),
        ("{a", "is never closed"),
        ("a}", "has no opening"),
    ],
)
def test_a_wrong_expression_is_refused_when_the_app_is_loaded(text: str, words: str) -> None:
    with pytest.raises(FunctionError) as raised:
        parse_template(text)
    assert words in str(raised.value)


def test_settings_are_replaced_when_the_app_is_loaded() -> None:
    settings = {"HUB": "chat", "ENV": "dev", "EMPTY": ""}

    assert resolve_settings("%HUB%-%ENV%%EMPTY%", settings.get) == "chat-dev"
    assert resolve_settings("plain", settings.get) == "plain"
    with pytest.raises(FunctionError, match="'%NONE%' does not resolve to a value"):
        resolve_settings("x%NONE%", settings.get)
    with pytest.raises(FunctionError, match="The '%' at position 3 does not have a closing '%'"):
        resolve_settings("50 %", settings.get)
