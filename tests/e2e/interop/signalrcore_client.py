"""`signalrcore`, driven by commands. Its callbacks come from threads of its own."""

import asyncio
import logging
import threading
from typing import Any

from signalrcore.hub_connection_builder import (  # type: ignore[import-untyped]
    HubConnectionBuilder,
)
from signalrcore.types import (  # type: ignore[import-untyped]
    HttpTransportType,
    HubProtocolEncoding,
)
from tests.e2e.interop.lines import Command, emit, serve

_ENCODINGS = {"json": HubProtocolEncoding.text, "messagepack": HubProtocolEncoding.binary}
_connections: dict[str, Any] = {}


def open_connection(command: Command) -> None:
    name = command["name"]
    builder = (
        HubConnectionBuilder()
        .with_url(command["url"], options={"transport": HttpTransportType(command["transport"])})
        .configure_logging(logging.ERROR)
        .with_hub_protocol(_ENCODINGS[command["encoding"]])
    )
    if command["reconnects"]:
        # Without this it does not send pings either.
        builder.with_automatic_reconnect(
            {
                "type": "raw",
                "keep_alive_interval": command["keep_alive"],
                "reconnect_interval": 0.1,
            }
        )
    connection = _connections[name] = builder.build()
    connection.on_open(lambda: emit(name, "opened", id=None))
    connection.on_reconnect(lambda: emit(name, "reconnected", id=None))
    connection.on_close(lambda: emit(name, "closed", error=None))
    connection.on_error(lambda message: emit(name, "answered", error=message.error))
    connection.on("news", lambda arguments: emit(name, "news", arguments=arguments))
    connection.start()


async def take(command: Command) -> None:
    name = command["name"]
    match command["do"]:
        case "open":
            await asyncio.to_thread(open_connection, command)
        case "invoke":
            _connections[name].invoke(command["target"], command["arguments"])
        case "close":
            # It may wait for ever for a thread of its own that waits for its socket.
            threading.Thread(target=_connections[name].stop, daemon=True).start()


if __name__ == "__main__":
    asyncio.run(serve(take))
