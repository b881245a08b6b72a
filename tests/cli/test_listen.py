"""`hubbub listen`: what it prints of what a hub sends, and how it ends."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner
from tests.client.scripted import ScriptedHub, scripted_hub, soon
from tests.service.running import Running, Service

from hubbub.cli.listen import listen
from hubbub.errors import ConfigError
from hubbub.protocol.messages import Close
from hubbub.service.settings import ServiceSettings

# The command line as a user has it, whatever else it knows.
PROGRAM = """
from hubbub.cli import main
main._COMMANDS["listen"] = "hubbub.cli.listen"
main.main()
"""


class Listener:
    """A running `hubbub listen`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await soon(self.process.stdout.readline())).decode().rstrip("\n")

    async def note(self) -> str:
        assert self.process.stderr is not None
        return (await soon(self.process.stderr.readline())).decode().rstrip("\n")

    async def end(self) -> int:
        return await soon(self.process.wait())


@asynccontextmanager
async def listening(*arguments: str, **environment: str) -> AsyncIterator[Listener]:
    """Run the command, and wait until it says that it listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "listen", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    listener = Listener(process)
    try:
        assert (await listener.note()).startswith("hubbub: connected to chat as ")
        yield listener
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Running(ServiceSettings()) as service:
        yield service


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as hub:
        yield hub


async def test_everything_that_the_hub_sends_is_printed(service: Service) -> None:
    environment = {"AzureSignalRConnectionString": service.connection_string}
    async with listening("chat", "--user", "ann", **environment) as listener:
        await service.send("newMessage", "bob", {"text": "hé\n"}, to="/users/ann")
        await service.send("clear\x1b[2J")

        assert await listener.line() == 'newMessage "bob" {"text":"hé\\n"}'
        assert await listener.line() == '"clear\\u001b[2J"'


async def test_json_is_one_document_a_line(service: Service) -> None:
    options = ("--json", "--messagepack", "--connection-string", service.connection_string)
    async with listening("chat", *options) as listener:
        await service.send("newMessage", 1, None)

        line = json.loads(await listener.line())
        assert line == {"target": "newMessage", "arguments": [1, None]}


async def test_only_the_targets_that_are_named_are_printed(hub: ScriptedHub) -> None:
    connected = asyncio.create_task(hub.connected())
    async with listening("chat", "NEWmessage", "--url", hub.url) as listener:
        peer = await connected
        await peer.call("other")
        await peer.call("newMessage", 1)

        assert await listener.line() == "newMessage 1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
async def test_it_ends_clean_when_it_is_told(hub: ScriptedHub, number: signal.Signals) -> None:
    connected = asyncio.create_task(hub.connected())
    async with listening("chat", "--url", hub.url) as listener:
        peer = await connected
        listener.process.send_signal(number)
        assert await peer.message() == Close()
        await peer.close()

        assert await listener.end() == 0
        assert await listener.line() == ""
        assert await listener.note() == ""


async def test_it_reconnects(hub: ScriptedHub) -> None:
    connected = asyncio.create_task(hub.connected())
    async with listening("chat", "--url", hub.url) as listener:
        (await connected).cut()
        again = await hub.connected()
        await again.call("newMessage", 2)

        assert (await listener.note()).startswith("hubbub: reconnecting: WebSocket closed")
        assert await listener.note() == "hubbub: connected again as id2"
        assert await listener.line() == "newMessage 2"


async def test_a_hub_that_closes_for_good_ends_it_with_the_reason(hub: ScriptedHub) -> None:
    connected = asyncio.create_task(hub.connected())
    async with listening("chat", "--url", hub.url) as listener:
        peer = await connected
        await peer.send(Close(error="You are banned."))
        await peer.close()

        assert await listener.note() == (
            "hubbub: Server returned an error on close: You are banned."
        )
        assert await listener.end() == 1


async def test_it_ends_when_nobody_reads_what_it_prints(hub: ScriptedHub) -> None:
    connected = asyncio.create_task(hub.connected())
    async with listening("chat", "--url", hub.url) as listener:
        peer = await connected
        listener.process.stdout._transport.close()  # type: ignore[union-attr]
        await peer.call("newMessage", 1)
        while await peer.message() != Close():
            await peer.call("newMessage", 1)
        await peer.close()

        assert await listener.end() == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["chat"], "Which service? Set AzureSignalRConnectionString, or pass "),
        (["chat", "--url", "http://h/", "--user", "ann"], "Leave out --user."),
        (["chat", "--connection-string", "nonsense"], "Endpoint="),
        (["chat", "--url", "nonsense"], "This is no URL of a hub."),
    ],
)
def test_what_is_missing_or_does_not_go_together_is_said(arguments: list[str], text: str) -> None:
    outcome = CliRunner(env={"AzureSignalRConnectionString": ""}).invoke(listen, arguments)

    assert isinstance(outcome.exception, ConfigError)
    assert text in str(outcome.exception)
