"""Which part of the package may know which, and what the pure part may not touch.

The imports are read with `ast`, never run. Each rule is also shown a source that breaks it.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "hubbub"

# A layer is a module or folder of the package: which other layers its files may import.
EVERY_LAYER = {"errors", "protocol", "client", "service", "functions", "serverless", "cli"}
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": {"errors", "protocol", "client", "serverless"},
    "__main__": {"cli"},
    "errors": set(),
    "protocol": {"errors"},
    "client": {"errors", "protocol"},
    "service": {"errors", "protocol"},
    "functions": {"errors", "protocol", "client"},
    "serverless": {"errors", "protocol", "client"},
    "cli": EVERY_LAYER,
    "testing": EVERY_LAYER,
}

# What an app installs that only talks to a service: `dependencies` of pyproject.toml, and yarl,
# whose URL is part of aiohttp's interface.
CLIENT_LIBRARIES = {"aiohttp", "msgspec", "jwt", "yarl"}
MAY_NEED: dict[str, set[str]] = {
    "__init__": CLIENT_LIBRARIES,
    "errors": set(),
    "protocol": {"msgspec", "jwt"},
    "client": CLIENT_LIBRARIES,
    "serverless": CLIENT_LIBRARIES | {"azure", "typing_extensions"},  # that for type checkers alone
}

# The protocol has no I/O, no clock, no randomness, no log and no environment: all are arguments.
IMPURE_MODULES = {
    "asyncio", "concurrent", "contextvars", "http", "io", "logging", "multiprocessing", "os",
    "pathlib", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3",
    "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input"}

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
MOST_LINES = 400

SOURCES = sorted(PACKAGE.rglob("*.py"))
PYTHON_FILES = [
    path
    for folder in ("src", "tests", "samples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of everything that a source imports, at any depth of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def layer_faults(layer: str, source: str) -> list[str]:
    """Tell which imports of a source its layer may not have."""
    allowed = MAY_IMPORT[layer] | {layer}
    faults = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        inner = rest.partition(".")[0]
        if not top:
            faults.append(f"{name}: relative imports hide which layer is meant")
        elif top == "hubbub" and inner in MAY_IMPORT and inner not in allowed:
            faults.append(f"{name}: {layer} may not know {inner}")
        elif top not in sys.stdlib_module_names | {"hubbub"} | MAY_NEED.get(layer, {top}):
            faults.append(f"{name}: {layer} must do without {top}")
    return faults


def purity_faults(source: str) -> list[str]:
    """Tell what in a source reaches outside its arguments."""
    faults = [name for name in imported(source) if name.partition(".")[0] in IMPURE_MODULES]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in IMPURE_CALLS:
                faults.append(f"{name}() in line {node.lineno}")
    return faults


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_imports_only_the_layers_below_it(path: Path) -> None:
    layer = layer_of(path)
    assert layer in MAY_IMPORT, f"{layer} is a new layer: say in MAY_IMPORT what it may know"
    assert layer_faults(layer, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if layer_of(path) == "protocol"], ids=relative
)
def test_the_protocol_is_pure(path: Path) -> None:
    assert purity_faults(path.read_text(encoding="utf-8")) == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    paths = [path.relative_to(ROOT).with_suffix("") for path in PYTHON_FILES]
    assert [str(path) for path in paths if VAGUE_NAMES & set(path.parts)] == []


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_a_file_is_short_enough_to_hold_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_opens_with_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("service", "from hubbub.functions.host import Host"),
        ("service", "from hubbub import functions"),
        ("service", "import hubbub.client.management"),
        ("functions", "import hubbub.service"),
        ("functions", "def late():\n    from hubbub.service.router import Router"),
        ("protocol", "from hubbub.client import management"),
        ("errors", "from hubbub.protocol import tokens"),
        ("serverless", "from hubbub.functions import loader"),
        ("serverless", "import starlette"),
        ("client", "from uvicorn import Config"),
        ("client", "from . import rest"),
        ("client", "from ..protocol import tokens"),
    ],
)
def test_an_import_against_the_layers_is_found(layer: str, source: str) -> None:
    assert len(layer_faults(layer, source)) == 1


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("client", "import asyncio\nimport aiohttp\nfrom hubbub.protocol import tokens"),
        ("service", "from starlette.routing import Route\nfrom hubbub.service.hub import Hub"),
        ("functions", "from hubbub.client.management import ServiceClient"),
        ("cli", "from hubbub.service import app\nfrom hubbub.functions import host"),
    ],
)
def test_an_import_along_the_layers_is_fine(layer: str, source: str) -> None:
    assert layer_faults(layer, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "from time import monotonic",
        "import os.path",
        "def roll():\n    import random",
        "from datetime import datetime, UTC\nissued = datetime.now(UTC)",
        "text = open('key').read()",
    ],
)
def test_a_protocol_that_reaches_outside_is_found(source: str) -> None:
    assert len(purity_faults(source)) == 1


def test_a_protocol_that_computes_from_its_arguments_is_fine() -> None:
    assert purity_faults("import hashlib\ndef expiry(now: int) -> int:\n    return now + 60") == []
