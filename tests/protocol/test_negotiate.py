"""What negotiation answers, byte for byte, and which version it answers with."""

import pytest

from hubbub.protocol.negotiate import (
    TRANSPORTS,
    NegotiateError,
    NegotiateResponse,
    parse_negotiate_version,
)

ALL = (
    b'[{"transport":"WebSockets","transferFormats":["Text","Binary"]},'
    b'{"transport":"ServerSentEvents","transferFormats":["Text"]},'
    b'{"transport":"LongPolling","transferFormats":["Text","Binary"]}]'
)


def test_version_0_names_one_id() -> None:
    response = NegotiateResponse(
        negotiate_version=0, connection_id="c", available_transports=TRANSPORTS
    )
    assert response.encode() == (
        b'{"negotiateVersion":0,"connectionId":"c","availableTransports":' + ALL + b"}"
    )


def test_version_1_names_an_id_and_a_token() -> None:
    response = NegotiateResponse(
        negotiate_version=1,
        connection_id="c",
        connection_token="t",
        available_transports=TRANSPORTS,
    )
    assert response.encode() == (
        b'{"negotiateVersion":1,"connectionId":"c","connectionToken":"t","availableTransports":'
        + ALL
        + b"}"
    )


def test_stateful_reconnect_stands_before_the_transports_and_only_where_it_is_on() -> None:
    response = NegotiateResponse(
        negotiate_version=1,
        connection_id="c",
        connection_token="t",
        use_stateful_reconnect=True,
        available_transports=(),
    )
    assert response.encode() == (
        b'{"negotiateVersion":1,"connectionId":"c","connectionToken":"t",'
        b'"useStatefulReconnect":true,"availableTransports":[]}'
    )


def test_a_redirect_names_an_address_and_a_token() -> None:
    response = NegotiateResponse(
        url="http://s/client/?hub=h", access_token="t", available_transports=()
    )
    assert response.encode() == (
        b'{"url":"http://s/client/?hub=h","accessToken":"t","availableTransports":[]}'
    )


def test_an_error_is_all_that_its_answer_says() -> None:
    assert NegotiateResponse(error="no").encode() == b'{"error":"no"}'


@pytest.mark.parametrize(
    ("asked", "answered"),
    [(None, 0), ("0", 0), ("1", 1), ("2", 1), ("99999999999999999999", 1), (" 1 ", 1), ("+1", 1)],
)
def test_the_version_is_the_one_asked_for_and_at_most_1(asked: str | None, answered: int) -> None:
    assert parse_negotiate_version(asked) == answered


@pytest.mark.parametrize("asked", ["", "one", "1.0", "0x1", "[]", "9" * 5000])
def test_a_version_that_is_no_integer_is_refused(asked: str) -> None:
    with pytest.raises(NegotiateError) as caught:
        parse_negotiate_version(asked)
    assert str(caught.value) == "The client requested a non-integer protocol version."


def test_a_version_below_the_lowest_is_refused() -> None:
    with pytest.raises(NegotiateError) as caught:
        parse_negotiate_version("-1")
    assert str(caught.value) == (
        "The client requested version '-1', but the server does not support this version."
    )
