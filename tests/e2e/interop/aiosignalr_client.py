"""`aiosignalr`, driven by commands. It has to be on the path; see `clients.py` for where it is."""

import asyncio
from typing import Any

from aiosignalr.client import HubConnection  # type: ignore[import-not-found]
from aiosignalr.client.hub_connection import (  # type: ignore[import-not-found]
    HubConnectionOptions,
)
from aiosignalr.errors import SignalRError  # type: ignore[import-not-found]
from tests.e2e.interop.lines import Command, emit, serve, text_of

_connections: dict[str, Any] = {}
_answers: dict[str, asyncio.Queue[Any]] = {}


async def open_connection(command: Command) -> None:
    name = command["name"]
    options = HubConnectionOptions(
        server_timeout=command["server_timeout"], keep_alive_interval=command["keep_alive"]
    )
    connection = HubConnection(protocol=command["encoding"], options=options)
    _connections[name] = connection
    answers = _answers[name] = asyncio.Queue()

    async def ask(*arguments: Any) -> Any:
        emit(name, "ask", arguments=arguments)
        return await answers.get()

    connection.on("news", lambda *arguments: emit(name, "news", arguments=arguments))
    connection.on("ask", ask)
    connection.on_close = lambda error: emit(name, "closed", error=text_of(error))
    await connection.start(
        command["url"],
        access_token_factory=lambda: command["token"],
        transports={command["transport"]},
        skip_negotiation=not command["negotiates"],
    )
    emit(name, "opened", id=None)


async def take(command: Command) -> None:
    name = command["name"]
    match command["do"]:
        case "open":
            await open_connection(command)
        case "invoke":
            try:
                result = await _connections[name].invoke(command["target"], *command["arguments"])
            except SignalRError as error:
                emit(name, "answered", error=text_of(error))
            else:
                emit(name, "answered", result=result)
        case "answer":
            _answers[name].put_nowait(command["value"])
        case "close":
            await _connections[name].stop()


if __name__ == "__main__":
    asyncio.run(serve(take))
