"""Fixtures for the function host: `load` an app from its source, and a recording `service`."""

import importlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from tests.functions.apps import HEADER, Service

from hubbub.functions.host import Host, HostOptions, load_host


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    """Forget the modules and paths of the apps that a test has loaded."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    importlib.invalidate_caches()
    for name in set(sys.modules) - modules:
        if name.startswith("azurefunctions"):  # has a registry that says what the app has imported
            del sys.modules[name]
            continue
        if not name.startswith(("azure", "hubbub", "aiohttp")) and _is_of_a_test(name):
            del sys.modules[name]


def _is_of_a_test(name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None) or ""
    return "pytest-of-" in file


@pytest.fixture
async def load(tmp_path: Path) -> AsyncIterator[Callable[..., Host]]:
    """`load(source, settings={…}, files={…})`: the host of an app whose source follows HEADER.

    `settings` are the environment, `files` further files of the app by name; a dict is JSON.
    """
    hosts: list[Host] = []

    def load_app(
        source: str,
        settings: dict[str, str] | None = None,
        files: dict[str, object] | None = None,
        header: str = HEADER,
        options: HostOptions = HostOptions(),  # noqa: B008
    ) -> Host:
        (tmp_path / "function_app.py").write_text(header + source)
        for name, content in {"host.json": {"version": "2.0"}, **(files or {})}.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        hosts.append(load_host(tmp_path, dict(settings or {}), options=options))
        return hosts[-1]

    yield load_app
    for host in hosts:
        await host.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service on a free port of this machine."""
    recorder = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    recorder.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield recorder
    await runner.cleanup()


@pytest.fixture
def stage() -> Iterator[Any]:
    """What a test shares with the functions of its app, where it is the module `stage_of_test`."""
    shared = SimpleNamespace()
    sys.modules["stage_of_test"] = shared  # type: ignore[assignment]
    yield shared
    del sys.modules["stage_of_test"]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The records of the host and of the app, from INFO on."""
    caplog.set_level(logging.INFO)
    yield caplog
    caplog.handler.filters.clear()  # the handler is that of all tests
