"""Which tokens are accepted for their signature and their times, and what the others are told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.signing import KEY, NOW, OTHER_KEY, TIMES, VECTORS, base64url, sign

from hubbub.protocol.tokens import TokenError, check_client_audience, decode_token


def refused(token: str, now: int = NOW) -> TokenError:
    with pytest.raises(TokenError) as caught:
        decode_token(token, [KEY], now=now)
    return caught.value


def test_a_token_of_the_official_tools_is_accepted() -> None:
    vector = VECTORS["JW-01"]
    claims = decode_token(vector["token"], [KEY], now=NOW)
    assert claims == vector["claims"]
    check_client_audience(claims, "chat")


def test_every_key_signs_whatever_the_token_calls_it() -> None:
    token = sign(TIMES, {"alg": "HS256", "kid": "-1234567", "typ": "JWT"}, OTHER_KEY)
    assert decode_token(token, [KEY, OTHER_KEY], now=NOW) == TIMES
    assert decode_token(sign(TIMES), [KEY, OTHER_KEY], now=NOW) == TIMES


def test_hs512_is_accepted_with_a_key_of_the_usual_length() -> None:
    assert decode_token(sign(TIMES, {"alg": "HS512"}, hash_name="sha512"), [KEY], now=NOW) == TIMES


def test_a_token_of_another_key_is_refused_with_a_word_on_what_to_compare() -> None:
    error = refused(sign(TIMES, key=OTHER_KEY))
    assert str(error) == "The signature key was not found"
    assert "AccessKey" in error.advice


def test_a_changed_token_is_refused() -> None:
    header, _, signature = sign(TIMES).split(".")
    changed = base64url(b'{"exp":9999999999}')
    assert str(refused(f"{header}.{changed}.{signature}")) == "The signature key was not found"


def test_no_key_accepts_nothing() -> None:
    with pytest.raises(TokenError, match="The signature key was not found"):
        decode_token(sign(TIMES), [], now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "NONE"},
        {"alg": ""},
        {"alg": None},
        {"alg": []},
        {"alg": {}},
        {"alg": 256},
        {},
        {"alg": "HS384"},
        {"alg": "hs256"},
        {"alg": "RS256"},
        {"alg": "ES256"},
        {"alg": "PS512"},
        {"alg": "EdDSA"},
        {"alg": "HS256", "kid": 1},
        {"alg": "HS256", "crit": ["unknown"]},
        {"alg": "HS256", "crit": 1},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
        [],
        "HS256",
        1,
    ],
)
def test_a_foreign_algorithm_or_header_is_refused_even_where_the_signature_fits(
    header: Any,
) -> None:
    assert str(refused(sign(TIMES, header))) == "The token is malformed"


def test_an_unsigned_token_is_refused() -> None:
    header, payload, _ = sign(TIMES, {"alg": "none"}).split(".")
    assert str(refused(f"{header}.{payload}.")) == "The token is malformed"


def test_a_public_key_is_no_access_key_for_rs256() -> None:
    # Key confusion: a service that knows a public key may take it for the secret of an HMAC.
    public = (
        "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----"
    )
    assert str(refused(sign(TIMES, {"alg": "RS256"}, public))) == "The token is malformed"
    assert str(refused(sign(TIMES, {"alg": "HS256"}, public))) == "The signature key was not found"


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "\ud800.a.b", "a" * 100_000],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert str(refused(token)) == "The token is malformed"


@given(pieces=st.lists(st.sampled_from([*sign(TIMES).split("."), ".", "=", "A", "é"]), max_size=8))
def test_pieces_of_a_token_do_no_more_than_be_refused(pieces: list[str]) -> None:
    token = "".join(pieces)
    try:
        assert decode_token(token, [KEY], now=NOW) == TIMES
    except TokenError:
        return
    assert token == sign(TIMES)


def test_what_is_said_about_a_token_does_not_hold_it() -> None:
    token = sign({"exp": 1, "secret": "s3cret"})
    error = refused(token)
    for part in (*token.split("."), "s3cret"):
        assert part not in str(error) + error.advice


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"1",
        b"null",
        b'"text"',
        b"\xff",
        b"{",
        b'{"exp":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"exp":1e999}',
    ],
)
def test_a_payload_that_is_no_object_is_refused(text: bytes) -> None:
    assert str(refused(sign(None, text=text))) == "The token is malformed"


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize(
    "value", ["1700000000", True, [1_700_000_000], {}, 10**30, -(10**11), -1, 1e300]
)
def test_a_time_that_is_no_number_of_seconds_is_refused(name: str, value: Any) -> None:
    error = refused(sign({"exp": NOW + 60, name: value}))
    assert str(error) == "The token lifetime is invalid"
    assert error.advice == f"{name} is a number of Unix seconds."


def test_a_token_without_an_end_is_refused() -> None:
    assert str(refused(sign({}))) == "The token has no expiration"
    assert str(refused(sign({"exp": None}))) == "The token has no expiration"


def test_a_token_may_do_without_a_beginning_and_have_parts_of_seconds() -> None:
    claims = {"exp": NOW + 0.5, "nbf": None}
    assert decode_token(sign(claims), [KEY], now=NOW) == claims


def test_a_token_that_ends_before_it_begins_is_refused() -> None:
    assert str(refused(sign({"nbf": NOW + 1, "exp": NOW}))) == (
        "The token lifetime is invalid; "
        "NotBefore: '11/14/2023 22:13:21', Expires: '11/14/2023 22:13:20'"
    )


def test_five_minutes_of_clock_skew_are_allowed_and_no_second_more() -> None:
    expired = sign({"exp": NOW})
    decode_token(expired, [KEY], now=NOW + 300)
    error = refused(expired, now=NOW + 301)
    assert str(error) == "The token expired at '11/14/2023 22:13:20'"
    assert "It is 11/14/2023 22:18:21 here" in error.advice

    early = sign({"nbf": NOW, "exp": NOW + 3600})
    decode_token(early, [KEY], now=NOW - 300)
    error = refused(early, now=NOW - 301)
    assert str(error) == "The token is not valid before '11/14/2023 22:13:20'"
    assert "It is 11/14/2023 22:08:19 here" in error.advice


def test_the_skew_can_be_chosen() -> None:
    decode_token(sign({"exp": NOW}), [KEY], now=NOW, skew=0)
    with pytest.raises(TokenError, match="The token expired"):
        decode_token(sign({"exp": NOW}), [KEY], now=NOW + 1, skew=0)
