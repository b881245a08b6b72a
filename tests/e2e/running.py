"""A `hubbub start` in processes of its own, and what its ready line said. Holds no fixtures."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

START_SECONDS = 60  # for a machine that is busy with something else; a ready line takes about one
STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Hubbub:
    """A running `hubbub start`, and what its ready line said."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]

    @property
    def service_url(self) -> str:
        return str(self.facts["service"]["url"])

    @property
    def service_origin(self) -> str:
        """The address of the service that pages are given: the one in the connection string."""
        parts = dict(
            part.split("=", 1)
            for part in self.facts["service"]["connectionString"].split(";")
            if part
        )
        return f"{parts['Endpoint']}:{parts['Port']}"

    @property
    def host_url(self) -> str:
        return str(self.facts["host"]["url"])

    def url(self, function: str) -> str:
        """Return the address of a function."""
        urls = {found["name"]: found["url"] for found in self.facts["host"]["functions"]}
        return str(urls[function])

    @property
    def port_options(self) -> tuple[str, ...]:
        """The options that start another one on the same ports."""
        host, service = urlsplit(self.host_url).port, urlsplit(self.service_url).port
        return ("--port", str(host), "--service-port", str(service))

    def stop(self) -> int:
        """Ask it to stop, as a terminal or a service manager does, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


Start = Callable[..., Hubbub]  # start(app folder, *options)


def launch(app: Path, *options: str, log: Path) -> tuple[subprocess.Popen[str], str]:
    """Run `hubbub start` with its log in a file; return the process and its first line."""
    command = [sys.executable, "-m", "hubbub", "start", str(app), *options, "--json"]
    with log.open("a") as stderr:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    return process, first_line(process)


def clean_environment() -> dict[str, str]:
    """Return this environment without what would change how an app or Hubbub is configured."""
    prefixes = ("azure", "hubbub", "functions_")
    return {k: v for k, v in os.environ.items() if not k.lower().startswith(prefixes)}


def first_line(process: subprocess.Popen[str]) -> str:
    """Return the first line a process prints, or nothing if it ends or is too slow."""
    assert process.stdout is not None
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()


def end(process: subprocess.Popen[str]) -> None:
    """Stop a process, with force if asking does not help."""
    try:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        assert process.stdout is not None
        process.stdout.close()


def missing(what: str) -> NoReturn:
    """Skip the test for want of something, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}: CI must have it")
    pytest.skip(what)
