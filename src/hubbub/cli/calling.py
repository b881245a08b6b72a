"""What commands that call a service have in common: their options, the call, and the answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, TypeVar

import click

from hubbub.cli.chosen import SETTING, Chosen, connection_option
from hubbub.client.management import HubContext, ServiceClient
from hubbub.errors import HubbubError

__all__ = ["SETTING", "HubCall", "json_option", "on_hub", "refuse", "show"]

_Result = TypeVar("_Result")
_Options = ParamSpec("_Options")

json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document."
)


@dataclass(frozen=True, slots=True)
class HubCall:
    """A command that concerns one hub of one service."""

    hub: str
    chosen: Chosen
    as_json: bool

    def do(self, act: Callable[[HubContext], Awaitable[_Result]]) -> _Result:
        """Do `act` with the hub; return what it returns."""
        endpoint = self.chosen.endpoint()

        async def run() -> _Result:
            async with ServiceClient(endpoint) as client:
                return await act(client.hub(self.hub))

        with self.chosen.explained(endpoint.url):
            return asyncio.run(run())

    def table(
        self,
        entries: Callable[[HubContext], AsyncIterator[Any]],
        columns: Sequence[str],
        *,
        empty: str,
    ) -> None:
        """Print a listing as one array, or as a table: `columns` are named as in the REST API."""

        async def act(hub: HubContext) -> list[Any]:
            return [entry async for entry in entries(hub)]

        rows = [{column: _member(entry, column) for column in columns} for entry in self.do(act)]
        if self.as_json:
            click.echo(json.dumps(rows))
        elif rows:
            click.echo("\n".join(_lines(rows, columns)))
        else:
            click.echo(empty)

    def show(self, facts: dict[str, Any], sentence: str) -> None:
        """Print what was done."""
        show(facts, sentence, as_json=self.as_json)


def on_hub(
    command: Callable[Concatenate[HubCall, _Options], None],
) -> Callable[..., None]:
    """Give a command the argument HUB, and the options that say which service and how to answer."""

    @click.argument("hub")
    @connection_option
    @json_option
    @wraps(command)
    def with_hub(hub: str, chosen: Chosen, as_json: bool, **options: Any) -> None:
        command(HubCall(hub, chosen, as_json), **options)  # type: ignore[call-arg]

    return with_hub


def refuse(sentence: str) -> NoReturn:
    """End the command: what it names is not there."""
    raise HubbubError(sentence)


def show(facts: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print what was done: `facts` for programs, `sentence` for people."""
    click.echo(json.dumps(facts) if as_json else sentence)


def _member(entry: Any, column: str) -> Any:
    """What is called userId in JSON is user_id in Python."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in column)
    value = getattr(entry, name)
    return list(value) if isinstance(value, tuple) else value


def _lines(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[str]:
    cells = [list(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _cell(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    # A name may hold anything; what would break the table, or the terminal, is shown escaped.
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
