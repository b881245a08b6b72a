"""`hubbub host`: the function host alone, in processes that are replaced when the app changes."""

import asyncio
import gc
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from hubbub.cli.banner import STOP, function_lines
from hubbub.cli.child import (
    HANDOVER,
    LOG_LEVELS,
    RESTS,
    ask_for_restart,
    inherit,
    report,
    set_up_logging,
    stop_with_parent,
)
from hubbub.errors import ConfigError
from hubbub.functions.settings import read_local_settings

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
@click.option("--enable-auth", is_flag=True, help="Ask for function keys, as on Azure.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder for what outlives the host: schedules of timers, and keys.",
)
@click.option("--no-reload", is_flag=True, help="Do not load the app again when it changes.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
@click.option("--fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--secondary", is_flag=True, hidden=True)
def host(
    app: Path,
    port: int | None,
    address: str | None,
    cors: str | None,
    cors_credentials: bool | None,
    connection_string: str | None,
    enable_auth: bool,
    data: Path | None,
    no_reload: bool,
    log_level: str,
    as_json: bool,
    fd: int | None,
    ready_fd: int | None,
    secondary: bool,
) -> None:
    """Run the function app in the folder APP (default: this one), alone.

    The service that its bindings talk to is the one of the setting AzureSignalRConnectionString.

    \b
      hubbub host samples/qr-ping --port 7071
    """
    options = {
        "--cors": cors,
        "--cors-credentials": cors_credentials,
        "--enable-auth": enable_auth,
        "--data": None if data is None else str(data.absolute()),
        "--log-level": log_level,
    }
    if fd is None or ready_fd is None:
        _supervise(app, port, address, connection_string, options, no_reload, as_json)
        return
    from hubbub.functions.server import ServeOptions

    _serve(
        ServeOptions(
            app,
            cors=cors,
            cors_credentials=cors_credentials,
            connection_string=connection_string,
            data=data,
            handover=Path(handover) if (handover := os.environ.get(HANDOVER)) else None,
            enable_auth=enable_auth,
            fires_timers=not secondary,
            restart=partial(ask_for_restart, ready_fd),
        ),
        fd,
        ready_fd,
        log_level,
    )


def _supervise(
    app: Path,
    port: int | None,
    address: str | None,
    connection_string: str | None,
    options: Mapping[str, Any],
    no_reload: bool,
    as_json: bool,
) -> None:
    """Bind the socket, and keep processes on it that run the app."""
    # Imported late, like what `_serve` needs: a process does one of the two, and starts at once.
    from hubbub.cli.network import listen
    from hubbub.cli.reload import HostChildren, worker_count
    from hubbub.cli.supervisor import Supervisor

    if not app.is_dir():
        raise ConfigError(f"{app} is not a folder. Name the folder of a function app.")
    local = read_local_settings(app)
    number = next(n for n in (port, local.port, 7071) if n is not None)
    listener = listen(address or local.address or "127.0.0.1", number, option="--port")
    # The environment, because others can see arguments.
    secret = {"HUBBUB_CONNECTION_STRING": connection_string} if connection_string else {}
    children = HostChildren(
        app,
        ["host", str(app), *_arguments(options)],
        listener,
        secret,
        workers=worker_count(local, os.environ),
        reloads=not no_reload,
    )
    with Supervisor([children]) as supervisor:
        supervisor.start()
        facts = {name: children.facts[name] for name in ("url", "functions", "keys", "warnings")}
        click.echo(json.dumps({"host": facts}) if as_json else f"{function_lines(facts)}\n{STOP}")
        sys.stdout.flush()
        supervisor.run()


def _arguments(options: Mapping[str, Any]) -> list[str]:
    """Options as a command line has them; those that were not given are left out."""
    arguments = []
    for name, value in options.items():
        if value is True:
            arguments.append(name)
        elif value:
            arguments.append(f"{name}={value}")
    return arguments


def _serve(options: Any, fd: int, ready_fd: int, log_level: str) -> None:
    """Run the app in this process, on the socket that the supervisor has bound."""
    import uvloop

    from hubbub.functions.context import InvocationFilter
    from hubbub.functions.server import Ready, serve_host

    set_up_logging(log_level, invocations=InvocationFilter())
    at_rest: list[Callable[[], None]] = []
    stop_with_parent(fd, ready_fd, told=lambda: at_rest[0]())  # which is said to who is ready
    # What an app prints goes where its logs go: standard output is the supervisor's, for facts.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def ready(facts: Ready) -> None:
        gc.freeze()  # what is loaded by now stays, and need not be looked at again and again
        at_rest.append(partial(_rest, asyncio.get_running_loop(), facts.rest, ready_fd))
        report(ready_fd, {"ready": True, **_facts(facts)}, is_last=False)

    try:
        uvloop.run(serve_host(options, inherit(fd), ready))
    except ConfigError as error:
        report(ready_fd, {"error": str(error)})
        sys.exit(1)


def _rest(
    loop: asyncio.AbstractEventLoop, rest: Callable[[], Awaitable[None]], ready_fd: int
) -> None:
    """Let the host rest, from a thread, and tell the supervisor when it does."""

    async def tell() -> None:
        await rest()
        report(ready_fd, {RESTS: True}, is_last=False)

    resting = tell()
    try:
        asyncio.run_coroutine_threadsafe(resting, loop)
    except RuntimeError:  # the loop is closed: this process is at its end
        resting.close()


def _facts(ready: Any) -> dict[str, Any]:
    return {
        "url": ready.url,
        "functions": [
            {
                "name": info.name,
                "trigger": info.trigger,
                "detail": info.detail,
                "methods": list(info.methods),
                "url": info.url,
            }
            for info in ready.functions
        ],
        "keys": ready.keys,
        "warnings": list(ready.warnings),
    }
