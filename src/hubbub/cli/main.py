"""The command `hubbub`: finds a command, and shows an error as one sentence and an exit status."""

import importlib
import signal
import sys
from typing import Final

import click

from hubbub import __version__
from hubbub.errors import ConfigError, HubbubError

__all__ = ["cli", "main"]

_CONFIG_STATUS: Final = 2  # as for a wrong option
_FAILURE_STATUS: Final = 1
_COMMANDS: Final = {
    "start": "hubbub.cli.start",
    "service": "hubbub.cli.service",
    "host": "hubbub.cli.host",
    "new": "hubbub.cli.new",
    "listen": "hubbub.cli.listen",
    "qr": "hubbub.cli.qr",
    "send": "hubbub.cli.send",
    "token": "hubbub.cli.tokens",
    "keys": "hubbub.cli.keys",
    "users": "hubbub.cli.users",
    "groups": "hubbub.cli.groups",
    "connections": "hubbub.cli.connections",
    "upstream": "hubbub.cli.upstream",
    "nodes": "hubbub.cli.cluster",
    "drain": "hubbub.cli.cluster",
    "doctor": "hubbub.cli.doctor",
}


class _LazyGroup(click.Group):
    """Imports a command's module only when the command is called: most need little."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), cmd_name)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hubbub")
def cli() -> None:
    """A self-hosted real-time service and function host, on the wire of Azure's."""


def main() -> None:
    """Run the command line and leave with its status."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(128 + signal.SIGINT)
    except HubbubError as error:
        click.echo(f"hubbub: {error}", err=True)
        sys.exit(_CONFIG_STATUS if isinstance(error, ConfigError) else _FAILURE_STATUS)
