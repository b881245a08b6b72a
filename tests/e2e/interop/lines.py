"""What the Python clients of the matrix have in common: commands in, events out, as JSON lines."""

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["emit", "serve", "text_of"]

_output = threading.Lock()
Command = dict[str, Any]


def emit(name: str, event: str, **facts: Any) -> None:
    """Report an event of the connection `name`. Called by any thread."""
    with _output:
        sys.stdout.write(json.dumps({"event": event, "name": name, **facts}) + "\n")
        sys.stdout.flush()


def text_of(error: object) -> str | None:
    """An error as an event has it."""
    return str(error) if error is not None else None


async def serve(take: Callable[[Command], Awaitable[None]]) -> None:
    """Give each command to a task of its own until there are no more."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    tasks = set()
    while line := await lines.get():
        task = asyncio.ensure_future(take(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
