"""`hubbub new`: a function app to start from. It writes files and runs nothing.

What it writes deploys to Azure as it is.
"""

import json
import shlex
import shutil
from pathlib import Path
from typing import Final

import click

from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import format_connection_string
from hubbub.service.settings import EMULATOR_KEY

__all__ = ["new"]

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SHARED: Final = "shared"
# Without their dots here, because in this repository they would count.
_RENAMED: Final = {"gitignore": ".gitignore", "funcignore": ".funcignore"}


@click.command()
@click.argument("name", type=click.Path(path_type=Path))
@click.option(
    "--template",
    type=click.Choice(["qr", "chat", "timer"]),
    default="qr",
    show_default=True,
    help="qr: a code that lights up. chat: clients call functions. timer: a clock for all.",
)
def new(name: Path, template: str) -> None:
    """Make a function app in the new folder NAME.

    \b
      hubbub new my-app --template chat
      hubbub start my-app
    """
    if name.exists() and (not name.is_dir() or any(name.iterdir())):
        raise ConfigError(f"{name} exists already and is not empty. Choose another name.")
    try:
        write_app(name, template)
    except OSError as error:
        raise ConfigError(f"The app cannot be written to {name}: {error.strerror}.") from error
    click.echo(f"{name} is a function app now. Start it:\n\n  hubbub start {quoted(name)}\n")
    if template == "qr":
        click.echo("It draws the code with segno, which Hubbub brings along.")
    click.echo("Then open http://localhost:7071/api/index.")


def quoted(path: Path) -> str:
    """A path as a shell takes it for one argument, and a command for no option."""
    text = shlex.quote(str(path))
    return f"./{text}" if text.startswith("-") else text


def write_app(folder: Path, template: str) -> None:
    """Copy a template and what all of them share into `folder`, and write its local settings."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in (*(_TEMPLATES / _SHARED).iterdir(), *(_TEMPLATES / template).iterdir()):
        if source.is_file():
            shutil.copyfile(source, folder / _RENAMED.get(source.name, source.name))
    settings = {
        "IsEncrypted": False,
        "Values": {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsStorage": "",
            "AzureSignalRConnectionString": format_connection_string(
                "http://localhost:8888", EMULATOR_KEY
            ),
        },
    }
    text = json.dumps(settings, indent=2)
    (folder / "local.settings.json").write_text(f"{text}\n", encoding="utf-8")
