"""Settings of the service: which keys are accepted, and what is refused beyond loopback."""

import pytest

from hubbub.errors import ConfigError
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings, is_loopback

KEY = "k" * 32


def test_the_defaults_are_the_official_emulators() -> None:
    settings = ServiceSettings()
    assert settings.access_keys == (EMULATOR_KEY,)
    assert (settings.keep_alive_interval, settings.client_timeout) == (15, 30)
    assert settings.handshake_timeout == 15
    assert settings.max_message_size == settings.max_body_size == 1024 * 1024


def test_a_service_has_a_key() -> None:
    with pytest.raises(ConfigError, match="--access-key"):
        ServiceSettings(access_keys=())


@pytest.mark.parametrize("keys", [("",), ("short",), (KEY, "k" * 31), ("é" * 15,)])
def test_a_key_that_is_too_short_is_refused_and_not_shown(keys: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        ServiceSettings(access_keys=keys)
    assert "at least 32 bytes" in str(caught.value)
    assert not any(key and key in str(caught.value) for key in keys)


def test_keys_are_measured_in_bytes() -> None:
    assert ServiceSettings(access_keys=("é" * 16,)).access_keys == ("é" * 16,)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_everything_is_allowed_on_loopback(address: str) -> None:
    assert is_loopback(address)
    ServiceSettings().check_address(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.2", "example.net", ""])
def test_the_well_known_key_is_refused_elsewhere(address: str) -> None:
    assert not is_loopback(address)
    settings = ServiceSettings(allowed_origins=("https://page.example",))
    with pytest.raises(ConfigError, match="--access-key KEY"):
        settings.check_address(address)
    settings.check_address(address, insist=True)


def test_the_well_known_key_is_refused_as_a_secondary_too() -> None:
    settings = ServiceSettings(
        access_keys=(KEY, EMULATOR_KEY), allowed_origins=("https://page.example",)
    )
    with pytest.raises(ConfigError, match="well-known"):
        settings.check_address("0.0.0.0")


def test_every_origin_is_refused_elsewhere() -> None:
    settings = ServiceSettings(access_keys=(KEY,))
    with pytest.raises(ConfigError, match="--allow-origin ORIGIN"):
        settings.check_address("0.0.0.0")
    settings.check_address("0.0.0.0", insist=True)
    allowed = ServiceSettings(access_keys=(KEY,), allowed_origins=("https://page.example",))
    allowed.check_address("0.0.0.0")
