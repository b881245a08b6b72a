"""`hubbub connections`: the connections of a hub."""

import click

from hubbub.cli.calling import HubCall, on_hub, refuse

__all__ = ["connections"]

_filter = click.option(
    "--filter", "text", help="An OData filter, as in \"startswith(userId, 'a')\"."
)


@click.group()
def connections() -> None:
    """List, count and close the connections of a hub."""


@connections.command("list")
@on_hub
@_filter
def list_connections(on: HubCall, text: str | None) -> None:
    """List the connections of HUB, with users and groups."""
    on.table(
        lambda hub: hub.client_manager.connections(text),
        ["connectionId", "userId", "groups"],
        empty=f"Nobody is on {on.hub}.",
    )


@connections.command()
@on_hub
@_filter
def count(on: HubCall, text: str | None) -> None:
    """Count the connections of HUB."""
    number = on.do(lambda hub: hub.client_manager.count_connections(text))
    on.show({"connections": number}, str(number))


@connections.command()
@on_hub
@click.argument("connection")
@click.option("--reason", help="What the client is told.")
def close(on: HubCall, connection: str, reason: str | None) -> None:
    """Close CONNECTION of HUB. Its client may connect again."""
    if not on.do(lambda hub: hub.client_manager.close_connection(connection, reason)):
        refuse(f"There is no connection {connection} on {on.hub}.")
    on.show({"closed": connection}, f"{connection} is closed.")
