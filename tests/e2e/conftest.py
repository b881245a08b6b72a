"""Fixtures that run `hubbub start` as a user would, and drive a real browser.

What a machine lacks is a reason to skip here, and in CI (CI=true) a failure.
"""

import functools
import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from tests.e2e.running import Hubbub, Start, end, launch, missing

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start apps with `start(folder, *options)`; each is stopped at the end of the test."""
    running = []
    log = tmp_path / "hubbub.log"

    def start_app(app: Path, *options: str) -> Hubbub:
        process, line = launch(app, *options or ("--port", "0", "--service-port", "0"), log=log)
        running.append(process)
        assert line, f"hubbub start ended without a ready line. Its log:\n{log.read_text()}"
        return Hubbub(process, json.loads(line))

    yield start_app
    for process in running:
        end(process)
    print(log.read_text() if log.exists() else "")  # pytest shows it where a test failed


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Playwright's loop runs as long: no asyncio test in the same module."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing("Chromium is not installed")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *root])
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile; a script error in any of its pages fails the test."""
    context = browser.new_context()
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda message: print(f"console: {message.text}"))
    yield context
    context.close()
    assert errors == []


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


@pytest.fixture
def other_origin(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server with its own origin: its address and the folder that it serves."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()
