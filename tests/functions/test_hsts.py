"""The header that makes browsers come back by https: when it is sent, and what it says."""

import pytest

from hubbub.errors import ConfigError
from hubbub.functions.hsts import parse_hsts
from hubbub.functions.settings import parse_host_settings


def settings(text: str) -> str:
    return f'{{"version": "2.0", "extensions": {{"http": {{"hsts": {text}}}}}}}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"isEnabled": true}', b"max-age=2592000"),
        ('{"isEnabled": "true", "maxAge": "10"}', b"max-age=864000"),
        ('{"isEnabled": true, "maxAge": "1.00:00:01", "includeSubDomains": true, "preload": true}',
         b"max-age=86401; includeSubDomains; preload"),
    ],
)  # fmt: skip
def test_the_header_says_what_is_configured(text: str, value: bytes) -> None:
    hsts = parse_host_settings(settings(text), {}).hsts

    assert hsts is not None
    assert hsts.header("https", "example.com:8443") == (b"strict-transport-security", value)


def test_it_is_sent_over_https_and_to_hosts_that_are_not_excluded() -> None:
    text = '{"isEnabled": true, "excludedHosts": ["Inner.example"]}'
    hsts = parse_host_settings(settings(text), {}).hsts

    assert hsts is not None
    sent = {
        (scheme, host)
        for scheme in ("http", "https")
        for host in ("example.com", "localhost:7071", "127.0.0.1", "[::1]:80", "inner.example")
        if hsts.header(scheme, host) is not None
    }
    assert sent == {("https", "example.com")}


def test_without_being_switched_on_there_is_none() -> None:
    assert parse_host_settings('{"version": "2.0"}', {}).hsts is None
    assert parse_hsts({"isenabled": False, "maxage": "nonsense"}) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"isEnabled": "maybe"}', "hsts.isEnabled' is 'maybe'; write true or false"),
        ('{"isEnabled": true, "maxAge": "soon"}', "hsts.maxAge' is 'soon'; write days"),
    ],
)
def test_what_cannot_be_understood_is_the_operators_fault(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_host_settings(settings(text), {})
