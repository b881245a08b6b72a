"""The processes of a function host: one or several on one socket, replaced when the app changes.

The new processes are ready before the old ones are asked to end, so no request is refused; if the
new code does not load, the old code goes on.
"""

import math
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from hubbub.cli.child import HANDOVER
from hubbub.cli.supervisor import Child
from hubbub.errors import ConfigError, HubbubError
from hubbub.functions.settings import AppSettings, HostSettings, LocalSettings, read_host_settings
from hubbub.functions.sources import Sources

__all__ = ["HostChildren", "worker_count"]

_MOST_WORKERS: Final = 10  # the original's limit
_GRACE: Final = 15.0  # seconds from asking an old process to end to killing it
_REST: Final = 6.0  # seconds that they have to finish; a process itself takes five at most
_SOON: Final = 5.0  # seconds from a start that has failed to the next one, doubled each time
_LATEST: Final = 300.0  # seconds
_STEP: Final = 50  # milliseconds without a further change after which changes count as complete
_DEBOUNCE: Final = 300  # milliseconds after which they do anyway
_TURN: Final = 250  # milliseconds after which the watch comes round without a change
_BETWEEN_LOOKS: Final = 1.0  # seconds; a network drive, for one, does not tell what changes
_SELDOM: Final = 50  # times what a look takes, until the next one: they use 2 % of a core at most
_MOST_BETWEEN_LOOKS: Final = 30.0  # seconds


