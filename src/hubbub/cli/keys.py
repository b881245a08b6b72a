"""`hubbub keys`: makes access keys, and replaces those that the nodes of a service share."""

import asyncio
import json
from contextlib import suppress

import click

from hubbub.errors import ConfigError
from hubbub.service.backplane.backplane import BackplaneError
from hubbub.service.backplane.engine import redis_engine
from hubbub.service.backplane.sharedsettings import KEYS_CHANGED, SharedKeys, Which, new_key

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Make and replace access keys of a service."""


@keys.command()
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def new(count: int, as_json: bool) -> None:
    """Make a new access key that nobody can guess.

    A service takes up to two at a time, so that one can be replaced while the other is in use:

    \b
      hubbub service --access-key "$NEW" --access-key "$OLD"
    """
    made = [new_key() for _ in range(count)]
    click.echo(json.dumps({"accessKeys": made}) if as_json else "\n".join(made))


@keys.command()
@click.argument("which", type=click.Choice(["primary", "secondary"]))
@click.option(
    "--backplane",
    required=True,
    envvar="HUBBUB_BACKPLANE",
    help="The Redis of the service, as given to `hubbub service`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def rotate(which: Which, backplane: str, as_json: bool) -> None:
    """Replace a key that the nodes of a service share; print the new one.

    Every node takes it within seconds, and refuses the old one from then on. The other key stays
    good. To replace both without a client noticing:

    \b
      hubbub keys rotate secondary --backplane "$URL"   # then give it to your apps
      hubbub keys rotate primary --backplane "$URL"
    """
    found = asyncio.run(_rotate(which, backplane))
    primary, secondary = found.access_keys
    key = primary if which == "primary" else secondary
    facts = {"which": which, "accessKey": key, "version": found.version}
    click.echo(json.dumps(facts) if as_json else key)
    click.echo(
        f"This is the {which} key from here on. What was the {which} key is refused: connection "
        "strings with it, also the one that the service printed, need this one.",
        err=True,
    )


async def _rotate(which: Which, url: str) -> SharedKeys:
    engine = redis_engine(url)
    await engine.backplane.open(lambda channel, data: None, lambda is_connected: None)
    try:
        found = await engine.settings.rotate(which)
        if found is None:
            raise ConfigError(
                "No node has used this backplane yet, so there are no keys on it to replace. Start "
                "`hubbub service --backplane` with the same URL first."
            )
        with suppress(BackplaneError):  # they look by themselves, too
            await engine.backplane.publish("all", KEYS_CHANGED)
        return found
    finally:
        await engine.backplane.close()
