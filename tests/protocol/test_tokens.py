"""Access tokens as they are issued to clients and for REST calls."""

import json
from typing import Any

import pytest
from jwt.api_jws import PyJWS
from tests.protocol.signing import AZURE, KEY, LOCAL, NOW, VECTORS, base64url, payload_of

from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import parse_connection_string
from hubbub.protocol.tokens import (
    MAX_TOKEN_LENGTH,
    check_client_audience,
    check_rest_audience,
    decode_token,
    issue_client_token,
    issue_rest_token,
)

HEADER = {"alg": "HS256", "typ": "JWT", "kid": "0"}


def test_a_client_token_is_the_one_that_the_azure_sdk_makes() -> None:
    vector = VECTORS["client"]
    token = issue_client_token(
        AZURE,
        vector["hub"],
        now=vector["now"],
        user_id=vector["user_id"],
        claims=[tuple(claim) for claim in vector["claims"]],
    )
    assert token.split(".")[1] == base64url(vector["payload_text"].encode())
    assert PyJWS().get_unverified_header(token) == HEADER


def test_a_rest_token_is_the_one_that_the_azure_sdk_makes() -> None:
    vector = VECTORS["rest"]
    token = issue_rest_token(
        AZURE, vector["url"], now=vector["now"], server_name=vector["server_name"]
    )
    assert token.split(".")[1] == base64url(vector["payload_text"].encode())
    assert PyJWS().get_unverified_header(token) == HEADER


@pytest.mark.parametrize("name", ["client", "rest"])
def test_the_signature_of_the_azure_sdk_is_accepted(name: str) -> None:
    # Its header has the same members in another order, which is all that differs from ours.
    vector = VECTORS[name]
    signed = ".".join(map(base64url, (json.dumps(HEADER, separators=(",", ":")).encode(),
                                      vector["payload_text"].encode())))  # fmt: skip
    claims = decode_token(f"{signed}.{vector['signature']}", [KEY], now=NOW)
    assert claims == json.loads(vector["payload_text"])


def test_what_is_issued_is_accepted() -> None:
    client = decode_token(issue_client_token(LOCAL, "Chat", now=NOW), [KEY], now=NOW)
    check_client_audience(client, "chat")
    assert client["aud"] == "http://localhost/client/?hub=chat"

    url = "http://localhost:8888/api/hubs/chat/:send?api-version=2024-12-01"
    rest = decode_token(issue_rest_token(LOCAL, url, now=NOW), [KEY], now=NOW)
    check_rest_audience(rest, "/api/hubs/chat/:send")
    assert rest["aud"] == "http://localhost:8888/api/hubs/chat/:send"


def test_a_token_lives_for_an_hour_or_as_long_as_it_is_told() -> None:
    hour = payload_of(issue_client_token(LOCAL, "chat", now=NOW))
    minute = payload_of(issue_client_token(LOCAL, "chat", now=NOW, lifetime=60))
    assert (hour["nbf"], hour["iat"], hour["exp"]) == (NOW, NOW, NOW + 3600)
    assert minute["exp"] == NOW + 60


def claims_of(*claims: tuple[str, Any]) -> dict[str, Any]:
    issued = payload_of(issue_client_token(LOCAL, "chat", now=NOW, claims=claims))
    return {name: issued[name] for name in issued if name not in {"nbf", "exp", "iat", "aud"}}


@pytest.mark.parametrize(
    "name", ["aud", "exp", "iat", "nbf", "iss", "actort", "acr", "azp", "c_hash", "jti", "nonce"]
)
def test_a_claim_with_the_name_of_a_tokens_own_is_renamed_and_becomes_text(name: str) -> None:
    issued = payload_of(issue_client_token(LOCAL, "chat", now=NOW, claims={name: 7}))
    assert issued[f"asrs.u.{name}"] == "7"
    assert issued.get(name) != 7


def test_claims_keep_their_order_and_their_types() -> None:
    claims = {"b": True, "a": 1, "c": 1.5, "d": {"e": None}, "f": ["g"]}
    assert list(claims_of(*claims.items()).items()) == list(claims.items())


def test_a_claim_that_is_given_more_than_once_becomes_a_list() -> None:
    assert claims_of(("role", "a"), ("role", "b"), ("role", "c")) == {"role": ["a", "b", "c"]}


def test_the_first_subject_stays_and_later_ones_are_renamed() -> None:
    assert claims_of(("sub", "a"), ("sub", "b"), ("sub", "c")) == {
        "sub": "a",
        "asrs.u.sub": ["b", "c"],
    }


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "nameid"),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "unique_name"),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "email"),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname", "given_name"),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname", "family_name"),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn"),
        ("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "role"),
    ],
)
def test_the_long_names_of_dotnet_are_shortened(long: str, short: str) -> None:
    assert claims_of((long, "v")) == {short: "v"}


def test_a_client_token_is_at_most_4_kilobytes_long() -> None:
    assert len(issue_client_token(LOCAL, "chat", now=NOW, user_id="x" * 2800)) <= MAX_TOKEN_LENGTH
    with pytest.raises(ConfigError, match="must not be longer than 4K"):
        issue_client_token(LOCAL, "chat", now=NOW, user_id="x" * 3000)


def test_an_endpoint_without_a_key_signs_nothing() -> None:
    endpoint = parse_connection_string("Endpoint=https://aaa;AuthType=azure")
    with pytest.raises(ConfigError, match="https://aaa has no AccessKey"):
        issue_client_token(endpoint, "chat", now=NOW)