class HostChildren:
    """The processes that run one app; for the supervisor they are one child."""

    def __init__(
        self,
        app: Path,
        arguments: Sequence[str],
        listener: socket.socket,
        env: Mapping[str, str],
        *,
        workers: int = 1,
        reloads: bool = True,
    ) -> None:
        """`arguments` follow `python -m hubbub`. Only the first of `workers` fires timers."""
        self.name = "function host"
        self._app = app
        self._arguments = arguments
        self.listener = listener
        # Where processes that replace one another agree on who fires timers, and what is due.
        self._handover = tempfile.TemporaryDirectory(prefix="hubbub-timers-")
        self._env = {**env, HANDOVER: self._handover.name}
        self._workers = workers
        self._reloads = reloads
        self._current: list[Child] = []
        self._leaving: list[Child] = []
        self._sources = Sources(app, _host_settings(app))
        self._changed: SimpleQueue[str] = SimpleQueue()  # files, from the thread that watches
        self._is_broken = False  # it has ended and could not be started a moment ago
        self._pause = _SOON  # seconds to the next try
        self._was_ready = threading.Event()
        self._stop_watching = threading.Event()

    def __repr__(self) -> str:
        return f"HostChildren({self._current!r}, leaving={len(self._leaving)})"

    @property
    def facts(self) -> dict[str, Any]:
        """What the first process has told when it was ready."""
        return self._current[0].facts

    def start(self) -> None:
        """Start the processes and watch the app. `wait_until_ready` comes next."""
        if self._reloads:
            before = self._sources.look()
            threading.Thread(target=self._watch, args=(before,), name="watch", daemon=True).start()
        self._current = self._all()
        for child in self._current:
            child.start()

    def wait_until_ready(self) -> None:
        """Wait for all of them. Raises `ConfigError` with what is wrong."""
        for child in self._current:
            child.wait_until_ready()
        self._was_ready.set()

    def refresh(self) -> None:
        """Replace the processes if the app has changed, and start again what has ended."""
        for child in [child for child in self._leaving if child.has_ended()]:
            child.stop(0.0)
            self._leaving.remove(child)
        is_asked = [child.wants_restart() for child in self._current]  # by each, so no `any`
        if any(is_asked) or not self._changed.empty():
            self._reload()
        for child in self._current:
            if child.has_ended() and not self._is_broken:
                self._start_again(child)

    def rest(self) -> None:
        """Let the processes begin nothing by themselves any more, and finish what they have begun.

        What the app has begun may need the service, which ends before them.
        """
        self._stop_watching.set()
        children = [*self._current, *self._leaving]
        deadline = time.monotonic() + _REST
        for child in children:
            child.ask_to_rest()
        for child in children:
            child.wait_for_rest(deadline)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to all processes."""
        self._stop_watching.set()
        for child in [*self._current, *self._leaving]:
            child.ask_to_stop()

    def kill(self) -> None:
        """End all processes at once."""
        for child in [*self._current, *self._leaving]:
            child.kill()

    def stop(self, deadline: float) -> None:
        """Wait for their ends until the monotonic time `deadline`, then kill."""
        for child in [*self._current, *self._leaving]:
            child.stop(deadline)
        self._handover.cleanup()

    def close(self) -> None:
        """Give up the listening socket, which all processes shared."""
        self.listener.close()

    def _all(self) -> list[Child]:
        """One child for each of the workers, not started yet."""
        children = []
        for number in range(self._workers):
            secondary = ["--secondary"] if number else []
            arguments = [*self._arguments, *secondary]
            children.append(Child(self.name, arguments, self.listener, self._env))
        return children

    def _start_again(self, child: Child) -> None:
        """Start a process that has ended; if that fails, when the app is changed, or in a while.

        It need not be the app that is wrong: what it asks for while it is loaded may be away.
        """
        try:
            child.restart()
        except HubbubError as error:  # the service beside it, if there is one, goes on
            if not self._reloads:
                raise
            self._is_broken = True
            _say(
                "the function host cannot be started; that is tried again when its app is changed, "
                f"and in {self._pause:.0f} seconds: {error}"
            )
            again = threading.Timer(self._pause, self._try_again)
            again.daemon = True
            again.start()
            self._pause = min(2 * self._pause, _LATEST)
        else:
            self._pause = _SOON

    def _try_again(self) -> None:
        """Have the supervisor look at its children again, from a thread."""
        if not self._stop_watching.is_set():
            self._is_broken = False
            signal.raise_signal(signal.SIGCHLD)

    def _reload(self) -> None:
        began = time.monotonic()
        files = {self._changed.get() for _ in range(self._changed.qsize())}
        for file in files:
            _forget_bytecode(self._sources.root / file)
        fresh = self._all()
        try:
            for child in fresh:
                child.start()
            for child in fresh:
                child.wait_until_ready()
        except BaseException as error:  # a signal too: nobody else knows of these processes
            for child in fresh:
                child.kill()
                child.stop(0.0)
            if not isinstance(error, HubbubError):
                raise
            _say(f"the code from before goes on, because the new one cannot be loaded: {error}")
            return
        difference = _difference(self._current[0].facts, fresh[0].facts)
        old, self._current = self._current, fresh
        self._is_broken = False
        for child in old:
            child.ask_to_stop()
            # What it holds is given up by `refresh`: `rest` may talk to it at the same time.
            killer = threading.Timer(_GRACE, child.kill)
            killer.daemon = True
            killer.start()
        self._leaving += old
        milliseconds = round((time.monotonic() - began) * 1000)
        why = ", ".join(sorted(files)) or "it was asked for"
        _say(f"reloaded in {milliseconds} ms: {why}{difference}")
        for warning in self.facts["warnings"]:
            _say(f"! {warning}")

    def _watch(self, before: Mapping[str, tuple[int, int]]) -> None:
        """Note changes of the app and wake the supervisor, in a thread."""
        # The processes need all there is of the machine until they are ready.
        self._was_ready.wait()
        # Imported late: `--no-reload` does without it.
        import watchfiles

        look = _Looks(self._sources, before)
        try:
            for changes in watchfiles.watch(
                self._sources.root,
                watch_filter=lambda _, path: path in self._sources,
                stop_event=self._stop_watching,
                step=_STEP,
                debounce=_DEBOUNCE,
                rust_timeout=_TURN,
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                if changes or look.is_due():
                    # What changed before the watch began, or is not told, is seen by looking.
                    self._note({path for _, path in changes} | look.changes())
        except (OSError, RuntimeError) as error:
            _say(f"changes of the app are looked for once a second, as none are told ({error}).")
            while not self._stop_watching.wait(look.pause):
                self._note(look.changes())

    def _note(self, paths: set[str]) -> None:
        for path in paths:
            self._changed.put(os.path.relpath(path, self._sources.root))
        if paths:
            # As if a process had ended: the supervisor looks at its children again.
            signal.raise_signal(signal.SIGCHLD)


class _Looks:
    """Looks at an app's sources again and again, more seldom where that takes long."""

    def __init__(self, sources: Sources, before: Mapping[str, tuple[int, int]]) -> None:
        self.pause = _BETWEEN_LOOKS  # seconds from the last look to the next one
        self._sources = sources
        self._known = before
        self._last = -math.inf

    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self.pause

    def changes(self) -> set[str]:
        """What has changed since the last one."""
        began = time.monotonic()
        known, self._known = self._known, self._sources.look()
        self._last = time.monotonic()
        self.pause = min(max(_BETWEEN_LOOKS, _SELDOM * (self._last - began)), _MOST_BETWEEN_LOOKS)
        return {path for path, _ in known.items() ^ self._known.items()}


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The functions that were added and removed, "" where they are the same."""
    before, after = ({f["name"] for f in facts.get("functions", ())} for facts in (old, new))
    parts = (("added", after - before), ("removed", before - after))
    return "".join(f"; {word}: {', '.join(sorted(names))}" for word, names in parts if names)


def _host_settings(root: Path) -> HostSettings:
    try:
        return read_host_settings(root, os.environ)
    except ConfigError:
        return HostSettings()  # the process that loads the app says what is wrong


def _say(text: str) -> None:
    print(f"hubbub: {text}", file=sys.stderr, flush=True)


def worker_count(local: LocalSettings, environ: Mapping[str, str]) -> int:
    """FUNCTIONS_WORKER_PROCESS_COUNT of the environment, else of local.settings.json, else 1."""
    name = "FUNCTIONS_WORKER_PROCESS_COUNT"
    text = AppSettings(environ).find(name) or AppSettings(local.values).find(name) or "1"
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_WORKERS:
        raise ConfigError(
            f"The setting {name} is '{text}'; it must be a number from 1 to {_MOST_WORKERS}."
        )
    return int(text)


def _forget_bytecode(path: Path) -> None:
    """Have a changed module compiled anew: Python compares seconds and size, which may be equal."""
    if path.suffix == ".py":
        with suppress(OSError, NotImplementedError):  # there is none, or it is not kept at all
            os.unlink(cache_from_source(str(path)))
