"""Starts the clients of the matrix, each in a process of its own, where the machine has them."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.e2e.interop.driver import ROOT, ClientProcess

__all__ = ["AbsentError", "start_client"]

_HERE: Final = Path(__file__).parent
_JAVA: Final = _HERE / "java"
# It needs an older websockets than the rest, so it is not installed beside the rest.
_AIOSIGNALR: Final = ROOT / ".venv" / "aiosignalr"
_MAVEN_SECONDS: Final = 60  # the first time it downloads 32 MB
# What a lost connection waits for; the default of five seconds is for the internet.
_HASTE: Final = {"WEBSOCKETS_BACKOFF_INITIAL_DELAY": "0.1", "WEBSOCKETS_BACKOFF_MIN_DELAY": "0.1"}
_LOOPBACK: Final = {"NO_PROXY": "127.0.0.1,localhost"}


class AbsentError(Exception):
    """A client that this machine has not got; the text says what is missing."""


def start_client(name: str, log: Path) -> ClientProcess:
    """Start the client `name` of the matrix. Raises `AbsentError`."""
    match name:
        case "node":
            return ClientProcess(["node", str(_node_script())], log)
        case "java":
            command = ["java", "-cp", _java_classpath(), str(_JAVA / "Client.java")]
            return ClientProcess(command, log)
        case "aiosignalr":
            if not (_AIOSIGNALR / "aiosignalr").is_dir():
                raise AbsentError(
                    "aiosignalr is not installed: .venv/bin/python -m pip install "
                    "--target .venv/aiosignalr --group aiosignalr"
                )
            path = os.pathsep.join(filter(None, (str(_AIOSIGNALR), os.environ.get("PYTHONPATH"))))
            return _python(name, log, PYTHONPATH=path)
        case "signalrcore" | "pysignalr":
            if importlib.util.find_spec(name) is None:
                raise AbsentError(f"{name} is not installed: pip install --group test")
    return _python(name, log)


def _python(name: str, log: Path, **environment: str) -> ClientProcess:
    command = [sys.executable, "-m", f"tests.e2e.interop.{name}_client"]
    return ClientProcess(command, log, **_HASTE, **_LOOPBACK, **environment)


def _node_script() -> Path:
    if shutil.which("node") is None:
        raise AbsentError("Node is not installed")
    if not (ROOT / "node_modules/@microsoft/signalr-protocol-msgpack").is_dir():
        raise AbsentError("@microsoft/signalr is not in node_modules (npm ci)")
    return _HERE / "node.js"


def _java_classpath() -> str:
    """Where the Java client and what it needs are, from Maven's own store if they are there."""
    for program in ("javac", "mvn"):
        if shutil.which(program) is None:
            raise AbsentError(f"{program} is not installed")
    for offline in (("--offline",), ()):
        with tempfile.NamedTemporaryFile("r", suffix=".classpath") as output:
            command = [
                *("mvn", "--batch-mode", "--quiet", *offline, "--file", str(_JAVA)),
                "dependency:build-classpath",
                f"-Dmdep.outputFile={output.name}",
            ]
            if _succeeds(command):
                return Path(output.name).read_text()
    raise AbsentError("Maven has not got com.microsoft.signalr and does not reach its repository")


def _succeeds(command: list[str]) -> bool:
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MAVEN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0
