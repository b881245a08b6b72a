"""The programs in C: compiled when they are needed, into a folder that goes when the run ends."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.process import BenchmarkError

__all__ = ["MissingCompilerError", "Programs", "compiled"]

_SOURCES: Final = Path(__file__).parent / "native"
_LOAD: Final = ("load.c", "opening.c", "script.c", "calls.c", "histogram.c")


class MissingCompilerError(BenchmarkError):
    """There is no C compiler, so nothing can be measured here."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the compiled programs are. The head of each source says what it does."""

    load: Path
    requests: Path
    sender: Path


@contextlib.contextmanager
def compiled() -> Iterator[Programs]:
    """Compile all programs. Raises `MissingCompilerError` where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise MissingCompilerError(
            "The load client is C and there is no C compiler: install gcc or clang."
        )
    with tempfile.TemporaryDirectory(prefix="hubbub-bench-") as name:
        folder = Path(name)
        yield Programs(
            load=_compile(compiler, folder / "load", *_LOAD),
            requests=_compile(compiler, folder / "requests", "requests.c"),
            sender=_compile(compiler, folder / "sender", "sender.c"),
        )


def _compile(compiler: str, program: Path, *sources: str) -> Path:
    files = [str(_SOURCES / source) for source in sources]
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-o", str(program), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"{compiler} failed on {', '.join(sources)}:\n{done.stderr}")
    return program
