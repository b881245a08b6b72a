"""`pysignalr`, driven by commands. It reconnects whether or not it is told to."""

import asyncio
from typing import Any

from pysignalr.client import SignalRClient
from pysignalr.exceptions import ServerError
from pysignalr.messages import CompletionMessage
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol
from tests.e2e.interop.lines import Command, emit, serve, text_of

_clients: dict[str, SignalRClient] = {}
_answers: dict[str, asyncio.Queue[Any]] = {}


async def open_client(command: Command) -> None:
    name = command["name"]
    is_binary = command["encoding"] == "messagepack"
    client = _clients[name] = SignalRClient(
        command["url"],
        protocol=MessagepackProtocol() if is_binary else JSONProtocol(),
        signalr_ping_interval=command["keep_alive"],
        # Its default of 1 MB would do; the app's limit is not what is tested.
        max_size=None,
    )
    answers = _answers[name] = asyncio.Queue()
    was_open = False

    async def opened() -> None:
        nonlocal was_open
        emit(name, "reconnected" if was_open else "opened", id=None)
        was_open = True

    async def lost() -> None:
        emit(name, "reconnecting", error=None)

    async def news(arguments: list[Any]) -> None:
        emit(name, "news", arguments=arguments)

    async def ask(arguments: list[Any]) -> Any:
        emit(name, "ask", arguments=arguments)
        return await answers.get()

    async def failed(completion: CompletionMessage) -> None:
        emit(name, "answered", error=completion.error)

    client.on_open(opened)
    client.on_close(lost)
    client.on("news", news)
    client.on("ask", ask)
    client.on_error(failed)
    try:
        await client.run()
    except ServerError as error:
        emit(name, "closed", error=text_of(error))


async def completed(_completion: Any) -> None:
    """What is invoked is expected to fail, and `on_error` tells of it."""


async def take(command: Command) -> None:
    name = command["name"]
    match command["do"]:
        case "open":
            await open_client(command)
        case "invoke":
            await _clients[name].send(command["target"], command["arguments"], completed)
        case "answer":
            _answers[name].put_nowait(command["value"])


if __name__ == "__main__":
    asyncio.run(serve(take))
