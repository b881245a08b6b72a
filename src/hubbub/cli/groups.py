"""`hubbub groups`: the groups of a hub and who is in them."""

import click

from hubbub.cli.calling import HubCall, on_hub, refuse
from hubbub.client.management import HubContext

__all__ = ["groups"]

_user = click.option("--user", help="A user, with all connections.")
_connection = click.option("--connection", help="A single connection.")


@click.group()
def groups() -> None:
    """List the groups of a hub and their members, add and remove members."""


@groups.command("list")
@on_hub
def list_groups(on: HubCall) -> None:
    """List the groups of HUB that have connections."""
    on.table(
        lambda hub: hub.client_manager.groups(),
        ["group", "connections"],
        empty=f"No group of {on.hub} has members.",
    )


@groups.command()
@on_hub
@click.argument("group")
def members(on: HubCall, group: str) -> None:
    """List the connections in GROUP of HUB."""
    on.table(
        lambda hub: hub.groups.connections(group),
        ["connectionId", "userId"],
        empty=f"Nobody is in {group}.",
    )


@groups.command()
@on_hub
@click.argument("group")
@_user
@_connection
@click.option("--ttl", type=click.IntRange(0), help="Seconds that a user stays in it.")
def add(on: HubCall, group: str, user: str | None, connection: str | None, ttl: int | None) -> None:
    """Put a user or a connection into GROUP of HUB.

    A user stays in it for --ttl seconds, by default up to a year. With 0 only the connections that
    the user has now join.
    """
    member = _one(user, connection)
    if ttl is not None and user is None:
        raise click.UsageError("--ttl goes with --user: a connection is in a group while it lasts.")

    async def act(hub: HubContext) -> bool:
        if user is None:
            return await hub.groups.add(member, group)
        await hub.user_groups.add(user, group, ttl)
        return True

    if not on.do(act):
        refuse(f"There is no connection {member} on {on.hub}.")
    on.show({"added": member, "group": group}, f"{member} is in {group}.")


@groups.command()
@on_hub
@click.argument("group")
@_user
@_connection
def remove(on: HubCall, group: str, user: str | None, connection: str | None) -> None:
    """Take a user or a connection out of GROUP of HUB."""
    member = _one(user, connection)

    async def act(hub: HubContext) -> None:
        manager = hub.client_manager
        if user is not None:
            # One who is not connected may be in it, and one who is not stored may be connected.
            if not (await hub.user_groups.contains(user, group) or await manager.user_exists(user)):
                refuse(f"There is no user {user} in {group} or on {on.hub}.")
            await hub.user_groups.remove(user, group)
        else:
            if not await manager.connection_exists(member):
                refuse(f"There is no connection {member} on {on.hub}.")
            await hub.groups.remove(member, group)

    on.do(act)
    on.show({"removed": member, "group": group}, f"{member} is not in {group} any more.")


def _one(user: str | None, connection: str | None) -> str:
    if (user is None) == (connection is None):
        raise click.UsageError("Pass either --user or --connection.")
    member = user or connection
    if not member:
        raise click.UsageError("A name is not empty.")
    return member
