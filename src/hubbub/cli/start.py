"""`hubbub start`: the service and the function host of an app, two processes, one command."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from hubbub.cli.banner import STOP, function_lines, service_lines
from hubbub.cli.child import LOG_LEVELS
from hubbub.cli.metricsoption import insecure_metrics_option, metrics_option
from hubbub.cli.programs import Programs, StartOptions
from hubbub.cli.supervisor import Supervisor

__all__ = ["start"]

_NO_APP: Final = "No function app given; `hubbub new NAME` makes one.\n"


@click.command()
@click.argument("app", type=click.Path(path_type=Path), default=None, required=False)
@click.option("--port", type=int, help="The host's. Default: local.settings.json's, else 7071.")
@click.option("--service-port", default=8888, show_default=True, help="The service's.")
@click.option("--address", help="Where both listen. Default: 127.0.0.1. 0.0.0.0: everywhere.")
@click.option(
    "--access-key",
    envvar="HUBBUB_ACCESS_KEY",
    help="Default: the emulator's on loopback; elsewhere a new one, which --data keeps.",
)
@click.option("--allow-origin", "origins", multiple=True, help="One more web origin to let in.")
@click.option("--cors", help="Web origins that may call the app, joined by commas; * for all.")
@click.option("--cors-credentials", is_flag=True, default=None, help="Let pages send credentials.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder for what outlives both. Default: nothing does.",
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
@metrics_option
@insecure_metrics_option
@click.option("--insecure", is_flag=True, help="Allow the emulator's key and * beyond loopback.")
@click.option("--enable-auth", is_flag=True, help="Ask for function keys, as on Azure.")
@click.option("--no-reload", is_flag=True, help="Do not load the app again when it changes.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
def start(as_json: bool, **options: Any) -> None:
    """Start the service and, if APP is the folder of a function app, its host.

    A port of 0 picks a free one; the ready line says which.

    \b
      hubbub start samples/qr-ping
      hubbub start samples/qr-ping --address 0.0.0.0   # a phone on this network reaches it too
    """
    programs = Programs(StartOptions(**options))
    # A terminal that is closed says the same, and means the end.
    on_hangup = None if options["workers"] == 1 or sys.stdin.isatty() else programs.renew
    with Supervisor(programs.children, on_hangup, before_stop=programs.rest) as supervisor:
        if not supervisor.start():
            return
        facts = programs.facts()
        click.echo(json.dumps(facts) if as_json else _lines(facts))
        sys.stdout.flush()
        supervisor.run()


def _lines(facts: dict[str, Any]) -> str:
    app = function_lines(facts["host"]) if "host" in facts else _NO_APP
    return f"{service_lines(facts['service'])}\n{app}\n{STOP}"
