"""`--metrics [ADDRESS:]PORT`: where the numbers of a node are served, checked."""

import importlib.util
import socket
from typing import NamedTuple

import click

from hubbub.cli.network import bind, listen
from hubbub.errors import ConfigError

__all__ = ["MetricsPlace", "listen_for_metrics", "metrics_option", "parse_place"]

metrics_option = click.option(
    "--metrics",
    metavar="[ADDRESS:]PORT",
    help="Serve /metrics there for Prometheus; on loopback unless an address is given. "
    "The second of several --workers takes the next port, and so on.",
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

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


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


def listen_for_metrics(place: MetricsPlace, *, is_worker: bool) -> socket.socket:
    """The socket to serve on; a worker and its successor share one port for a moment."""
    have = bind if is_worker else listen
    return have(place.address, place.port, option="--metrics")
