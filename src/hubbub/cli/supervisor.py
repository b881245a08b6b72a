"""Runs programs of Hubbub as child processes: start, readiness, restart, end. It serves nothing.

The listening socket of a single child belongs to the supervisor, so one that is started again keeps
its port and clients that come meanwhile wait instead of being refused.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from hubbub.cli.child import REST, RESTART, RESTS, say_stopping
from hubbub.cli.words import Words
from hubbub.errors import ConfigError, HubbubError

__all__ = ["STOP_TIMEOUT", "Child", "Supervised", "Supervisor"]

_READY_TIMEOUT: Final = 60.0  # seconds; an app may import much
# Seconds from asking a child to stop to killing it: it lets clients go one after another, answers
# what it has begun, and tells the app who has left.
STOP_TIMEOUT: Final = 30.0
# A child that dies this soon after it was ready will do so again.
_TOO_SOON: Final = 5.0  # seconds
_MAX_QUICK_DEATHS: Final = 3


class Child:
    """One child process, which serves on an inherited socket."""

    def __init__(
        self, name: str, arguments: Sequence[str], listener: socket.socket, env: Mapping[str, str]
    ) -> None:
        """`arguments` follow `python -m hubbub`; `env` is added to this process's environment."""
        self.name = name
        self.facts: dict[str, Any] = {}
        self.quick_deaths = 0
        self._arguments = [*arguments, "--fd", str(listener.fileno())]
        self._listener = listener
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._words: Words | None = None  # what the process tells
        self._ready_at: float | None = None  # None: it is not

    def __repr__(self) -> str:
        return f"Child({self.name!r}, pid={self._process.pid if self._process else None})"

    def start(self) -> None:
        """Start the process. `wait_until_ready` comes next. Raises `HubbubError`."""
        self._ready_at = None
        try:
            self._start()
        except OSError as error:  # no memory, or too many processes or open files
            raise HubbubError(
                f"The {self.name} cannot be started: {error.strerror or error}."
            ) from error

    def _start(self) -> None:
        read_end, write_end = os.pipe()
        words = Words(read_end)
        try:
            self._process = subprocess.Popen(  # noqa: S603  its own program, its own options
                [sys.executable, "-m", "hubbub", *self._arguments, "--ready-fd", str(write_end)],
                # What an app prints is seen when it is printed.
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._env},
                pass_fds=(self._listener.fileno(), write_end),
                # Its end tells the child that this process is gone, however that happened.
                stdin=subprocess.PIPE,
                # Ctrl-C is for the supervisor, which then stops its children in order.
                start_new_session=True,
            )
        except BaseException:
            words.close()
            raise
        finally:
            os.close(write_end)
        self._words = words

    def wait_until_ready(self) -> None:
        """Wait for the child's word. Raises `ConfigError` with what it says is wrong."""
        assert self._words is not None
        facts = self._words.next(_READY_TIMEOUT)
        if facts is None:
            raise HubbubError(f"The {self.name} is not ready after {_READY_TIMEOUT:.0f} seconds.")
        if not facts:
            raise HubbubError(f"The {self.name} ended before it was ready; its output says why.")
        self.facts = facts
        if "error" in self.facts:
            raise ConfigError(self.facts["error"])
        self._ready_at = time.monotonic()

    def ask_to_rest(self) -> None:
        """Let the process begin nothing more by itself; it still answers what others tell it."""
        if self._ready_at is not None:
            assert self._process is not None
            assert self._process.stdin is not None
            with suppress(OSError):  # it has ended meanwhile
                os.write(self._process.stdin.fileno(), REST)

    def wait_for_rest(self, deadline: float) -> None:
        """Wait until it has finished what it had begun, or the monotonic time `deadline`."""
        while word := self._next_word(max(0.0, deadline - time.monotonic())):
            if RESTS in word:
                return

    def wants_restart(self) -> bool:
        """Whether it has asked to be started again since the last look, with all of its kind."""
        is_wanted = False
        while word := self._next_word(0.0):
            is_wanted = is_wanted or RESTART in word
        return is_wanted

    def _next_word(self, seconds: float) -> dict[str, Any] | None:
        """What a process that is ready tells; nothing where it has ended."""
        return None if self._ready_at is None or not self._words else self._words.next(seconds)

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is not None and self._process.poll() is not None

    def refresh(self) -> None:
        """Start the process again if it has ended by itself."""
        if self.has_ended():
            self.restart()

    def restart(self) -> None:
        """Start again after the process ended by itself; give up on one that keeps ending."""
        quick = self._ready_at is not None and time.monotonic() - self._ready_at < _TOO_SOON
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        if self.quick_deaths >= _MAX_QUICK_DEATHS:
            assert self._process is not None
            status = _describe(self._process.returncode)
            raise HubbubError(f"The {self.name} keeps ending ({status}); its output says why.")
        self.start_again()

    def start_again(self) -> None:
        """Start again, however often the process has ended. Raises `HubbubError`."""
        print(f"hubbub: {self.describe_end()} and is started again", file=sys.stderr)
        self._release()
        self.start()
        self.wait_until_ready()

    def describe_end(self) -> str:
        """How the process has ended."""
        assert self._process is not None
        return f"the {self.name} ended ({_describe(self._process.returncode)})"

    def ask_to_stop(self) -> None:
        """Send SIGTERM: the process finishes what it is doing and ends."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, deadline: float) -> None:
        """Wait for the end until the monotonic time `deadline`, then kill."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._release()

    def close(self) -> None:
        """Give up the listening socket: whoever waits there is refused, and not kept waiting."""
        self._listener.close()

    def kill(self) -> None:
        """End the process at once. `stop` comes next. It waits for nothing, so handlers may."""
        if self._process is not None:
            self._process.kill()

    def _release(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._ready_at = None  # nobody may talk to it any more
        self._process.stdin.close()
        if self._words is not None:
            self._words.close()


class Supervised(Protocol):
    """What the supervisor keeps running: a `Child`, or several that are one for it."""

    def start(self) -> None:
        """Start it."""

    def wait_until_ready(self) -> None:
        """Wait for its word, or raise what is wrong."""

    def refresh(self) -> None:
        """Look whether something has ended, and start it again."""

    def ask_to_stop(self) -> None:
        """Tell it to end."""

    def stop(self, deadline: float) -> None:
        """Wait for its end until the monotonic time `deadline`, then kill it."""

    def close(self) -> None:
        """Let nobody wait for it any more, after its end."""

    def kill(self) -> None:
        """End it at once, without waiting."""


class _Interrupted(Exception):
    """A signal said stop while something waited for children, such as for their start."""


class Supervisor:
    """Keeps children running until a signal says stop. Use it as a context manager.

    They end in their order, each when those before it have ended: the service first, which has the
    app to tell who has left, and then the function host.
    """

    def __init__(
        self,
        children: Sequence[Supervised],
        on_hangup: Callable[[], None] | None = None,
        before_stop: Callable[[], None] | None = None,
    ) -> None:
        """`on_hangup` is called, before children are looked at, when SIGHUP has come.

        `before_stop` is called before the first of them is asked to end.
        """
        self._children = children
        self._before_stop = before_stop
        self._on_hangup = on_hangup
        self._hangups = 0
        self._handled = [signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]
        self._handled += [signal.SIGHUP] if on_hangup is not None else []
        self._signals = 0
        self._first_signal = 0
        self._is_waiting = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def __enter__(self) -> "Supervisor":
        for number in self._handled:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        say_stopping(self._first_signal)
        if self._before_stop is not None:
            self._before_stop()
        for child in self._children:
            child.ask_to_stop()
            child.stop(time.monotonic() + STOP_TIMEOUT)
            child.close()
        signal.set_wakeup_fd(-1)
        for number in self._handled:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def start(self) -> bool:
        """Start all children side by side; return whether they are ready, and not told to stop."""
        for child in self._children:
            child.start()
        return self._for_each(lambda child: child.wait_until_ready())

    def run(self) -> None:
        """Return when SIGINT or SIGTERM came; start again what ends by itself until then."""
        while self._for_each(lambda child: child.refresh()):
            # A signal writes its number here, also one that came since the look at the children.
            os.read(self._wake_read, 512)
            if self._hangups and self._on_hangup is not None:
                self._hangups = 0
                self._on_hangup()

    def _for_each(self, action: Callable[[Supervised], None]) -> bool:
        """Do what may wait for children; false where a signal said stop before all was done."""
        try:
            self._is_waiting = True
            if self._signals:
                return False
            for child in self._children:
                action(child)
            self._is_waiting = False
        except _Interrupted:
            return False
        finally:
            self._is_waiting = False
        return not self._signals

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGCHLD:
            return
        if number == signal.SIGHUP:
            self._hangups += 1
            return
        self._signals += 1
        self._first_signal = self._first_signal or number
        if self._signals > 1:  # which means now
            for child in self._children:
                child.kill()
        elif self._is_waiting:
            raise _Interrupted


def _describe(returncode: int) -> str:
    if returncode < 0:
        return f"signal {signal.Signals(-returncode).name}"
    return f"status {returncode}"
