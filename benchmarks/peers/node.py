"""`ws` and Socket.IO, from npm."""

import contextlib
from collections.abc import Iterator
from typing import Final

from benchmarks.peers.peer import FOLDER, Peer, event, node_packages
from benchmarks.process import SERVER_CORES, Process
from benchmarks.server import http_request

__all__ = ["SOCKET_IO_SCRIPT", "socket_io", "ws"]

# Engine.IO protocol 4 and Socket.IO protocol 5: open packet, then connect to the namespace "/".
SOCKET_IO_SCRIPT: Final = (
    "/socket.io/?EIO=4&transport=websocket",
    "await 0{",
    "say 40",
    "await 40{",
)


@contextlib.contextmanager
def ws(payload: int) -> Iterator[Peer]:
    """`ws`, the WebSocket library of Node: `send` to each of `clients`."""
    with Process([node_packages(), FOLDER / "ws.mjs"], SERVER_CORES) as process:
        port = int(process.hear())
        request = http_request("POST /", b"x" * payload)
        yield Peer(process, port, ("/",), port, request, payload)


@contextlib.contextmanager
def socket_io(payload: int) -> Iterator[Peer]:
    """Socket.IO on Node: `io.emit`."""
    with Process([node_packages(), FOLDER / "socketio.mjs"], SERVER_CORES) as process:
        port = int(process.hear())
        request = http_request("POST /send", event(payload))
        yield Peer(process, port, SOCKET_IO_SCRIPT, port, request, payload)
