"""Nchan in nginx, from Debian: one worker, one channel, a location to publish, one to listen."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Peer, free_port, program
from benchmarks.process import SERVER_CORES, Process, SkippedError
from benchmarks.server import http_request

__all__ = ["nchan"]

_PACKAGE: Final = "libnginx-mod-nchan"
_MODULES: Final = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")
_CONFIGURATION: Final = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
load_module {module};
events {{ worker_connections {files}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    nchan_channel_id bench;
    location = /publish {{ nchan_publisher http; nchan_store_messages off; }}
    location = /subscribe {{ nchan_subscriber websocket; }}
  }}
}}
"""


@contextlib.contextmanager
def nchan(payload: int) -> Iterator[Peer]:
    """Nchan: POST to a publisher location, WebSocket clients at a subscriber location."""
    nginx = program("nginx", package=_PACKAGE)
    module = next((path for path in map(_module, _MODULES) if path.is_file()), None)
    if module is None:
        raise SkippedError(f"nginx has no module Nchan (Debian: {_PACKAGE})")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hubbub-bench-") as folder:
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                user="user root;" if os.geteuid() == 0 else "",
                files=os.sysconf("SC_OPEN_MAX"),
                folder=folder,
                module=module,
                port=port,
            )
        )
        command = [nginx, "-c", str(configuration), "-e", f"{folder}/error.log", "-p", folder]
        with Process(command, SERVER_CORES) as process:
            process.wait_for_port(port)
            request = http_request("POST /publish", b"x" * payload)
            yield Peer(process, port, ("/subscribe",), port, request, payload)


def _module(folder: str) -> Path:
    return Path(folder) / "ngx_nchan_module.so"
