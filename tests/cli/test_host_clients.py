"""Clients of the service while the app that they talk to is changed: none of them is dropped."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from tests.cli.programs import running

from hubbub.cli.new import write_app
from hubbub.client.connection import HubClient


async def test_a_client_stays_connected_while_the_app_is_loaded_again(tmp_path: Path) -> None:
    app = tmp_path / "app"
    write_app(app, "chat")
    script = app / "function_app.py"
    free = ("--port", "0", "--service-port", "0")

    with running("start", str(app), *free, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        async with HubClient(f"{facts['host']['url']}/api?name=bob") as client:
            before = client.connection_id
            results: list[Any] = [await client.invoke("say", "hello")]
            script.write_text(script.read_text().replace("return len(text)", "return -1"))
            async with asyncio.timeout(60):
                while results[-1] != -1:
                    results.append(await client.invoke("say", "hello"))
            assert client.connection_id == before

    # Every call was answered, by the old code and then by the new one.
    assert set(results) == {5, -1}
    assert "reloaded in" in (tmp_path / "log").read_text()


async def test_a_service_started_beside_a_host_that_asks_for_keys_has_its_system_key(
    tmp_path: Path,
) -> None:
    app, data, log = tmp_path / "app", tmp_path / "data", tmp_path / "log"
    write_app(app, "chat")
    free = ("--port", "0", "--service-port", "0", "--data", str(data), "--log-level", "debug")

    with running("start", str(app), *free, "--enable-auth", cwd=tmp_path, log=log) as (_, facts):
        document = json.loads((data / "secrets" / "host.json").read_text())
        keys = [key["value"] for key in document["systemKeys"]]
        async with HubClient(f"{facts['host']['url']}/api?name=bob") as client:
            assert await client.invoke("say", "hello") == 5
        commands = command_lines()

    assert len(keys) == 1
    assert any("Hubbub.Environment" in command for command in commands)  # the service is seen
    assert not [command for command in commands if keys[0] in command]
    assert keys[0] not in log.read_text()


def command_lines() -> list[str]:
    """The arguments of every process of this machine, as `ps` shows them."""
    found = []
    for entry in os.scandir("/proc"):
        try:
            found.append((Path(entry.path) / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue  # no process, or one that has ended
    return found
