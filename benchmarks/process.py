"""Processes that are measured, and those that load them: start, talk by lines, CPU, memory, end.

It measures from outside, so that nothing that is measured has to know of it.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = [
    "ALL_CORES",
    "LOAD_CORES",
    "ROOT",
    "SERVER_CORES",
    "BenchmarkError",
    "Process",
    "SkippedError",
    "cpu_of",
    "most_connections",
    "python",
    "raise_file_limit",
]

ROOT: Final = Path(__file__).parents[1]
_PATIENCE: Final = 60.0  # seconds without an answer after which a run has failed
_PAUSE: Final = 0.1  # seconds over which a process is watched for being at rest
_REST: Final = 0.1  # share of a core; keep-alive of many connections takes some
_WANTED_FILES: Final = 120_000
_TRACEBACK: Final = "Traceback (most recent call last)"
_SPARE_FILES: Final = 150  # what a server has open besides its clients, and those just coming
_CORES: Final = sorted(os.sched_getaffinity(0))
ALL_CORES: Final = frozenset(_CORES)
# Servers have a core of their own where there is one, so that what loads them never displaces them.
SERVER_CORES: Final = frozenset(_CORES[:1])
LOAD_CORES: Final = frozenset(_CORES[1:] or _CORES)


class BenchmarkError(Exception):
    """A benchmark that could not be run to its end. The message says why."""


class SkippedError(BenchmarkError):
    """A benchmark that has nothing to run here. The message says why."""


def raise_file_limit() -> None:
    """Let this process and its children open as many sockets as the machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, _WANTED_FILES), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (ValueError, OSError):
            continue  # only root raises the hard limit
        return


def most_connections(wanted: int) -> int:
    """So many, or as many as one process here may hold."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - _SPARE_FILES)


class Process:
    """A child process that reads commands and writes answers, a line each. A context manager."""

    def __init__(
        self,
        command: Sequence[str | Path],
        cores: frozenset[int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command`, in the root of the checkout, on `cores` only."""
        self.name = Path(command[0]).name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        with _on(cores):
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                process_group=0,
            )
        self._heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it has not ended itself
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._errors.close()

    def __repr__(self) -> str:
        return f"Process({self.name}, pid={self._process.pid})"

    def ask(self, line: str, answer: str) -> list[str]:
        """Send a line and return the words of the answer, which begins with the word `answer`."""
        self.say(line)
        return self.hear_word(answer)

    def say(self, line: str) -> None:
        """Send a line."""
        try:
            os.write(self._input, f"{line}\n".encode())
        except BrokenPipeError:
            raise self._ended() from None

    def hear_word(self, answer: str) -> list[str]:
        """The words of the next line after its first, which is `answer`."""
        word, *words = self.hear().split()
        if word != answer:
            raise BenchmarkError(f"{self.name} was to answer {answer!r} and said {word!r}.")
        return words

    def hear(self) -> str:
        """The next line. Raises `BenchmarkError` if there is none in time."""
        output = self._output
        while b"\n" not in self._heard:
            readable, _, _ = select.select([output], [], [], _PATIENCE)
            if not readable:
                raise BenchmarkError(f"{self.name} has said nothing for {_PATIENCE:.0f} seconds.")
            data = os.read(output, 65536)
            if not data:
                raise self._ended()
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def wait_for_port(self, port: int) -> None:
        """Wait until somebody listens there, for programs that do not say when they do."""
        for _ in range(int(_PATIENCE / _PAUSE)):
            if self._process.poll() is not None:
                raise self._ended()
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                time.sleep(_PAUSE)
            else:
                return
        raise BenchmarkError(f"{self.name} does not listen on port {port}.")

    @property
    def family(self) -> list[int]:
        """The ids of the process and all below it, itself first."""
        family = [self._process.pid]
        for pid in family:
            family += _children(pid)
        return family

    def cpu(self) -> int:
        """Nanoseconds of CPU that the process and all below it have used, user and system."""
        return sum(map(cpu_of, self.family))

    def memory(self) -> int:
        """Resident bytes of the process and all below it."""
        return sum(map(_memory_of, self.family))

    def settle(self) -> None:
        """Wait until the process has nothing to do: what was asked of it has been done."""
        for _ in range(int(_PATIENCE / _PAUSE)):
            before = self.cpu()
            time.sleep(_PAUSE)
            if self.cpu() - before < _REST * _PAUSE * 1e9:
                return
        raise BenchmarkError(f"{self.name} does not come to rest.")

    @property
    def _input(self) -> int:
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    @property
    def _output(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _ended(self) -> BenchmarkError:
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        if _TRACEBACK in said:  # its last line says what was wrong
            said = said.splitlines()[-1]
        last = " ".join(said[-2000:].split())
        return BenchmarkError(f"{self.name} ended: {last or self._process.returncode}")


def cpu_of(pid: int) -> int:
    """Nanoseconds of CPU that all threads of one process have used; 0 if it is gone."""
    try:
        # The clock id of another process is made as in Linux's posix-timers_types.h.
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return 0


def _memory_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError("smaps_rollup has no line Rss.")


def _children(pid: int) -> list[int]:
    try:
        lists = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []  # it has just ended
    return [int(child) for text in lists for child in text.split()]


@contextlib.contextmanager
def _on(cores: frozenset[int]) -> Iterator[None]:
    """What this thread starts meanwhile runs on `cores` only, with every thread it will have."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def python(*arguments: str) -> list[str]:
    """The command that runs this interpreter."""
    return [sys.executable, *arguments]
