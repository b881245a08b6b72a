"""The scripts of the quickstart do what they say."""

import asyncio
import re
import sys
from pathlib import Path

from tests.service.running import Service

from hubbub.client.management import ServiceClient

QUICKSTART = Path(__file__).parents[2] / "docs" / "quickstart.md"
PATIENCE = 60  # seconds for a busy machine; what is waited for takes one


def script_below(heading: str) -> str:
    """The one script of a section."""
    _, _, section = QUICKSTART.read_text(encoding="utf-8").partition(f"## {heading}\n")
    (script,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return str(script)


async def begin(script: str, service: Service) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env={"AzureSignalRConnectionString": service.connection_string},
        stdout=asyncio.subprocess.PIPE,
    )


async def test_the_script_of_the_quickstart_sends_and_tells_who_is_there(
    service: Service,
) -> None:
    script = script_below("Send from Python")
    client = await service.connect("chat", "ann")

    process = await begin(script, service)
    printed, _ = await process.communicate()

    assert len([line for line in script.splitlines() if line]) <= 12
    assert (process.returncode, printed) == (0, b"ann 1\n")
    assert await client.call() == ("newMessage", ["hello", {"from": "a script"}])


async def test_the_other_script_of_the_quickstart_prints_what_is_sent(service: Service) -> None:
    process = await begin(script_below("Listen from Python"), service)
    try:
        async with asyncio.timeout(PATIENCE):
            await ann_is_there(service)
            await service.send("newMessage", "hello", {"from": "a test"})
            assert process.stdout is not None
            assert await process.stdout.readline() == b"hello {'from': 'a test'}\n"
    finally:
        process.kill()
        await process.communicate()


async def ann_is_there(service: Service) -> None:
    """Ask again and again until she is."""
    async with ServiceClient(service.connection_string) as client:
        while True:
            if await client.hub("chat").client_manager.user_exists("ann"):
                return
            await asyncio.sleep(0.02)
