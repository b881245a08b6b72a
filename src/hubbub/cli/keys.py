"""`hubbub keys`: makes access keys."""

import json
import secrets
from typing import Final

import click

__all__ = ["keys"]

_KEY_BYTES: Final = 33  # 44 characters of base64, as long as the original's keys


@click.group()
def keys() -> None:
    """Make access keys of a service."""


@keys.command()
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def new(count: int, as_json: bool) -> None:
    """Make a new access key that nobody can guess.

    A service takes up to two at a time, so that one can be replaced while the other is in use:

    \b
      hubbub service --access-key "$NEW" --access-key "$OLD"
    """
    made = [secrets.token_urlsafe(_KEY_BYTES) for _ in range(count)]
    click.echo(json.dumps({"accessKeys": made}) if as_json else "\n".join(made))
