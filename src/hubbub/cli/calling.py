"""What commands that call a service have in common: which service it is, and how they answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import click

from hubbub.client.management import HubContext, ServiceClient
from hubbub.errors import ConfigError

__all__ = [
    "SETTING",
    "call",
    "collect",
    "connection_option",
    "json_option",
    "required",
    "show",
    "show_rows",
]

SETTING: Final = "AzureSignalRConnectionString"
_Result = TypeVar("_Result")

connection_option: Final = click.option(
    "--connection-string",
    envvar=SETTING,
    help=f"The service to call. Default: the environment's {SETTING}.",
)
json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document."
)


def required(connection_string: str | None) -> str:
    """The connection string. Raises `ConfigError` where there is none."""
    if not connection_string:
        raise ConfigError(f"Which service? Set {SETTING}, or pass --connection-string.")
    return connection_string


def call(
    connection_string: str | None, hub: str, act: Callable[[HubContext], Awaitable[_Result]]
) -> _Result:
    """Do `act` with a hub of the service; return what it returns."""

    async def run() -> _Result:
        async with ServiceClient(required(connection_string)) as client:
            return await act(client.hub(hub))

    return asyncio.run(run())


async def collect(entries: AsyncIterator[_Result]) -> list[_Result]:
    """All entries of a listing."""
    return [entry async for entry in entries]


def show(facts: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print what was done: `facts` for programs, `sentence` for people."""
    click.echo(json.dumps(facts) if as_json else sentence)


def show_rows(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], *, empty: str, as_json: bool
) -> None:
    """Print a listing: as one array, or as a table with `columns`."""
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo(empty)
        return
    cells = [list(columns), *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _cell(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    # A name may hold anything; what would break the table, or the terminal, is shown escaped.
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
