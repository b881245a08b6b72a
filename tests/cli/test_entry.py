"""What is missing is said in one sentence, whichever part of the package is not installed."""

import subprocess
import sys

import pytest
from tests.e2e.running import clean_environment

# A finder in front of all others, for which a package is not there.
WITHOUT = """
import sys


class Without:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r} or name.startswith({missing!r} + "."):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Without())
sys.argv = ["hubbub", *{arguments!r}]

from hubbub.cli.entry import main

main()
"""


def run_without(missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing, arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
        check=False,
    )


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("click", "--help"),
        ("uvloop", "service"),
        ("uvicorn", "service"),
        ("websockets", "service"),
        ("segno", "qr"),
    ],
)
def test_a_package_of_an_extra_that_is_not_installed_is_one_sentence(
    missing: str, command: str
) -> None:
    ended = run_without(missing, command, *(["x"] if command == "qr" else []))

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hubbub: the package {missing}")
    assert ended.stderr.endswith("pip install 'hubbub[server]'\n")
    assert ended.stderr.count("\n") == 1


def test_only_a_service_with_a_backplane_needs_the_extra_for_it() -> None:
    ended = run_without("hiredis", "keys", "rotate", "primary", "--backplane", "redis://localhost")

    assert ended.returncode == 2
    assert ended.stderr.endswith("pip install 'hubbub[redis]'\n")
    assert run_without("hiredis", "keys", "new").returncode == 0


def test_a_module_of_our_own_that_is_missing_is_a_defect_and_shows_itself() -> None:
    ended = run_without("hubbub.cli.main", "--help")

    assert "Traceback" in ended.stderr
