"""Runs commands of Hubbub in processes of their own, as a user would. Holds no fixtures."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.running import clean_environment, end, first_line

HELLO_APP = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="hello")
def hello(req: func.HttpRequest) -> str:
    return "hello"
"""


def write_app(folder: Path, code: str = HELLO_APP) -> Path:
    """A function app with `code` in a new folder."""
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0"}')
    (folder / "function_app.py").write_text(code)
    return folder


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "hubbub", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env=clean_environment(),
        check=False,
    )


@contextmanager
def running(
    *arguments: str, cwd: Path, log: Path
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A command that serves until the block ends: its process and what its ready line said."""
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "hubbub", *arguments, "--json"],
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        line = first_line(process)
        assert line, log.read_text()
        yield process, json.loads(line)
    finally:
        end(process)


def node_at(page: str) -> str:
    """The id of the node whose page of metrics that is, when there is one."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(page, timeout=30) as answer:
                found = re.search(r'hubbub_info{node="(\w+)"', answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            assert found is not None
            return found[1]
