"""All settings of the service, each with its default, its unit and its reason."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamtemplate import Template

__all__ = ["EMULATOR_KEY", "EntraSettings", "ServiceSettings", "is_loopback"]

# The official emulator's key. Everybody knows it, so it is good on loopback only.
EMULATOR_KEY: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"
# RFC 7518, 3.2: a key for HS256 has at least as many bytes as the hash.
_MIN_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class EntraSettings:
    """Whose tokens may call the REST API besides those of access keys."""

    # Where the keys (JWKS) of each issuer are, by what its tokens have as `iss`.
    issuers: Mapping[str, str]
    # What tokens have as `aud`; the original's.
    audiences: tuple[str, ...] = ("https://signalr.azure.com",)
    # Tokens need one of these in `roles`; without any, every identity of the issuers may call.
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for url in self.issuers.values():
            address = urlsplit(url)
            is_local = address.scheme == "http" and is_loopback(address.hostname or "")
            if address.scheme != "https" and not is_local:
                raise ConfigError(f"The keys of an issuer are fetched by https, not from {url}.")


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How one node of the service behaves."""

    # Primary first; each of them signs and each is accepted.
    access_keys: tuple[str, ...] = field(default=(EMULATOR_KEY,), repr=False)
    # Issuers of tokens for REST calls, besides the access keys.
    entra: EntraSettings | None = None
    # Browser origins that may call; `*` lets every origin in and is refused beyond loopback.
    allowed_origins: tuple[str, ...] = ("*",)
    # Seconds without a write after which a Ping is sent; clients give up after twice that.
    keep_alive_interval: float = 15.0
    # Seconds without a byte from a client after which it counts as gone.
    client_timeout: float = 30.0
    # Seconds from the connection to its hub handshake.
    handshake_timeout: float = 15.0
    # Seconds from negotiate to the connection; the original's answer after that is 404.
    negotiate_timeout: float = 15.0
    # Seconds that a long poll waits for something to say.
    poll_timeout: float = 90.0
    # Seconds without a poll after which a long-polling client is gone; `asrs.s.ttl` overrides it.
    poll_interval: float = 5.0
    # Seconds that a connection with stateful reconnect waits for its client to come back.
    reconnect_timeout: float = 30.0
    # Seconds over which clients are let go when the service is stopped, so that they do not all
    # connect elsewhere at once.
    drain_window: float = 5.0
    # Seconds that the head of a request may take, and then its body.
    head_timeout: float = 15.0
    body_timeout: float = 30.0
    # Seconds that a client may leave what is sent over HTTP untaken.
    send_timeout: float = 10.0
    # Seconds that a closing connection has to take what is on its way before it is cut.
    close_timeout: float = 5.0
    # Seconds that other nodes have to answer.
    answer_timeout: float = 5.0
    # Seconds that a REST call waits for the result of a client that it has invoked.
    invoke_timeout: float = 30.0
    # Bytes of one hub message from a client.
    max_message_size: int = 1_048_576
    # Bytes on their way to one client; past that it is slow and is closed.
    max_pending_bytes: int = 1_048_576
    # Bytes kept for a client with stateful reconnect until it acknowledges them.
    replay_buffer_size: int = 1_048_576
    # Bytes of a REST body (REST API reference, "Limits").
    max_body_size: int = 1_048_576
    # Where apps reach this service: who issues the tokens that it issues itself.
    url: str = "http://localhost:8888"
    # Where what clients say goes, unless the settings file has templates.
    upstream_templates: tuple[Template, ...] = ()
    # The emulator's settings.json, which is watched.
    settings_file: Path | None = None
    # Requests by one template at the same time, over all connections; the others wait.
    max_upstream_deliveries: int = 256
    # Messages of one client that its app has not taken yet; past that it is not listened to.
    max_upstream_backlog: int = 64
    # Bytes of these messages, past which it is not listened to either.
    max_upstream_backlog_bytes: int = 1_048_576
    # Streams of an app at the same time, for one client and for all; one more ends with an error.
    max_client_streams: int = 16
    max_streams: int = 1_000
    # Seconds without an item after which a stream ends with an error.
    stream_timeout: float = 300.0
    # Seconds that a service which stops waits for events that are still to be delivered.
    upstream_grace: float = 5.0

    def __post_init__(self) -> None:
        if not self.access_keys:
            raise ConfigError("The service needs an access key. Pass --access-key KEY.")
        for key in self.access_keys:
            if len(key.encode()) < _MIN_KEY_BYTES:
                raise ConfigError(
                    f"An access key has at least {_MIN_KEY_BYTES} bytes, one has "
                    f"{len(key.encode())}. `hubbub keys new` makes one."
                )

    def check_address(self, address: str, *, insist: bool = False) -> None:
        """Refuse what is only safe on loopback on any other address, unless insisted on."""
        if is_loopback(address) or insist:
            return
        if EMULATOR_KEY in self.access_keys:
            raise ConfigError(
                f"The emulator's well-known access key is refused on {address}: anyone there could "
                "use it. Pass --access-key KEY, or --insecure if you insist."
            )
        if "*" in self.allowed_origins:
            raise ConfigError(
                f"Letting every web origin in is refused on {address}. "
                "Pass --allow-origin ORIGIN for each page, or --insecure if you insist."
            )


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `address`."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
