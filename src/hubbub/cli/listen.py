"""`hubbub listen`: prints what a hub sends to its clients, by being one of them."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import click
import msgspec

from hubbub.cli.chosen import Chosen, connection_option
from hubbub.client import HubClient
from hubbub.client.settings import TransportName
from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import client_url
from hubbub.protocol.tokens import issue_client_token

__all__ = ["listen"]

_TRANSPORTS = ("WebSockets", "ServerSentEvents", "LongPolling")
_encoder = msgspec.json.Encoder(enc_hook=str)  # MessagePack has values that JSON has not


@click.command()
@click.argument("hub")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@connection_option
@click.option("--url", help="The URL of a hub or of an app that negotiates, instead of a service.")
@click.option("--user", help="The user id to connect as.")
@click.option("--transport", type=click.Choice(_TRANSPORTS, case_sensitive=False))
@click.option("--messagepack", is_flag=True, help="Speak MessagePack instead of JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def listen(
    hub: str,
    targets: tuple[str, ...],
    chosen: Chosen,
    url: str | None,
    user: str | None,
    transport: TransportName | None,
    messagepack: bool,
    as_json: bool,
) -> None:
    """Print what HUB sends to its clients, until Ctrl-C: all, or the TARGETs that are named.

    \b
      hubbub listen chat
      hubbub listen chat newMessage --json | jq .arguments
      hubbub listen chat --url http://localhost:7071/api

    With --url the app that is asked there decides about the hub and the user.
    """
    address, token = _where(hub, chosen, url, user)
    client = HubClient(
        address,
        access_token=token,
        transport=transport,
        encoding="messagepack" if messagepack else "json",
    )
    with nullcontext() if url is not None else chosen.explained(address.partition("/client/")[0]):
        asyncio.run(_listen(client, hub, frozenset(map(str.lower, targets)), as_json=as_json))


def _where(
    hub: str, chosen: Chosen, url: str | None, user: str | None
) -> tuple[str, Callable[[], str] | None]:
    """The address to connect to, and what makes tokens for it."""
    if url is not None:
        if user is not None:
            raise ConfigError("With --url the app decides who the user is. Leave out --user.")
        return url, None
    endpoint = chosen.endpoint(otherwise="pass --connection-string or --url")

    def token() -> str:
        return issue_client_token(endpoint, hub, now=int(time.time()), user_id=user)

    return client_url(endpoint, hub), token


async def _listen(client: HubClient, hub: str, targets: frozenset[str], *, as_json: bool) -> None:
    @client.on_unhandled
    async def show(target: str, *arguments: Any) -> None:
        if targets and target.lower() not in targets:
            return
        try:
            click.echo(_line(target, arguments, as_json=as_json))
        except BrokenPipeError:
            sys.stdout = None  # nobody reads: what is left cannot go out
            await client.close()

    client.on_reconnecting(lambda error: _note(f"reconnecting: {error}"))
    client.on_reconnected(lambda number: _note(f"connected again as {number}"))
    stopping = asyncio.ensure_future(_stopped())
    async with client:
        _note(f"connected to {hub} as {client.connection_id}")
        closed = asyncio.ensure_future(client.wait_closed())
        await asyncio.wait((closed, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not closed.done():
            await client.close()
        await closed


async def _stopped() -> None:
    """Wait for Ctrl-C or a request to end."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


def _line(target: str, arguments: tuple[Any, ...], *, as_json: bool) -> str:
    if as_json:
        return _encoder.encode({"target": target, "arguments": arguments}).decode()
    # What is not printable could move the cursor of a terminal.
    name = target if target.isprintable() else json.dumps(target)
    return " ".join((name, *(_encoder.encode(argument).decode() for argument in arguments)))


def _note(text: str) -> None:
    click.echo(f"hubbub: {text}", err=True)
