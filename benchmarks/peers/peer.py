"""What a running peer is, and what starting one takes: free ports and installed packages."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.process import Process, SkippedError

__all__ = ["FOLDER", "Peer", "event", "free_port", "install", "node_packages", "program"]

FOLDER: Final = Path(__file__).parent
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
# The path of root alone, and where Go is unpacked to, which is on nobody's path.
_ELSEWHERE: Final = "/usr/sbin:/usr/local/sbin:/usr/local/go/bin"
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
        path = shutil.which(name) or shutil.which(name, path=_ELSEWHERE)
        if path is not None:
            return path
    raise SkippedError(f"{' or '.join(names)} is not installed (Debian: {package})")


def node_packages() -> str:
    """Install what `package.json` here has, once; return where Node is."""
    node, npm = program("node", package="nodejs"), program("npm", package="npm")
    # npm writes this file when an installation is complete.
    if not (FOLDER / "node_modules" / ".package-lock.json").is_file():
        install([npm, "ci", "--silent"], patience=120)
    return node


def install(command: Sequence[str], *, patience: int, variables: Mapping[str, str] = _NONE) -> None:
    """Run what installs something. Raises `SkippedError` if it fails or takes too many seconds."""
    name = " ".join([Path(command[0]).name, *command[1:]])
    try:
        done = subprocess.run(
            command,
            cwd=FOLDER,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SkippedError(f"{name} took more than {patience} seconds") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it did not say why"]
        raise SkippedError(f"{name} failed: {lines[-1].strip()}")


def event(payload: int) -> bytes:
    """The one argument with which a Socket.IO event has so many bytes on the wire."""
    envelope = len(f"42{json.dumps([_EVENT, ''], separators=(',', ':'))}")
    return b"x" * (payload - envelope)
