"""python-socketio on uvicorn, from PyPI: what comes by POST is emitted to every client.

`python -m benchmarks.peers.pythonsocketio` is the server; it prints its port.
"""

import contextlib
import importlib.util
import socket
from collections.abc import Iterator

import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.node import SOCKET_IO_SCRIPT
from benchmarks.peers.peer import Peer, event
from benchmarks.process import SERVER_CORES, Process, SkippedError, python
from benchmarks.server import http_request

__all__ = ["python_socketio"]


@contextlib.contextmanager
def python_socketio(payload: int) -> Iterator[Peer]:
    """python-socketio: `AsyncServer.emit`, as an ASGI app on uvicorn with uvloop."""
    if importlib.util.find_spec("socketio") is None:
        raise SkippedError("python-socketio is not installed (dependency group `bench`)")
    command = python("-m", "benchmarks.peers.pythonsocketio")
    with Process(command, SERVER_CORES) as process:
        port = int(process.hear())
        request = http_request("POST /send", event(payload))
        yield Peer(process, port, SOCKET_IO_SCRIPT, port, request, payload)


def main() -> None:
    """Serve on a free port and print which."""
    import socketio  # type: ignore[import-untyped]

    # The load client answers no pings of Engine.IO, so there are none while it is measured.
    server = socketio.AsyncServer(async_mode="asgi", ping_interval=3600)

    async def send(scope, receive, respond):  # type: ignore[no-untyped-def]
        body = await Request(scope, receive).body()
        await server.emit("newMessage", body.decode())
        await Response(None, 202)(scope, receive, respond)

    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        socketio.ASGIApp(server, other_asgi_app=send),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_ping_interval=None,  # the load client answers none
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
