"""Centrifugo, from its Go module or the PATH: skipped where it cannot be built.

A build is kept in the cache folder of the user, outside of the checkout.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers import peer
from benchmarks.peers.peer import Peer, free_port, program
from benchmarks.process import SERVER_CORES, Process
from benchmarks.server import http_request

__all__ = ["centrifugo"]

_MODULE: Final = "github.com/centrifugal/centrifugo/v6@latest"
_PATIENCE: Final = 600  # seconds for a build
_CHANNEL: Final = "bench"
_KEY: Final = "k" * 32


@contextlib.contextmanager
def centrifugo(payload: int) -> Iterator[Peer]:
    """Centrifugo: POST to its HTTP API, clients at its unidirectional WebSocket endpoint."""
    path, port = _program(), free_port()
    envelope = {"channel": _CHANNEL, "pub": {"data": ""}}
    filler = "x" * (payload - len(_json(envelope)))
    with tempfile.TemporaryDirectory(prefix="hubbub-bench-") as folder:
        configuration = Path(folder) / "config.json"
        configuration.write_text(
            json.dumps(
                {
                    "http_server": {"address": "127.0.0.1", "port": str(port)},
                    "http_api": {"key": _KEY},
                    "client": {"insecure": True},
                    "uni_websocket": {"enabled": True},
                    "log": {"level": "warn"},
                }
            )
        )
        with Process([path, "--config", str(configuration)], SERVER_CORES) as process:
            process.wait_for_port(port)
            body = _json({"channel": _CHANNEL, "data": filler})
            script = (
                "/connection/uni_websocket",
                f'say {{"subs":{{"{_CHANNEL}":{{}}}}}}',
                'await "connect"',
            )
            request = http_request("POST /api/publish", body)
            request = request.replace(b"\r\n", f"\r\nX-API-Key: {_KEY}\r\n".encode(), 1)
            yield Peer(process, port, script, port, request, payload)


def _program() -> str:
    found = shutil.which("centrifugo")
    if found is not None:
        return found
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hubbub-bench"
    built = cache / "centrifugo"
    if built.is_file():
        return str(built)
    go = program("go", package="golang-go")
    peer.install([go, "install", _MODULE], patience=_PATIENCE, variables={"GOBIN": str(cache)})
    return str(built)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
