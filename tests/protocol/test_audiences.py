"""What tokens are good for: a hub's clients or one REST call, under any name of the service."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.signing import KEY, LOCAL, NOW

from hubbub.protocol.tokens import (
    TokenError,
    check_client_audience,
    check_rest_audience,
    decode_token,
    issue_client_token,
    issue_rest_token,
)


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost/client/?hub=chat",
        "http://localhost:8888/client/?hub=chat",
        "http://localhost/client?hub=chat",
        "https://another.name/client/?hub=chat",
        "wss://another.name:443/client/?hub=CHAT",
        "HTTP://LOCALHOST/Client/?hub=chat",
        "http://localhost/client/?hub=chat&asrs.op=%2Fchat",
        "http://localhost/client/",
        "http://localhost/client",
        "/client/?hub=chat",
        ["http://other/api/", "http://localhost/client/?hub=chat"],
        ["http://localhost/client/?hub=other", "http://localhost/client/?hub=chat"],
        [1, None, "http://localhost/client/?hub=chat"],
    ],
)
def test_an_audience_of_clients_is_accepted_with_any_host_and_port(audience: Any) -> None:
    check_client_audience({"aud": audience}, "Chat")


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost/client/?hub=other",
        "http://localhost/client/?hub=",
        "http://localhost/server/?hub=chat",
        "http://localhost/clients/?hub=chat",
        "http://localhost/client/negotiate?hub=chat",
        "http://localhost/?hub=chat",
        "chat",
        "",
        [],
        ["http://localhost/client/?hub=other", "http://localhost/server/?hub=chat"],
        None,
        1,
        {},
    ],
)
def test_an_audience_of_other_hubs_or_paths_is_refused_to_clients(audience: Any) -> None:
    with pytest.raises(TokenError) as caught:
        check_client_audience({"aud": audience}, "chat")
    assert str(caught.value).startswith("The audience '")
    assert str(caught.value).endswith("' is invalid")
    assert "an audience that ends in /client/?hub=chat" in caught.value.advice


def test_a_token_without_an_audience_is_told_so() -> None:
    with pytest.raises(TokenError, match=r"The audience '\(null\)' is invalid"):
        check_client_audience({}, "chat")
    with pytest.raises(TokenError, match=r"The audience '\(null\)' is invalid"):
        check_rest_audience({}, "/api/hubs/chat")


@pytest.mark.parametrize(
    ("audience", "path"),
    [
        ("http://localhost:8888/api/hubs/chat/:send", "/api/hubs/chat/:send"),
        ("http://localhost/api/hubs/chat/:send", "/api/hubs/chat/:send"),
        ("http://localhost/api/hubs/chat/:send?api-version=2022-06-01", "/api/hubs/chat/:send"),
        (
            "http://localhost/api/hubs/chat/:send?application=a&api-version=1",
            "/api/hubs/chat/:send",
        ),
        ("https://other/API/Hubs/CHAT/:send/", "/api/hubs/chat/:send"),
        ("http://localhost/api/v1/hubs/chat", "/api/v1/hubs/chat/"),
        ("http://localhost/api/hubs/chat/users/a%2Fb/:send", "/api/hubs/chat/users/a/b/:send"),
        ("http://localhost/api/hubs/chat/users/%C3%A9/:send", "/api/hubs/chat/users/é/:send"),
        (["http://x/client/", "http://x/api/hubs/chat/:send"], "/api/hubs/chat/:send"),
    ],
)
def test_an_audience_of_a_rest_call_is_its_address_without_port_and_query(
    audience: Any, path: str
) -> None:
    check_rest_audience({"aud": audience}, path)


@pytest.mark.parametrize(
    "audience",
    [
        "http://localhost/api/hubs/chat",
        "http://localhost/api/hubs/other/:send",
        "http://localhost/api/v1/hubs/chat/:send",
        "http://localhost/api/hubs/chat/:send/more",
        "http://localhost",
        "",
        [],
    ],
)
def test_an_audience_of_another_call_is_refused(audience: Any) -> None:
    with pytest.raises(TokenError) as caught:
        check_rest_audience({"aud": audience}, "/api/hubs/chat/:send")
    assert "an audience that ends in /api/hubs/chat/:send, without a query" in caught.value.advice
    assert "client token" not in caught.value.advice


def test_a_client_token_at_the_rest_api_is_told_what_it_is() -> None:
    claims = decode_token(issue_client_token(LOCAL, "chat", now=NOW), [KEY], now=NOW)
    with pytest.raises(TokenError) as caught:
        check_rest_audience(claims, "/api/hubs/chat/:send")
    assert "This is a client token" in caught.value.advice


def test_a_rest_token_of_a_client_is_told_what_it_is() -> None:
    url = "http://localhost/api/hubs/chat/:send"
    claims = decode_token(issue_rest_token(LOCAL, url, now=NOW), [KEY], now=NOW)
    with pytest.raises(TokenError) as caught:
        check_client_audience(claims, "chat")
    assert "This is a REST token" in caught.value.advice


def test_a_wrong_audience_can_stand_in_a_header() -> None:
    with pytest.raises(TokenError) as caught:
        check_client_audience({"aud": "http://a/\r\nX: 'y' \"z\" \\ é \x00"}, "chat")
    assert str(caught.value) == "The audience 'http://a/X: y z   ' is invalid"


@pytest.mark.parametrize("check", [check_client_audience, check_rest_audience])
def test_an_audience_that_is_no_address_is_refused(check: Any) -> None:
    with pytest.raises(TokenError, match="The audience is invalid"):
        check({"aud": "http://[::1"}, "/api/hubs/chat")


@given(
    audience=st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.text()
        | st.sampled_from(["http://[", "//", "?"]),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_an_audience_of_any_type_is_refused(audience: Any) -> None:
    for check, what in ((check_client_audience, "chat"), (check_rest_audience, "/api/hubs/chat")):
        with pytest.raises(TokenError):
            check({"aud": audience}, what)
