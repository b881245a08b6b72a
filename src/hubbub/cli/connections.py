"""`hubbub connections`: the connections of a hub."""

import click

from hubbub.cli.calling import call, collect, connection_option, json_option, show, show_rows

__all__ = ["connections"]

_filter = click.option(
    "--filter", "text", help="An OData filter, as in \"startswith(userId, 'a')\"."
)


@click.group()
def connections() -> None:
    """List, count and close the connections of a hub."""


@connections.command("list")
@click.argument("hub")
@_filter
@connection_option
@json_option
def list_connections(
    hub: str, text: str | None, connection_string: str | None, as_json: bool
) -> None:
    """List the connections of HUB, with users and groups."""
    found = call(
        connection_string, hub, lambda context: collect(context.client_manager.connections(text))
    )
    rows = [
        {
            "connectionId": each.connection_id,
            "userId": each.user_id,
            "groups": list(each.groups or ()),
        }
        for each in found
    ]
    columns = ["connectionId", "userId", "groups"]
    show_rows(rows, columns, empty=f"Nobody is on {hub}.", as_json=as_json)


@connections.command()
@click.argument("hub")
@_filter
@connection_option
@json_option
def count(hub: str, text: str | None, connection_string: str | None, as_json: bool) -> None:
    """Count the connections of HUB."""
    number = call(
        connection_string, hub, lambda context: context.client_manager.count_connections(text)
    )
    show({"connections": number}, str(number), as_json=as_json)


@connections.command()
@click.argument("hub")
@click.argument("connection")
@click.option("--reason", help="What the client is told.")
@connection_option
@json_option
def close(
    hub: str, connection: str, reason: str | None, connection_string: str | None, as_json: bool
) -> None:
    """Close CONNECTION of HUB. Its client may connect again."""
    call(
        connection_string,
        hub,
        lambda context: context.client_manager.close_connection(connection, reason),
    )
    show({"closed": connection}, f"{connection} is closed.", as_json=as_json)
