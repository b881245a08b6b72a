"""Connection strings: what follows from a right one, and what is said about a wrong one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors.reading import cases, read

from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import (
    client_url,
    format_connection_string,
    parse_connection_string,
)

VECTORS = read("endpoints")
OPTIONAL = ("server_base", "access_key", "auth_type", "client_id", "tenant_id", "client_secret",
            "client_certificate")  # fmt: skip


@pytest.mark.parametrize("vector", cases(VECTORS["endpoints"]))
def test_a_connection_string_means_what_the_azure_sdk_reads_in_it(vector: dict[str, Any]) -> None:
    endpoint = parse_connection_string(vector["text"])

    assert endpoint.url == vector["url"]
    assert endpoint.audience == vector["audience"]
    assert client_url(endpoint, "Chat") == vector["client_url"]
    for name in OPTIONAL:
        if name in vector:
            assert getattr(endpoint, name) == vector[name]


@pytest.mark.parametrize("vector", cases(VECTORS["complaints"]))
def test_a_wrong_connection_string_is_explained_in_the_azure_sdks_words(
    vector: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connection_string(vector["text"])
    assert str(caught.value).startswith(f"{vector['complaint']} Expected: Endpoint=")


def test_a_port_of_many_digits_is_explained_too() -> None:
    with pytest.raises(ConfigError, match="Invalid value for port property"):
        parse_connection_string("Endpoint=https://aaa;AccessKey=k;Port=" + "9" * 5000)


def test_neither_a_complaint_nor_an_endpoint_shows_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connection_string("Endpoint=https://aaa;AccessKey=secret;Version=7")
    endpoint = parse_connection_string("Endpoint=https://aaa;AccessKey=secret")

    assert "secret" not in str(caught.value)
    assert repr(endpoint) == "Endpoint('https://aaa')"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://localhost:8888", "Endpoint=http://localhost;Port=8888;AccessKey=k;Version=1.0;"),
        ("http://[::1]:8888", "Endpoint=http://[::1];Port=8888;AccessKey=k;Version=1.0;"),
        ("https://aaa", "Endpoint=https://aaa;AccessKey=k;Version=1.0;"),
    ],
)
def test_a_connection_string_is_written_as_the_emulator_writes_it(url: str, text: str) -> None:
    assert format_connection_string(url, "k") == text
    assert parse_connection_string(text).url == url


def test_a_connection_string_may_name_another_address_for_clients() -> None:
    text = format_connection_string("http://localhost:8888", "k", client_url="https://remote")
    assert client_url(parse_connection_string(text), "chat") == "https://remote/client/?hub=chat"


PIECES = st.sampled_from(
    ["Endpoint", "AccessKey", "Port", "Version", "AuthType", "ClientEndpoint", "ServerEndpoint",
     "=", ";", "://", "https://aaa", "http://[", "]", "%", "1.0", "azure.app", "0", "99999", " ",
     "\x00", "é", "\ud800"]
)  # fmt: skip


@given(pieces=st.lists(PIECES, max_size=20))
def test_a_text_of_the_right_pieces_is_read_or_explained(pieces: list[str]) -> None:
    try:
        endpoint = parse_connection_string("".join(pieces))
    except ConfigError:
        return
    assert client_url(endpoint, "chat").endswith("/client/?hub=chat")
