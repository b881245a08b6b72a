"""Pushpin, from Debian, with its built-in test route, whose clients all listen to one channel."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Peer, free_port, program
from benchmarks.process import SERVER_CORES, Process
from benchmarks.server import http_request

__all__ = ["pushpin"]

_CHANNEL: Final = "test"
_CONFIGURATION: Final = """
[global]
include={{libdir}}/internal.conf
rundir={folder}
ipc_prefix=bench-
[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{port}
logdir={folder}
client_maxconn=50000
[proxy]
routesfile={folder}/routes
[handler]
push_in_spec=ipc://{folder}/push
push_in_sub_specs=ipc://{folder}/push-sub
push_in_http_addr=127.0.0.1
push_in_http_port={publish_port}
command_spec=ipc://{folder}/command
stats_spec=ipc://{folder}/stats
message_rate=1000000
message_hwm=1000000
"""


@contextlib.contextmanager
def pushpin(payload: int) -> Iterator[Peer]:
    """Pushpin: POST to its publish port, WebSocket clients at its test route."""
    path = program("pushpin", package="pushpin")
    port, publish_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="hubbub-bench-") as folder:
        configuration = Path(folder) / "pushpin.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, port=port, publish_port=publish_port)
        )
        (Path(folder) / "routes").write_text(f"* {_CHANNEL}\n")
        with Process([path, f"--config={configuration}"], SERVER_CORES) as process:
            process.wait_for_port(port)
            process.wait_for_port(publish_port)
            item = {"channel": _CHANNEL, "formats": {"ws-message": {"content": "x" * payload}}}
            request = http_request("POST /publish/", json.dumps({"items": [item]}).encode())
            yield Peer(process, port, ("/ws",), publish_port, request, payload)
