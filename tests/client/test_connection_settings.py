"""What a hub client may be told, and what importing it costs."""

import subprocess
import sys
from typing import Any

import pytest

import hubbub.client
from hubbub.client import HubClient
from hubbub.client.credentials import Credentials
from hubbub.client.settings import ClientSettings
from hubbub.client.web import describe
from hubbub.errors import ConfigError

URL = "https://host/client/?hub=chat"


@pytest.mark.parametrize(
    "url",
    ["", "host/chat", "ftp://host/chat", "http://", "http://host:port/", "http://h/?a=b c", "//h"],
)
def test_what_is_no_url_of_a_hub_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"Give one like https://host/client/\?hub=chat"):
        HubClient(url)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://host/chat", "https://host/chat"),
        ("ws://host/chat", "http://host/chat"),
        ("wss://host/chat#here", "https://host/chat"),
        ("HTTPS://host/chat", "https://host/chat"),
    ],
)
def test_a_url_of_sockets_is_one_of_requests(url: str, address: str) -> None:
    assert ClientSettings(url=url).address == address


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"encoding": "xml"}, "Encoding 'xml' is unknown. Use 'json' or 'messagepack'."),
        ({"transport": "Pigeon"}, "Transport 'Pigeon' is unknown. Use 'WebSockets' or "),
        (
            {"transport": "ServerSentEvents", "encoding": "messagepack"},
            "ServerSentEvents carries text and messagepack is binary.",
        ),
        (
            {"transport": "LongPolling", "skip_negotiation": True},
            "skip_negotiation needs WebSockets, and transport is LongPolling.",
        ),
        (
            {"transport": "ServerSentEvents", "stateful": True},
            "stateful needs WebSockets, and transport is ServerSentEvents.",
        ),
        ({"stateful": True, "skip_negotiation": True}, "Stateful reconnect is agreed on by"),
        ({"keep_alive": 0}, "keep_alive is 0; it must be above 0."),
        ({"server_timeout": -1}, "server_timeout is -1; it must be above 0."),
        ({"handshake_timeout": 0}, "handshake_timeout is 0; it must be above 0."),
        ({"max_message_size": 0}, "max_message_size is 0; it must be above 0."),
        ({"max_backlog": 0}, "max_backlog is 0; it must be above 0."),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: Any, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        HubClient(URL, **wrong)

    assert str(refusal.value).startswith(text)


def test_nothing_that_is_shown_of_a_client_holds_its_token() -> None:
    settings = ClientSettings(url=URL, access_token="secret", headers={"X-Key": "secret"})

    assert "secret" not in repr(settings)
    assert repr(Credentials("secret")) == "Credentials(token=set)"
    assert repr(HubClient(URL, access_token="secret")) == "HubClient(Disconnected, id=None)"


def test_an_address_is_described_without_what_may_be_secret() -> None:
    assert describe("https://ann:secret@host/a@b?access_token=secret") == "https://host/a@b"


def test_every_name_of_the_package_is_there() -> None:
    for name in hubbub.client.__all__:
        assert getattr(hubbub.client, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = hubbub.client.Nothing


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import hubbub.client", "aiohttp"),
        ("from hubbub.client import HubClient", "websockets starlette uvicorn click"),
    ],
)
def test_importing_a_client_imports_no_more_than_it_needs(statement: str, absent: str) -> None:
    code = f"{statement}; import sys; print([n for n in {absent.split()} if n in sys.modules])"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
