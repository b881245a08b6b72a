"""`hubbub users`: who is connected to a hub, and as which user."""

import click

from hubbub.cli.calling import call, collect, connection_option, json_option, show, show_rows

__all__ = ["users"]


@click.group()
def users() -> None:
    """List the users of a hub, tell their groups, close their connections."""


@users.command("list")
@click.argument("hub")
@connection_option
@json_option
def list_users(hub: str, connection_string: str | None, as_json: bool) -> None:
    """List the users that are connected to HUB."""
    found = call(connection_string, hub, lambda context: collect(context.client_manager.users()))
    rows = [{"userId": each.user_id, "connections": each.connections} for each in found]
    show_rows(rows, ["userId", "connections"], empty=f"No user is on {hub}.", as_json=as_json)


@users.command()
@click.argument("hub")
@click.argument("user")
@connection_option
@json_option
def groups(hub: str, user: str, connection_string: str | None, as_json: bool) -> None:
    """List the groups of HUB that USER has been put into, connected or not."""
    found = call(connection_string, hub, lambda context: collect(context.user_groups.of(user)))
    rows = [{"group": each.group, "expires": each.expires} for each in found]
    show_rows(rows, ["group", "expires"], empty=f"{user} is in no group.", as_json=as_json)


@users.command()
@click.argument("hub")
@click.argument("user")
@click.option("--reason", help="What the clients are told.")
@connection_option
@json_option
def close(
    hub: str, user: str, reason: str | None, connection_string: str | None, as_json: bool
) -> None:
    """Close every connection of USER on HUB. The clients may connect again."""
    call(connection_string, hub, lambda context: context.client_manager.close_user(user, reason))
    show({"closed": user}, f"The connections of {user} are closed.", as_json=as_json)
