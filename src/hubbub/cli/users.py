"""`hubbub users`: who is connected to a hub, and as which user."""

import click

from hubbub.cli.calling import HubCall, on_hub, refuse
from hubbub.client.management import HubContext

__all__ = ["users"]


@click.group()
def users() -> None:
    """List the users of a hub, tell their groups, close their connections."""


@users.command("list")
@on_hub
def list_users(on: HubCall) -> None:
    """List the users that are connected to HUB."""
    on.table(
        lambda hub: hub.client_manager.users(),
        ["userId", "connections"],
        empty=f"No user is on {on.hub}.",
    )


@users.command()
@on_hub
@click.argument("user")
def groups(on: HubCall, user: str) -> None:
    """List the groups of HUB that USER has been put into, connected or not."""
    on.table(
        lambda hub: hub.user_groups.of(user),
        ["group", "expires"],
        empty=f"{user} is in no group.",
    )


@users.command()
@on_hub
@click.argument("user")
@click.option("--reason", help="What the clients are told.")
def close(on: HubCall, user: str, reason: str | None) -> None:
    """Close every connection of USER on HUB. The clients may connect again."""

    async def act(hub: HubContext) -> None:
        if not await hub.client_manager.user_exists(user):
            refuse(f"The user {user} has no connection on {on.hub}.")
        await hub.client_manager.close_user(user, reason)

    on.do(act)
    on.show({"closed": user}, f"The connections of {user} are closed.")
