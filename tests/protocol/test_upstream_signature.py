"""Signatures of webhooks, against those that the original's tests were computed with."""

import pytest
from tests.vectors.reading import cases, read

from hubbub.errors import ProtocolError
from hubbub.protocol.upstreamsignature import check_full, is_signed, sign_connection, sign_full

VECTORS = read("signatures")
CONNECTION = VECTORS["connection_id"]
KEYS = ("primary-key", "secondary-key")
NOW = 1_700_000_000
IDENTITY = ("chat", "messages", "hello", CONNECTION, "bob")
FULL_OF_KEY = "0420cdb67dec660914b0513ceba41a6d4b95cc6fbff6342b695a6ca629722617"


@pytest.mark.parametrize("vector", cases(VECTORS["signatures"]))
def test_each_key_signs_the_connection_id(vector: dict[str, object]) -> None:
    assert sign_connection(CONNECTION, vector["keys"]) == vector["header"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        str,
        str.upper,
        lambda header: header.replace(",", ", "),
        lambda header: f"sha256=00,{header}",
    ],
    ids=["as it is", "upper case", "blanks", "another entry first"],
)
@pytest.mark.parametrize("key", KEYS)
def test_one_entry_that_fits_one_key_is_enough(change, key) -> None:  # type: ignore[no-untyped-def]
    assert is_signed(change(sign_connection(CONNECTION, KEYS)), CONNECTION, (key,))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        ",",
        "sha256=",
        "sha256=\u00e9",
        sign_connection("another connection", KEYS),
        sign_connection(CONNECTION, ("another key",)),
        sign_connection(CONNECTION, KEYS).replace("sha256=", ""),
    ],
)
def test_anything_else_is_not_signed(header: str | None) -> None:
    assert not is_signed(header, CONNECTION, KEYS)


def test_without_keys_nothing_is_signed() -> None:
    assert not is_signed(sign_connection(CONNECTION, ()), CONNECTION, ())


def test_a_full_signature_fits_what_it_was_made_of_with_either_key() -> None:
    header = sign_full(IDENTITY, b"body", KEYS, now=NOW)

    assert header.startswith(f"t={NOW},v1=")
    for key in KEYS:
        check_full(header, IDENTITY, b"body", (key,), now=NOW + 300)


def test_a_full_signature_is_the_hmac_of_time_identity_and_body_in_lines() -> None:
    header = sign_full(("a", "b"), b"body", ("key",), now=1)

    # printf '1\na\nb\nbody' | openssl dgst -sha256 -hmac key
    assert header == "t=1,v1=" + FULL_OF_KEY


@pytest.mark.parametrize(
    ("identity", "body", "keys"),
    [
        (IDENTITY, b"another body", KEYS),
        (("chat", "messages", "hello", CONNECTION, "alice"), b"body", KEYS),
        (IDENTITY, b"body", ("another key",)),
    ],
    ids=["body", "user", "key"],
)
def test_a_full_signature_fits_nothing_else(
    identity: tuple[str, ...], body: bytes, keys: tuple[str, ...]
) -> None:
    header = sign_full(IDENTITY, b"body", KEYS, now=NOW)

    with pytest.raises(ProtocolError, match="fits none of the access keys"):
        check_full(header, identity, body, keys, now=NOW)


@pytest.mark.parametrize("now", [NOW - 301, NOW + 301])
def test_a_full_signature_cannot_be_replayed_later(now: int) -> None:
    header = sign_full(IDENTITY, b"body", KEYS, now=NOW)

    with pytest.raises(ProtocolError, match="301 seconds off; 300 are allowed"):
        check_full(header, IDENTITY, b"body", KEYS, now=now)


@pytest.mark.parametrize(
    "header", ["", "v1=00", "t=,v1=00", "t=1,t=2", "t=\u0662", f"t={'9' * 99}"]
)
def test_a_full_signature_needs_one_time(header: str) -> None:
    with pytest.raises(ProtocolError, match="no time stamp"):
        check_full(header, IDENTITY, b"body", KEYS, now=NOW)
