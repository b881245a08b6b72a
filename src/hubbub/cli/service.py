"""`hubbub service`: the service alone."""

import json
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import uvloop

from hubbub.cli.banner import STOP, service_lines
from hubbub.cli.child import (
    LOG_LEVELS,
    inherit,
    raise_file_limit,
    report,
    say_stopping,
    set_up_logging,
    stop_with_parent,
)
from hubbub.cli.metricsoption import (
    KeptPlaces,
    MetricsPlace,
    insecure_metrics_option,
    listen_for_metrics,
    metrics_option,
    page_at,
    parse_place,
)
from hubbub.cli.network import Place, listen, named_localhost, origin
from hubbub.cli.supervisor import Supervisor
from hubbub.cli.upstreamoptions import settings_path, upstream_templates
from hubbub.cli.workers import Workers, listen_for
from hubbub.errors import ConfigError
from hubbub.service.backplane.engine import redis_engine
from hubbub.service.server import serve
from hubbub.service.settings import EMULATOR_KEY, EntraSettings, ServiceSettings
from hubbub.service.store import SqliteStore

__all__ = ["check_cluster", "service", "worker_environment"]


@click.command()
@click.option("--port", default=8888, show_default=True, help="0 picks a free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--access-key",
    "access_keys",
    multiple=True,
    envvar="HUBBUB_ACCESS_KEY",
    help="A key that signs tokens; a second one is the secondary. Default: the emulator's.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    help="A web origin whose pages may connect. Default: every origin, on loopback.",
)
@click.option("--entra-issuer", help="Take REST tokens of this issuer (`iss`) too.")
@click.option("--entra-keys", help="Where the issuer's keys (JWKS) are, for --entra-issuer.")
@click.option("--entra-role", "roles", multiple=True, help="Only with this role; repeatable.")
@click.option("--insecure", is_flag=True, help="Allow the emulator's key and * beyond loopback.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder for what outlives the service: users in groups. Default: nothing does.",
)
@click.option("--upstream", help="Where everything that clients say goes, as a URL template.")
@click.option(
    "-c",
    "--settings",
    "--config",
    "settings_file",
    type=click.Path(path_type=Path),
    help="The emulator's settings file, or its folder. Default: settings.json here, if there.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes."
)
@click.option(
    "--backplane",
    envvar="HUBBUB_BACKPLANE",
    help="What joins processes and machines into one service, as redis://HOST:PORT.",
)
@metrics_option
@insecure_metrics_option
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
@click.option("--fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
def service(
    port: int,
    address: str,
    access_keys: tuple[str, ...],
    origins: tuple[str, ...],
    entra_issuer: str | None,
    entra_keys: str | None,
    roles: tuple[str, ...],
    insecure: bool,
    data: Path | None,
    upstream: str | None,
    settings_file: Path | None,
    workers: int,
    backplane: str | None,
    metrics: str | None,
    insecure_metrics: bool,
    log_level: str,
    as_json: bool,
    fd: int | None,
    ready_fd: int | None,
) -> None:
    """Run the service alone: hold clients' connections and answer the REST API.

    \b
      hubbub service --port 8888
      hubbub service --upstream http://localhost:7071/runtime/webhooks/signalr
      hubbub service --workers 4 --backplane redis://localhost:6379
    """
    check_cluster(workers, backplane, data)
    set_up_logging(log_level)
    raise_file_limit()
    # Under a supervisor, and where an upstream is given, a file counts only if it is asked for.
    finds_file = fd is None and upstream is None
    settings = ServiceSettings(
        access_keys=access_keys or (EMULATOR_KEY,),
        entra=_entra(entra_issuer, entra_keys, roles),
        allowed_origins=origins or ("*",),
        upstream_templates=upstream_templates(upstream),
        settings_file=settings_path(settings_file) if settings_file or finds_file else None,
    )
    numbers = parse_place(metrics) if metrics is not None else None
    if fd is not None:
        _serve_as_child(settings, fd, ready_fd, data, backplane, numbers)
        return
    settings.check_address(address, insist=insecure)
    if numbers is not None:
        numbers.check(insist=insecure_metrics)
    place = Place(address)

    def say(url: str, key: str, pages: list[str]) -> None:
        facts = {**_facts(settings, place, url, key), "metrics": pages}
        lines = f"{service_lines(facts)}\n{STOP}"
        click.echo(json.dumps({"service": facts}) if as_json else lines)

    if workers == 1:
        _serve(settings, listen(address, port, option="--port"), say, data, backplane, numbers)
        return
    listener = listen_for(workers, address, port, option="--port")
    arguments = [
        *("service", "--log-level", log_level),
        *(f"--allow-origin={each}" for each in settings.allowed_origins),
        *([f"--upstream={upstream}"] if upstream else []),
        *([f"--settings={settings.settings_file}"] if settings.settings_file else []),
        *([f"--entra-issuer={entra_issuer}", f"--entra-keys={entra_keys}"] if entra_issuer else []),
        *(f"--entra-role={role}" for role in roles),
    ]
    environment = worker_environment(settings.access_keys, backplane)
    with KeptPlaces(numbers, workers) as kept:
        children = Workers("service", arguments, listener, environment, workers, kept.arguments)
        # A terminal that is closed says the same, and means the end.
        on_hangup = None if sys.stdin.isatty() else children.renew
        with Supervisor([children], on_hangup) as supervisor:
            if supervisor.start():
                say(children.facts["url"], children.facts["accessKey"], kept.pages)
                supervisor.run()


def worker_environment(access_keys: tuple[str, ...], backplane: str | None) -> dict[str, str]:
    """What processes get by their environment, because others can see arguments."""
    if any(key.split() != [key] for key in access_keys):
        raise ConfigError("With several processes, an access key has no blanks.")
    environment = {"HUBBUB_ACCESS_KEY": " ".join(access_keys)}
    return environment | ({"HUBBUB_BACKPLANE": backplane} if backplane else {})


def check_cluster(workers: int, backplane: str | None, data: Path | None = None) -> None:
    """Raise `ConfigError` where processes would not be one service."""
    if workers > 1 and backplane is None:
        raise ConfigError(
            f"{workers} processes need something that joins them. Pass --backplane with the "
            "address of a Redis, as in --backplane redis://localhost:6379."
        )
    if backplane is not None and data is not None:
        raise ConfigError(
            "With --backplane, what outlives the service is kept there. Leave --data out."
        )


def _serve_as_child(
    settings: ServiceSettings,
    fd: int,
    ready_fd: int | None,
    data: Path | None,
    backplane: str | None,
    metrics: MetricsPlace | None,
) -> None:
    """Serve on the supervisor's socket, and tell it what there is to tell."""
    stop_with_parent(fd, ready_fd)

    def say(url: str, key: str, pages: list[str]) -> None:
        report(ready_fd, {"ready": True, "url": url, "accessKey": key})

    try:
        _serve(settings, inherit(fd), say, data, backplane, metrics, is_child=True)
    except ConfigError as error:
        if ready_fd is None:
            raise
        report(ready_fd, {"error": str(error)})


def _serve(
    settings: ServiceSettings,
    listener: socket.socket,
    say: Callable[[str, str, list[str]], None],
    data: Path | None,
    backplane: str | None,
    metrics: MetricsPlace | None,
    *,
    is_child: bool = False,
) -> None:
    """Serve until a signal; `say` gets the URL, the primary key in force, and pages of metrics."""
    url = origin(listener)
    page = listen_for_metrics(metrics, is_child=is_child) if metrics is not None else None
    pages = [page_at(page)] if page is not None else []
    settings = replace(settings, url=named_localhost(url))

    async def run() -> None:
        await serve(
            settings,
            listener,
            ready=lambda in_force: say(url, in_force.access_keys[0], pages),
            stopping=say_stopping,
            store=SqliteStore(data) if data is not None else None,
            engine=redis_engine(backplane) if backplane is not None else None,
            metrics=page,
        )

    uvloop.run(run())


def _facts(settings: ServiceSettings, place: Place, url: str, key: str) -> dict[str, Any]:
    port = int(url.rpartition(":")[2])
    return {
        "url": url,
        "connectionString": place.connection_string(url, key, port),
        "remoteConnectionString": place.remote_connection_string(key, port),
        "hasPassingKey": False,
        "hasUpstream": bool(settings.upstream_templates or settings.settings_file),
    }


def _entra(issuer: str | None, keys: str | None, roles: tuple[str, ...]) -> EntraSettings | None:
    if issuer is None and keys is None and not roles:
        return None
    if issuer is None or keys is None:
        raise ConfigError("--entra-issuer and --entra-keys go together.")
    return EntraSettings({issuer: keys}, roles=roles)
