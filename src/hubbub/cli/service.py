"""`hubbub service`: the service alone."""

import json
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
from hubbub.cli.network import Place, listen, named_localhost, origin
from hubbub.cli.upstreamoptions import settings_path, upstream_templates
from hubbub.errors import ConfigError
from hubbub.service.server import serve
from hubbub.service.settings import EMULATOR_KEY, EntraSettings, ServiceSettings
from hubbub.service.store import SqliteStore

__all__ = ["service"]


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
    log_level: str,
    as_json: bool,
    fd: int | None,
    ready_fd: int | None,
) -> None:
    """Run the service alone: hold clients' connections and answer the REST API.

    \b
      hubbub service --port 8888
      hubbub service --upstream http://localhost:7071/runtime/webhooks/signalr
    """
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
    if fd is None:
        settings.check_address(address, insist=insecure)
    else:
        stop_with_parent(fd, ready_fd)
    listener = inherit(fd) if fd is not None else listen(address, port, option="--port")
    url = origin(listener)
    settings = replace(settings, url=named_localhost(url))

    def ready() -> None:
        report(ready_fd, {"ready": True, "url": url})
        if ready_fd is None:
            facts = _facts(settings, Place(address), url, listener.getsockname()[1])
            lines = f"{service_lines(facts)}\n{STOP}"
            click.echo(json.dumps({"service": facts}) if as_json else lines)

    store = SqliteStore(data) if data is not None else None
    try:
        uvloop.run(serve(settings, listener, ready=ready, stopping=say_stopping, store=store))
    except ConfigError as error:
        if ready_fd is None:
            raise
        report(ready_fd, {"error": str(error)})


def _facts(settings: ServiceSettings, place: Place, url: str, port: int) -> dict[str, Any]:
    key = settings.access_keys[0]
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
