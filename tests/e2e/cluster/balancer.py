"""nginx in front of the nodes: plain round robin, without stickiness, as docs/scale.md has it."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.e2e.running import missing

__all__ = ["Balancer", "documented_site"]

_PAGE: Final = Path(__file__).parents[3] / "docs" / "scale.md"
_SECONDS: Final = 20
_CONFIG: Final = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


def documented_site() -> str:
    """The configuration that docs/scale.md tells people to use."""
    blocks = re.findall(r"^```nginx\n(.*?)^```", _PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, "docs/scale.md has one configuration for nginx"
    site: str = blocks[0]
    return site


def site_for(port: int, nodes: Sequence[int]) -> str:
    """The documented configuration with the addresses of a test."""
    site, servers = re.subn(
        r"(?m)(^ +server \S+ (.*;)\n)+",
        lambda found: "".join(f"    server 127.0.0.1:{node} {found[2]}\n" for node in nodes),
        documented_site(),
        count=1,
    )
    site, listens = re.subn(r"(?m)^ +listen .*;$", f"    listen 127.0.0.1:{port};", site)
    assert (servers, listens) == (1, 1)
    return site


class Balancer:
    """An nginx in a folder of its own. Skips the test where there is none."""

    def __init__(self, folder: Path, nodes: Sequence[int]) -> None:
        """`nodes` are ports of this machine."""
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            missing("nginx is not installed (on Debian: apt-get install nginx-light)")
        folder.mkdir()
        self.folder = folder
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.set_inheritable(True)
        self.port: int = self._listener.getsockname()[1]
        self._write(nodes)
        # It takes over a socket that listens already, so nobody has to wait for it.
        inherited = self._listener.fileno()
        self._process = subprocess.Popen(
            [program, "-e", str(folder / "error.log"), "-c", str(self._config)],
            env={"NGINX": f"{inherited};"},
            pass_fds=(inherited,),
            stdin=subprocess.DEVNULL,
        )

    def close(self) -> str:
        """End it; return its log."""
        self._process.terminate()
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.close()
        log = self.folder / "error.log"
        return log.read_text() if log.exists() else ""

    @property
    def _config(self) -> Path:
        return self.folder / "nginx.conf"

    def _write(self, nodes: Sequence[int]) -> None:
        user = "user root;" if os.geteuid() == 0 else ""
        site = site_for(self.port, nodes)
        self._config.write_text(_CONFIG.format(user=user, folder=self.folder, site=site))
