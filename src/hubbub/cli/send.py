"""`hubbub send`: invokes a method of a hub's clients."""

import json
from typing import Any

import click

from hubbub.cli.calling import HubCall, on_hub
from hubbub.client.audience import ClientProxy
from hubbub.client.commands import SendMessage
from hubbub.client.management import HubContext

__all__ = ["send"]


@click.command()
@on_hub
@click.argument("target")
@click.argument("arguments", nargs=-1)
@click.option("--user", help="Send to this user alone.")
@click.option("--group", help="Send to this group alone.")
@click.option("--connection", help="Send to this connection alone.")
@click.option("--filter", "text", help="Send to those that an OData filter accepts.")
@click.option("--except", "excluded", multiple=True, help="Leave this connection out; repeatable.")
@click.option("--wait", is_flag=True, help="With --connection: wait for the client's result.")
def send(
    on: HubCall,
    target: str,
    arguments: tuple[str, ...],
    user: str | None,
    group: str | None,
    connection: str | None,
    text: str | None,
    excluded: tuple[str, ...],
    wait: bool,
) -> None:
    """Invoke TARGET on the clients of HUB.

    Each of ARGUMENTS is read as JSON, and as plain text where it is not JSON:

    \b
      hubbub send chat newMessage alice '{"text": "hello"}'
      hubbub send chat newMessage hello --user alice
    """
    chosen = [name for name in (user, group, connection, text) if name is not None]
    if len(chosen) > 1:
        raise click.UsageError("Pass one of --user, --group, --connection and --filter.")
    if excluded and (user or connection or text):
        raise click.UsageError("--except goes with a hub or with --group.")
    if wait and not connection:
        raise click.UsageError("--wait goes with --connection: a result comes from one client.")
    values = [_value(argument) for argument in arguments]

    async def act(context: HubContext) -> Any:
        if wait:
            return await context.clients.client(connection or "").invoke(target, *values)
        if text is not None:
            return await context.execute(text, SendMessage.of(target, *values))
        audience = _audience(context, user, group, connection, excluded)
        return await audience.send(target, *values)

    result = on.do(act)
    if wait:
        on.show({"result": result}, json.dumps(result, ensure_ascii=False))
    else:
        on.show({"accepted": True}, "The service has accepted it.")


def _audience(
    context: HubContext,
    user: str | None,
    group: str | None,
    connection: str | None,
    excluded: tuple[str, ...],
) -> ClientProxy:
    clients = context.clients
    if user is not None:
        return clients.user(user)
    if connection is not None:
        return clients.client(connection)
    if group is not None:
        return clients.group_except(group, excluded)
    return clients.all_except(excluded)


def _value(argument: str) -> Any:
    try:
        return json.loads(argument)
    except (ValueError, RecursionError):
        return argument
