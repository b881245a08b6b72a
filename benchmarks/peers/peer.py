"""What a running peer is, and what starting one takes: free ports and installed packages."""

import json
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.process import Process, SkippedError

__all__ = ["FOLDER", "Peer", "event", "free_port", "node_packages", "program"]

FOLDER: Final = Path(__file__).parent
_PATIENCE: Final = 120  # seconds for an installation
_EVENT: Final = "newMessage"


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server, how its clients open, and the request that sends to all of them."""

    process: Process
    port: int
    script: tuple[str, ...]  # as in native/script.c
    publish_port: int
    request: bytes
    payload: int  # bytes of the WebSocket frame that arrives, without its head


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot tell which they took."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def program(*names: str, package: str) -> str:
    """Where the first of these programs is. Raises `SkippedError` if none is installed."""
    for name in names:
        # /usr/sbin is on the path of root alone.
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if path is not None:
            return path
    raise SkippedError(f"{' or '.join(names)} is not installed (Debian: {package})")


def node_packages() -> str:
    """Install what `package.json` here has, once; return where Node is."""
    node, npm = program("node", package="nodejs"), program("npm", package="npm")
    # npm writes this file when an installation is complete.
    if not (FOLDER / "node_modules" / ".package-lock.json").is_file():
        try:
            done = subprocess.run(
                [npm, "ci", "--silent"],
                cwd=FOLDER,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SkippedError(f"npm ci took more than {_PATIENCE} seconds") from None
        if done.returncode:
            raise SkippedError(f"npm ci failed: {done.stderr.strip()[-300:]}")
    return node


def event(payload: int) -> bytes:
    """The one argument with which a Socket.IO event has so many bytes on the wire."""
    envelope = len(f"42{json.dumps([_EVENT, ''], separators=(',', ':'))}")
    return b"x" * (payload - envelope)
