"""What type checkers say of hubs: the samples are right, and a misspelt client method is found."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.running import missing

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path for path in (ROOT / "samples").iterdir() if (path / "host.json").is_file())
TYPED = ROOT / "samples/chat/function_app.py"

Checker = Callable[..., subprocess.CompletedProcess[str]]


def mypy(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Check files strictly with mypy."""
    # Without the exclusions of pyproject.toml, but where the package and the tests are found.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    options = ["--explicit-package-bases", "--cache-dir=.mypy_cache/samples"]
    return run([*command, *options, *map(str, paths)])


def pyright(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Check files with pyright."""
    if shutil.which("node") is None:
        missing("Node is not installed, which pyright runs on")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--level", "error"]
    return run([*command, *map(str, paths)])


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


CHECKERS = pytest.mark.parametrize("check", [mypy, pyright])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_every_sample_passes_the_strict_checks(sample: Path) -> None:
    done = mypy(*sorted(sample.glob("*.py")))

    assert (done.returncode, done.stdout) == (0, "")


@CHECKERS
def test_the_typed_sample_is_right(check: Checker) -> None:
    done = check(TYPED)

    assert done.returncode == 0, done.stdout


# What is written in the sample, what is written instead, and a word of the complaint.
MISTAKES = [
    (".all.new_message(", ".all.new_mesage(", "new_mesage"),
    (".all.gone(self.context.connection_id)", ".all.gone(1)", "gone"),
    (".all.gone(self.context.connection_id)", ".all.gone()", "connection_id"),
    ("await self.clients.all.gone(", "self.clients.all.gone(", "await"),
    ("await self.groups.add(connection_id, group)", "await self.groups.add(group)", "group"),
    ("self.context.connection_id", "self.context.conection_id", "conection_id"),
]


@CHECKERS
def test_mistakes_in_the_typed_sample_are_found(check: Checker, tmp_path: Path) -> None:
    source = TYPED.read_text(encoding="utf-8")
    paths = []
    for number, (right, wrong, _) in enumerate(MISTAKES):
        assert right in source
        paths.append(tmp_path / f"mistake{number}.py")
        paths[-1].write_text(source.replace(right, wrong, 1), encoding="utf-8")

    done = check(*paths)

    assert done.returncode == 1
    for path, (_, wrong, complaint) in zip(paths, MISTAKES, strict=True):
        said = [line for line in done.stdout.splitlines() if path.name in line]
        assert any(complaint in line for line in said), f"{wrong} is not found: {said}"


UNTYPED = """
from hubbub import ServerlessHub


class Chat(ServerlessHub):
    async def broadcast(self, text: str) -> None:
        await self.clients.all.send("newMessage", text)
"""


@CHECKERS
def test_a_hub_without_typed_clients_needs_no_brackets(check: Checker, tmp_path: Path) -> None:
    right, misspelt = tmp_path / "right.py", tmp_path / "misspelt.py"
    right.write_text(UNTYPED)
    misspelt.write_text(UNTYPED.replace(".send(", ".sendd("))

    done = check(right)

    assert done.returncode == 0, done.stdout
    assert "sendd" in check(misspelt).stdout
