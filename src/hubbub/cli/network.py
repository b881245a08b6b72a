"""Listening sockets and addresses: made by the command line, handed to whoever serves on them."""

import errno
import socket
from typing import Final
from urllib.parse import urlsplit

from hubbub.cli.asking import HOST, SERVICE, occupant
from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import format_connection_string
from hubbub.service.settings import is_loopback

__all__ = ["Place", "bind", "lan_address", "listen", "listen_beside", "named_localhost", "origin"]

# A documentation address (RFC 5737). Connecting a datagram socket sends nothing; it only asks the
# routing table which of this machine's addresses others would see.
_ELSEWHERE: Final = ("192.0.2.1", 9)


def listen(address: str, port: int, *, option: str) -> socket.socket:
    """Listen at `address` and `port`; port 0 picks a free one. `option` is what the advice names.

    Raises `ConfigError` where it cannot be had.
    """
    return _bound(address, port, option, shares_port=False)


def bind(address: str, port: int, *, option: str) -> socket.socket:
    """Have `address` and `port`, and do not listen. `listen_beside` it does that.

    Raises `ConfigError` where it cannot be had.
    """
    return _bound(address, port, option, shares_port=True)


def listen_beside(bound: socket.socket) -> socket.socket:
    """Listen at the address and port of a socket from `bind`.

    With several of these the system deals clients out among them. One that is shut down gets no
    more, and may listen again.
    """
    address, port = bound.getsockname()[:2]
    listener = bind(address, port, option="--port")
    listener.listen()
    return listener


def _bound(address: str, port: int, option: str, *, shares_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address, port))
        if not shares_port:
            # Also tells at once if another program listens on the same port with SO_REUSEADDR.
            listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(_explain(error, address, port, option)) from None
    listener.setblocking(False)
    return listener


def origin(listener: socket.socket, host: str | None = None) -> str:
    """The URL of what listens there, seen from `host` or from this machine."""
    address, port = listener.getsockname()[:2]
    host = host or ("127.0.0.1" if address == "0.0.0.0" else "::1" if address == "::" else address)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def lan_address() -> str | None:
    """The address by which others on this network reach this machine, `None` without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith(("127.", "0.")) else address


def named_localhost(url: str) -> str:
    """`url` with the name that the emulator's connection string has, as people paste it.

    Only for 127.0.0.1: the name does not mean ::1 everywhere.
    """
    address = urlsplit(url)
    return f"http://localhost:{address.port}" if address.hostname == "127.0.0.1" else url


class Place:
    """Where both programs listen, and by what name they are reached."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_loopback = is_loopback(address)
        self.is_everywhere = address in {"0.0.0.0", "::"}  # noqa: S104
        self.lan = (lan_address() if self.is_everywhere else address) or "127.0.0.1"

    @property
    def name(self) -> str:
        """The host name for what a person opens."""
        return "localhost" if self.is_loopback else self.lan

    def connection_string(self, url: str, key: str, port: int) -> str:
        """How the app reaches the service, and how browsers do where that is another way."""
        if self.is_loopback:
            return format_connection_string(named_localhost(url), key)
        host = f"[{self.lan}]" if ":" in self.lan else self.lan
        client_url = f"http://{host}:{port}"
        base = named_localhost(url) if self.is_everywhere else url
        return format_connection_string(base, key, client_url=client_url)

    def remote_connection_string(self, key: str, port: int) -> str | None:
        """How programs on other machines reach the service, `None` where they do no other way."""
        if not self.is_everywhere or is_loopback(self.lan):
            return None
        host = f"[{self.lan}]" if ":" in self.lan else self.lan
        return format_connection_string(f"http://{host}:{port}", key)

    @property
    def names(self) -> list[str]:
        """The host names under which it is reached, as URLs have them."""
        if self.is_everywhere or self.is_loopback:
            names = {self.lan, self.address, "localhost", "127.0.0.1", "[::1]"}
        else:
            names = {self.lan}
        return sorted(f"[{n}]" if ":" in n and "[" not in n else n for n in names)

    def page_origins(self, port: int) -> list[str]:
        """The origins that the app's own pages have."""
        names = {self.lan, "localhost", "127.0.0.1"} if self.is_everywhere else {self.lan}
        return sorted(f"http://[{n}]:{port}" if ":" in n else f"http://{n}:{port}" for n in names)


def _explain(error: Exception, address: str, port: int, option: str) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        who = occupant(address, port) or "another program"
        already = " that runs already" if who in {SERVICE, HOST} else ""
        return (
            f"Port {port} on {address} is in use by {who}{already}. "
            f"Stop it, or pass {option} with another port; 0 picks a free one."
        )
    if number == errno.EACCES:
        return f"Port {port} needs more rights than you have. Pass {option} with one above 1023."
    if number == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        where = "--metrics" if option == "--metrics" else "--address"
        return f"{address} is no address of this machine. Pass {where} with one that is."
    if isinstance(error, OverflowError):
        return f"{port} is no port. Pass {option} with a number from 0 to 65535."
    return f"Cannot listen on {address}, port {port}: {error}."
