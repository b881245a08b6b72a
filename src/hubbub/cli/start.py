"""`hubbub start`: the service and the function host of an app, two processes, one command."""

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from hubbub.cli.banner import function_lines, service_lines
from hubbub.cli.child import LOG_LEVELS
from hubbub.cli.network import Place, listen, origin
from hubbub.cli.reload import HostChildren, worker_count
from hubbub.cli.service import check_cluster, worker_environment
from hubbub.cli.supervisor import Child, Supervisor
from hubbub.cli.upstreamoptions import settings_path
from hubbub.cli.workers import Workers, listen_for_each
from hubbub.errors import ConfigError
from hubbub.functions.settings import LocalSettings, read_local_settings
from hubbub.protocol.endpoints import parse_connection_string
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings

__all__ = ["start"]

_SETTING: Final = "AzureSignalRConnectionString"
_EMULATOR_PORT: Final = 8888
_WEBHOOKS: Final = "/runtime/webhooks/signalr"  # where a function host takes events


@click.command()
@click.argument("app", type=click.Path(path_type=Path), default=None, required=False)
@click.option("--port", type=int, help="The host's. Default: local.settings.json's, else 7071.")
@click.option("--service-port", default=_EMULATOR_PORT, show_default=True, help="The service's.")
@click.option("--address", help="Where both listen. Default: 127.0.0.1. 0.0.0.0: everywhere.")
@click.option(
    "--access-key",
    envvar="HUBBUB_ACCESS_KEY",
    help="Default: the emulator's on loopback, a new one elsewhere.",
)
@click.option("--allow-origin", "origins", multiple=True, help="One more web origin to let in.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder for what outlives the service. Default: nothing does.",
)
@click.option(
    "-c",
    "--settings",
    "--config",
    "settings_file",
    type=click.Path(path_type=Path),
    help="The emulator's settings file. Its upstreams replace APP, which gets all events else.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="The service's."
)
@click.option(
    "--backplane",
    envvar="HUBBUB_BACKPLANE",
    help="What joins the service's processes and machines, as redis://HOST:PORT.",
)
@click.option("--insecure", is_flag=True, help="Allow the emulator's key and * beyond loopback.")
@click.option("--enable-auth", is_flag=True, help="Ask for function keys, as on Azure.")
@click.option("--no-reload", is_flag=True, help="Do not load the app again when it changes.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
def start(
    app: Path | None,
    port: int | None,
    service_port: int,
    address: str | None,
    access_key: str | None,
    origins: tuple[str, ...],
    data: Path | None,
    settings_file: Path | None,
    workers: int,
    backplane: str | None,
    insecure: bool,
    enable_auth: bool,
    no_reload: bool,
    log_level: str,
    as_json: bool,
) -> None:
    """Start the service and, if APP is the folder of a function app, its host.

    A port of 0 picks a free one; the ready line says which.

    \b
      hubbub start samples/qr-ping
      hubbub start samples/qr-ping --address 0.0.0.0   # a phone on this network reaches it too
    """
    app = app if app is not None else _app_here()
    if app is not None and not app.is_dir():
        raise ConfigError(f"{app} is not a folder. Name the folder of a function app.")
    local = read_local_settings(app) if app is not None else LocalSettings()
    address = address or local.address or "127.0.0.1"
    place = Place(address)
    key = access_key or (EMULATOR_KEY if place.is_loopback else secrets.token_urlsafe(33))
    check_cluster(workers, backplane, data)
    if backplane is not None:
        from hubbub.cli.cluster import shared_key

        key = shared_key(backplane, key)
    service_sockets = listen_for_each(address, service_port, workers, option="--service-port")
    service_socket = service_sockets[0]
    service_url = origin(service_socket, None if place.is_loopback else place.name)
    text = place.connection_string(origin(service_socket), key, service_socket.getsockname()[1])
    options = ["--log-level", log_level]
    allowed = list(origins)
    service_options = [f"--data={data.resolve()}"] if data is not None else []
    # An app gets the events itself, unless a file is asked for by name.
    file = settings_path(settings_file) if settings_file or app is None else None
    if file is not None:
        service_options.append(f"--settings={file.resolve()}")
    host = None
    if app is not None:
        host_port = next(number for number in (port, local.port, 7071) if number is not None)
        host_socket = listen(address, host_port, option="--port")
        allowed += place.page_origins(host_socket.getsockname()[1])
        allowed += [entry for entry in local.cors if entry != "*"]
        environment = _app_environment(text, local, place)
        arguments = ["host", str(app), *options]
        arguments += [f"--data={data.resolve()}"] if data is not None else []
        arguments += ["--enable-auth"] if enable_auth else []
        service_options.append(f"--upstream={origin(host_socket)}{_WEBHOOKS}")
        host = HostChildren(
            app,
            arguments,
            host_socket.fileno(),
            environment,
            workers=worker_count(local, os.environ),
            reloads=not no_reload,
        )
    if place.is_loopback and not origins:
        allowed = ["*"]
    settings = ServiceSettings(access_keys=(key,), allowed_origins=tuple(allowed))
    settings.check_address(address, insist=insecure)
    service_options += [f"--allow-origin={entry}" for entry in allowed]
    arguments = ["service", *options, *service_options]
    service = _service_children(arguments, service_sockets, worker_environment((key,), backplane))
    with Supervisor([service] if host is None else [service, host]) as supervisor:
        if not supervisor.start():
            return
        facts: dict[str, Any] = {"service": {"url": service_url, "connectionString": text}}
        if host is not None:
            host_url = origin(host_socket, None if place.is_loopback else place.name)
            facts["host"] = _at(host.facts, host_url)
        _say(facts, as_json)
        supervisor.run()


def _service_children(
    arguments: list[str], sockets: list[socket.socket], environment: Mapping[str, str]
) -> Child | Workers:
    if len(sockets) > 1:
        return Workers("service", arguments, sockets, environment)
    return Child("service", arguments, sockets[0].fileno(), environment)


def _app_here() -> Path | None:
    """The current folder where it is a function app, else no app: the service alone is started."""
    here = Path()
    return here if (here / "host.json").is_file() else None


def _app_environment(text: str, local: LocalSettings, place: Place) -> Mapping[str, str]:
    """What the app finds in its environment: this service, unless it says it wants another."""
    environment = {}
    if not place.is_loopback:
        environment["HUBBUB_LAN_ADDRESS"] = place.lan
    configured = os.environ.get(_SETTING) or local.values.get(_SETTING)
    if configured is None or _is_emulator(configured):
        environment["HUBBUB_CONNECTION_STRING"] = text
    else:
        print(
            f"hubbub: {_SETTING} names another service, so the app uses that one and not the one "
            "started here. Remove the setting to use this one.",
            file=sys.stderr,
        )
    return environment


def _is_emulator(text: str) -> bool:
    """Whether a connection string is the official emulator's, whatever port it has."""
    try:
        endpoint = parse_connection_string(text)
    except ConfigError:
        return False  # the app's own report of it names the setting
    return endpoint.access_key == EMULATOR_KEY


def _at(facts: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The host's facts with the address that people use."""
    base = facts["url"]
    functions = [
        {**function, "url": function["url"].replace(base, url, 1)}
        for function in facts["functions"]
    ]
    return {
        "url": url,
        "functions": functions,
        "keys": facts["keys"],
        "warnings": facts["warnings"],
    }


def _say(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(service_lines(**_service_facts(facts)))
        click.echo(function_lines(facts["host"]) if "host" in facts else "No function app given.")
        click.echo("Press Ctrl-C to stop.")
    sys.stdout.flush()


def _service_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    service = facts["service"]
    return {"url": service["url"], "connection_string": service["connectionString"]}
