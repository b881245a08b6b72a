"""`--metrics [ADDRESS:]PORT`: where the numbers of a node are served, checked and kept."""

import importlib.util
import socket
from types import TracebackType
from typing import NamedTuple, Self

import click

from hubbub.cli.network import bind, listen, origin
from hubbub.errors import ConfigError
from hubbub.service.settings import is_loopback

__all__ = [
    "KeptPlaces",
    "MetricsPlace",
    "insecure_metrics_option",
    "listen_for_metrics",
    "metrics_option",
    "page_at",
    "parse_place",
]

metrics_option = click.option(
    "--metrics",
    metavar="[ADDRESS:]PORT",
    help="Serve /metrics there for Prometheus; on loopback unless an address is given. "
    "The second of several --workers takes the next port, and so on.",
)
insecure_metrics_option = click.option(
    "--insecure-metrics", is_flag=True, help="Allow --metrics, which has no password, elsewhere."
)


class MetricsPlace(NamedTuple):
    """An address and a port; port 0 is any free one."""

    address: str
    port: int

    def of_worker(self, index: int) -> "MetricsPlace":
        """That of a worker, counted from 0. Raises `ConfigError` where there is none."""
        if self.port + index > 65535:
            raise ConfigError(f"--metrics {self.port} leaves no port for each of the workers.")
        return self._replace(port=self.port + index if self.port else 0)

    def check(self, *, insist: bool) -> Self:
        """Refuse what others than this machine can read, unless insisted on."""
        if is_loopback(self.address) or insist:
            return self
        raise ConfigError(
            f"Serving metrics on {self.address} is refused: whoever gets there reads them, as "
            "no password is asked for. Pass --insecure-metrics where only Prometheus gets there."
        )

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class KeptPlaces:
    """A port for each process, which is had here while processes follow one another on it."""

    def __init__(self, place: MetricsPlace | None, count: int) -> None:
        """Raises `ConfigError` where one cannot be had. Without a `place` there are none."""
        self._sockets: list[socket.socket] = []
        self._address = place.address if place is not None else ""
        try:
            for index in range(count if place is not None else 0):
                assert place is not None
                self._sockets.append(_keep(place.of_worker(index)))
        except ConfigError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Have them until the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Let go of them."""
        self.close()

    def close(self) -> None:
        """Let go of them; who serves on them goes on."""
        for each in self._sockets:
            each.close()

    @property
    def pages(self) -> list[str]:
        """The URLs of the pages."""
        return [page_at(each) for each in self._sockets]

    def arguments(self, index: int) -> list[str]:
        """What to tell a process, counted from 0."""
        if not self._sockets:
            return []
        return [f"--metrics={MetricsPlace(self._address, self._sockets[index].getsockname()[1])}"]


def parse_place(text: str) -> MetricsPlace:
    """Read the option's value. Raises `ConfigError`, also where the extra is not installed."""
    address, _, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdecimal()) or int(port[:6]) > 65535:
        raise ConfigError(f"--metrics {text}: expected a port, or ADDRESS:PORT.")
    if importlib.util.find_spec("prometheus_client") is None:
        raise ConfigError(
            "--metrics needs the extra `telemetry`: pip install 'hubbub[server,telemetry]'"
        )
    return MetricsPlace(address or "127.0.0.1", int(port))


def listen_for_metrics(place: MetricsPlace, *, is_child: bool) -> socket.socket:
    """The socket to serve on; a process and its successor share one port for a moment."""
    have = bind if is_child else listen
    return have(place.address, place.port, option="--metrics")


def page_at(listener: socket.socket) -> str:
    """The URL of the page that is served there."""
    return f"{origin(listener)}/metrics"


def _keep(place: MetricsPlace) -> socket.socket:
    # Not shared at first: another program on the port is an error, not a partner.
    with listen(place.address, place.port, option="--metrics") as listener:
        chosen = listener.getsockname()[1]
    return bind(place.address, chosen, option="--metrics")
