"""Runs commands in this process, against a service that runs in it too. Holds no fixtures."""

import asyncio
import json
from typing import Any

from click.testing import CliRunner, Result
from tests.service.running import Service

from hubbub.cli.main import cli


def invoke(*arguments: str, **environment: str) -> Result:
    """Run a command that calls no service."""
    # A setting of whoever runs the tests must not count.
    settings: dict[str, str | None] = {"AzureSignalRConnectionString": None, **environment}
    return CliRunner().invoke(cli, arguments, env=settings)


async def call(service: Service, *arguments: str) -> str:
    """Run a command that calls a service; return what it prints."""
    options = ("--connection-string", service.connection_string)
    result = await asyncio.to_thread(invoke, *arguments, *options)
    assert result.exit_code == 0, result
    return result.stdout


async def read(service: Service, *arguments: str) -> Any:
    """Run a command with --json; return what it prints, read."""
    return json.loads(await call(service, *arguments, "--json"))
