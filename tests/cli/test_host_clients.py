"""Clients of the service while the app that they talk to is changed: none of them is dropped."""

import asyncio
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
