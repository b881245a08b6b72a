"""`hubbub host`: the function host alone."""

import json
from pathlib import Path
from typing import Any

import click
import uvloop

from hubbub.cli.banner import function_lines
from hubbub.cli.child import inherit, report, set_up_logging, stop_with_parent
from hubbub.errors import ConfigError
from hubbub.functions.context import InvocationFilter
from hubbub.functions.server import Ready, ServeOptions, serve_host

__all__ = ["host"]


@click.command()
@click.argument("app", type=click.Path(path_type=Path), default=Path())
@click.option("--port", type=int, help="Default: local.settings.json's, else 7071. 0: a free one.")
@click.option("--address", help="Where to listen. Default: local.settings.json's, else 127.0.0.1.")
@click.option("--cors", help="Web origins that may call, joined by commas; * for all.")
@click.option("--cors-credentials", is_flag=True, default=None, help="Let pages send credentials.")
@click.option(
    "--connection-string",
    envvar="HUBBUB_CONNECTION_STRING",
    help="The service to use. Default: the setting AzureSignalRConnectionString.",
)
@click.option("--log-level", default="info", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
@click.option("--fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
def host(
    app: Path,
    port: int | None,
    address: str | None,
    cors: str | None,
    cors_credentials: bool | None,
    connection_string: str | None,
    log_level: str,
    as_json: bool,
    fd: int | None,
    ready_fd: int | None,
) -> None:
    """Run the function app in the folder APP (default: this one), alone.

    The service that its bindings talk to is the one of the setting AzureSignalRConnectionString.

    \b
      hubbub host samples/qr-ping --port 7071
    """
    set_up_logging(log_level, invocations=InvocationFilter())
    if fd is not None:
        stop_with_parent()

    def ready(facts: Ready) -> None:
        told = _facts(facts)
        report(ready_fd, {"ready": True, **told})
        if ready_fd is None:
            click.echo(json.dumps({"host": told}) if as_json else function_lines(told))

    options = ServeOptions(app, address, port, cors, cors_credentials, connection_string)
    listener = inherit(fd) if fd is not None else None
    try:
        uvloop.run(serve_host(options, listener, ready))
    except ConfigError as error:
        if ready_fd is None:
            raise
        report(ready_fd, {"error": str(error)})


def _facts(ready: Ready) -> dict[str, Any]:
    return {
        "url": ready.url,
        "functions": [
            {"name": info.name, "methods": list(info.methods), "url": info.url}
            for info in ready.functions
        ],
        "warnings": list(ready.warnings),
    }
