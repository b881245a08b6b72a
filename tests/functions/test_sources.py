"""Which changes of files reload an app, and what it takes to see them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubbub.functions import sources
from hubbub.functions.settings import HostSettings
from hubbub.functions.sources import Sources

WATCHED = HostSettings(watched_directories=("data",), watched_files=("extra.yaml",))
FILES = [
    ("function_app.py", True),
    ("shared/deep/tools.py", True),
    ("host.json", True),
    ("local.settings.json", True),
    ("hello/function.json", True),
    ("extra.yaml", True),
    ("data/anything.bin", True),
    ("index.html", False),
    ("__pycache__/function_app.cpython-311.pyc", False),
    ("__pycache__/x.py", False),
    (".venv/lib/site.py", False),
    (".git/hooks/x.py", False),
    ("env/lib/python3.11/x.py", False),
    ("node_modules/x/y.py", False),
    ("secrets/host.txt", False),
    ("../outside.py", False),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An app's folder in which `env` is a virtual environment."""
    folder = tmp_path / "app"
    (folder / "env").mkdir(parents=True)
    (folder / "env" / "pyvenv.cfg").write_text("")
    return folder


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders that were listed."""
    names: list[str] = []
    scandir: Callable[[Any], Any] = os.scandir

    def listing(path: str) -> Any:
        names.append(os.path.basename(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listing)
    return names


@pytest.mark.parametrize(("path", "counts"), FILES)
def test_sources_count_and_what_tools_write_does_not(root: Path, path: str, counts: bool) -> None:
    assert (str((root / path).resolve()) in Sources(root, WATCHED)) is counts


def write(path: Path, text: str = "") -> str:
    """Write a file, with another time of its folder than before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.parent.stat().st_ctime_ns
    while path.parent.stat().st_ctime_ns == before:
        path.unlink(missing_ok=True)
        path.write_text(text)
    return str(path.resolve())


def test_a_look_finds_what_counts(root: Path) -> None:
    paths = [write(root / path) for path, counts in FILES if counts]
    for path, counts in FILES:
        if not counts:
            write(root / path)

    assert sorted(Sources(root, WATCHED).look()) == sorted(paths)


def test_a_later_look_lists_only_the_folders_that_have_changed(
    root: Path, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_SAME_TIME", 0)  # here, each change gives another time
    app = Sources(root, HostSettings())
    paths = [write(root / name / "file.py", "1") for name in ("one", "two")]
    first = app.look()
    assert sorted(listed) == ["app", "env", "one", "two"]
    listed.clear()

    assert app.look() == first
    assert listed == []
    (root / "one" / "file.py").write_text("other")  # which does not change its folder
    paths.append(write(root / "two" / "more.py"))
    found = app.look()
    assert listed == ["two"]
    assert sorted(found) == sorted(paths)
    assert {path for path, _ in first.items() ^ found.items()} == {paths[0], paths[2]}


def test_a_folder_that_has_changed_a_moment_ago_is_listed_again(
    root: Path, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_SAME_TIME", 10**18)  # so that any time is a moment ago
    app = Sources(root, HostSettings())
    app.look()
    app.look()

    assert sorted(listed) == ["app", "app", "env", "env"]


def test_a_folder_that_has_gone_is_no_error(root: Path) -> None:
    app = Sources(root, WATCHED)  # whose watched folder is not there either
    path = write(root / "one" / "file.py")
    assert list(app.look()) == [path]
    (root / "one" / "file.py").unlink()
    (root / "one").rmdir()

    assert app.look() == {}
