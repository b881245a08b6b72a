"""`hubbub.client.HubClient`, driven by commands."""

import asyncio
from typing import Any

from tests.e2e.interop.lines import Command, emit, serve, text_of

from hubbub.client import Backoff, ConnectError, ConnectionLostError, HubClient, HubError

_clients: dict[str, HubClient] = {}
_answers: dict[str, asyncio.Queue[Any]] = {}


async def open_client(command: Command) -> None:
    name = command["name"]
    client = _clients[name] = HubClient(
        command["url"],
        access_token=command["token"],
        transport=command["transport"],
        encoding=command["encoding"],
        stateful=command["stateful"],
        skip_negotiation=not command["negotiates"],
        reconnect=Backoff((0.1,)) if command["reconnects"] else None,
        server_timeout=command["server_timeout"],
        keep_alive=command["keep_alive"],
    )
    answers = _answers[name] = asyncio.Queue()

    @client.on("news")
    def news(*arguments: Any) -> None:
        emit(name, "news", arguments=arguments)

    @client.on("ask")
    async def ask(*arguments: Any) -> Any:
        emit(name, "ask", arguments=arguments)
        return await answers.get()

    client.on_reconnecting(lambda error: emit(name, "reconnecting", error=text_of(error)))
    client.on_reconnected(lambda connection_id: emit(name, "reconnected", id=connection_id))
    client.on_closed(lambda error: emit(name, "closed", error=text_of(error)))
    try:
        await client.open()
    except (ConnectError, ConnectionLostError) as error:
        emit(name, "closed", error=text_of(error))
    else:
        emit(name, "opened", id=client.connection_id)


async def take(command: Command) -> None:
    name = command["name"]
    match command["do"]:
        case "open":
            await open_client(command)
        case "invoke":
            try:
                result = await _clients[name].invoke(command["target"], *command["arguments"])
            except HubError as error:
                emit(name, "answered", error=text_of(error))
            else:
                emit(name, "answered", result=result)
        case "answer":
            _answers[name].put_nowait(command["value"])
        case "close":
            await _clients[name].close()


async def main() -> None:
    await serve(take)
    for client in _clients.values():
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
