"""The script of the quickstart does what it says."""

import asyncio
import re
import sys
from pathlib import Path

from tests.service.running import Service

QUICKSTART = Path(__file__).parents[2] / "docs" / "quickstart.md"


async def test_the_script_of_the_quickstart_sends_and_tells_who_is_there(
    service: Service,
) -> None:
    (script,) = re.findall(
        r"```python\n(.*?)```", QUICKSTART.read_text(encoding="utf-8"), re.DOTALL
    )
    client = await service.connect("chat", "ann")

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env={"AzureSignalRConnectionString": service.connection_string},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()

    assert len([line for line in script.splitlines() if line]) <= 12
    assert (process.returncode, printed) == (0, b"ann 1\n")
    assert await client.call() == ("newMessage", ["hello", {"from": "a script"}])
