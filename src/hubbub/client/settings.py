"""What a hub client is told once: where to connect, how, and how long to wait."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from hubbub.client.credentials import TokenSource
from hubbub.client.retry import RetryPolicy
from hubbub.errors import ConfigError
from hubbub.protocol.codec import CODECS, Codec

__all__ = ["ClientSettings", "Encoding", "TransportName"]

Encoding = Literal["json", "messagepack"]
TransportName = Literal["WebSockets", "ServerSentEvents", "LongPolling"]
_TRANSPORTS: Final = ("WebSockets", "ServerSentEvents", "LongPolling")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The settings of one hub client. Times are seconds, sizes are bytes."""

    url: str  # of the hub: it, or it and /negotiate, is asked
    access_token: TokenSource = field(default=None, repr=False)
    transport: TransportName | None = None  # None takes the first that the server offers
    encoding: Encoding = "json"
    skip_negotiation: bool = False  # WebSockets only
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # with every request
    reconnect: RetryPolicy | None = None  # None does not
    stateful: bool = False  # ask for stateful reconnect
    keep_alive: float = 15.0  # a Ping goes out after this long without a message
    server_timeout: float = 30.0  # the connection is lost after this long without a byte
    handshake_timeout: float = 15.0
    max_message_size: int = 16 * 1024 * 1024  # the service's advice for the largest message
    max_backlog: int = 1024 * 1024  # received and waiting for handlers; then reading stops

    def __post_init__(self) -> None:
        self._check_url()
        if self.encoding not in CODECS:
            raise ConfigError(f"Encoding {self.encoding!r} is unknown. Use {_either(CODECS)}.")
        if self.transport is not None and self.transport not in _TRANSPORTS:
            raise ConfigError(
                f"Transport {self.transport!r} is unknown. Use {_either(_TRANSPORTS)}, or None."
            )
        if self.transport == "ServerSentEvents" and self.codec.is_binary:
            raise ConfigError(
                f"ServerSentEvents carries text and {self.encoding} is binary. "
                "Use encoding 'json', or another transport."
            )
        self._check_websockets("skip_negotiation", self.skip_negotiation)
        self._check_websockets("stateful", self.stateful)
        if self.stateful and self.skip_negotiation:
            raise ConfigError(
                "Stateful reconnect is agreed on by negotiation. Leave out stateful or "
                "skip_negotiation."
            )
        for name in (
            "keep_alive",
            "server_timeout",
            "handshake_timeout",
            "max_message_size",
            "max_backlog",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be above 0.")

    @property
    def codec(self) -> Codec:
        """The encoding of hub messages."""
        return CODECS[self.encoding]

    @property
    def address(self) -> str:
        """The URL with a scheme of HTTP, as negotiation needs it."""
        scheme, rest = self.url.split(":", 1)
        return f"{_SCHEMES[scheme.lower()]}:{rest}".partition("#")[0]

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known or any(character.isspace() for character in self.url):
            # The URL itself is not shown: its query may hold a token.
            raise ConfigError(
                "This is no URL of a hub. Give one like https://host/client/?hub=chat, or that of "
                "the app whose /negotiate is to be asked, like http://localhost:7071/api."
            )

    def _check_websockets(self, name: str, wanted: bool) -> None:
        if wanted and self.transport not in {None, "WebSockets"}:
            raise ConfigError(
                f"{name} needs WebSockets, and transport is {self.transport}. Leave out one."
            )


def _either(names: Mapping[str, object] | tuple[str, ...]) -> str:
    return " or ".join(repr(name) for name in names)
