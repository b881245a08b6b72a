"""`hubbub groups`: the groups of a hub and who is in them."""

import click

from hubbub.cli.calling import call, collect, connection_option, json_option, show, show_rows
from hubbub.client.management import HubContext

__all__ = ["groups"]

_user = click.option("--user", help="A user, with all connections.")
_connection = click.option("--connection", help="A single connection.")


@click.group()
def groups() -> None:
    """List the groups of a hub and their members, add and remove members."""


@groups.command("list")
@click.argument("hub")
@connection_option
@json_option
def list_groups(hub: str, connection_string: str | None, as_json: bool) -> None:
    """List the groups of HUB that have connections."""
    found = call(connection_string, hub, lambda context: collect(context.client_manager.groups()))
    rows = [{"group": each.group, "connections": each.connections} for each in found]
    show_rows(
        rows, ["group", "connections"], empty=f"No group of {hub} has members.", as_json=as_json
    )


@groups.command()
@click.argument("hub")
@click.argument("group")
@connection_option
@json_option
def members(hub: str, group: str, connection_string: str | None, as_json: bool) -> None:
    """List the connections in GROUP of HUB."""
    found = call(connection_string, hub, lambda context: collect(context.groups.connections(group)))
    rows = [{"connectionId": each.connection_id, "userId": each.user_id} for each in found]
    show_rows(rows, ["connectionId", "userId"], empty=f"Nobody is in {group}.", as_json=as_json)


@groups.command()
@click.argument("hub")
@click.argument("group")
@_user
@_connection
@click.option("--ttl", type=click.IntRange(0), help="Seconds that a user stays in it.")
@connection_option
@json_option
def add(
    hub: str,
    group: str,
    user: str | None,
    connection: str | None,
    ttl: int | None,
    connection_string: str | None,
    as_json: bool,
) -> None:
    """Put a user or a connection into GROUP of HUB.

    A user stays in it for --ttl seconds, by default up to a year. With 0 only the connections that
    the user has now join.
    """
    member = _member(user, connection)
    if ttl is not None and user is None:
        raise click.UsageError("--ttl goes with --user: a connection is in a group while it lasts.")

    async def act(context: HubContext) -> None:
        if user is not None:
            await context.user_groups.add(user, group, ttl)
        else:
            await context.groups.add(member, group)

    call(connection_string, hub, act)
    show({"added": member, "group": group}, f"{member} is in {group}.", as_json=as_json)


@groups.command()
@click.argument("hub")
@click.argument("group")
@_user
@_connection
@connection_option
@json_option
def remove(
    hub: str,
    group: str,
    user: str | None,
    connection: str | None,
    connection_string: str | None,
    as_json: bool,
) -> None:
    """Take a user or a connection out of GROUP of HUB."""
    member = _member(user, connection)

    async def act(context: HubContext) -> None:
        members = context.user_groups if user is not None else context.groups
        await members.remove(member, group)

    call(connection_string, hub, act)
    show({"removed": member, "group": group}, f"{member} is not in {group}.", as_json=as_json)


def _member(user: str | None, connection: str | None) -> str:
    if (user is None) == (connection is None):
        raise click.UsageError("Pass either --user or --connection.")
    member = user or connection
    if not member:
        raise click.UsageError("A name is not empty.")
    return member
