"""Several processes of the service on one port, which are one child for the supervisor."""

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from hubbub.cli.network import bind, listen, listen_beside
from hubbub.cli.supervisor import STOP_TIMEOUT, Child
from hubbub.errors import HubbubError

__all__ = ["Workers", "listen_for"]

# Seconds before a process that keeps ending is started again: the first time none, then doubled.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_STABLE: Final = 10.0  # seconds after which an end is the first one again


def listen_for(count: int, address: str, port: int, *, option: str) -> socket.socket:
    """What `count` processes serve on: a listening socket for one, a port that is kept for many.

    Each of many gets a socket of its own, and the system deals connections out among them; only
    Linux does so (SO_REUSEPORT), and elsewhere they share one socket.
    """
    listener = listen(address, port, option=option)
    if count == 1 or sys.platform != "linux":
        return listener
    # Not shared at first: another program on the port is an error, not a partner.
    with listener:
        chosen = listener.getsockname()[1]
    return bind(address, chosen, option=option)


class Workers:
    """The processes. One that ends is started again, after a pause that grows while it does so."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        listener: socket.socket,
        env: Mapping[str, str],
        count: int,
        own: Callable[[int], Sequence[str]] = lambda index: (),
    ) -> None:
        """`listener` is that of `listen_for`, and stays open here until `close`.

        `own` are arguments of one process, which are counted from 0.
        """

        def worker(number: int) -> "_Worker":
            place = _Place(listener)
            mine = [*arguments, *own(number - 1)]
            new = partial(Child, f"{name} {number}", mine, place.listener, env)
            return _Worker(new, place)

        self._listener = listener
        self._children = [worker(number) for number in range(1, count + 1)]
        self._stale: list[_Worker] = []  # those that are to be replaced still
        self._leaving: list[Child] = []

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the first of them has said when it was ready."""
        return self._children[0].child.facts

    def start(self) -> None:
        """Start all."""
        for worker in self._children:
            worker.child.start()

    def wait_until_ready(self) -> None:
        """Wait until all are ready. Raises what is wrong with one."""
        for worker in self._children:
            worker.child.wait_until_ready()
            worker.begun = time.monotonic()

    def refresh(self) -> None:
        """Start again what has ended and has waited long enough; go on with `renew`."""
        for worker in self._children:
            if worker.child.has_ended():
                worker.recover()
        for child in [each for each in self._leaving if each.has_ended()]:
            child.stop(0.0)
            self._leaving.remove(child)
        while self._stale and not self._leaving:
            self._renew(self._stale.pop(0))

    def renew(self) -> None:
        """Have each process replaced by a new one, one after another, while the others serve."""
        self._stale = list(self._children)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to all. Their ends are those of their sockets too."""
        for worker in self._children:
            worker.place.close()
        for child in self._all:
            child.ask_to_stop()

    def stop(self, deadline: float) -> None:
        """Wait for their ends until the monotonic time `deadline`, then kill."""
        for child in self._all:
            child.stop(deadline)

    def close(self) -> None:
        """Let go of the port."""
        self._listener.close()

    def kill(self) -> None:
        """End all at once."""
        for child in self._all:
            child.kill()

    @property
    def _all(self) -> list[Child]:
        return [*(worker.child for worker in self._children), *self._leaving]

    def _renew(self, worker: "_Worker") -> None:
        try:
            old = worker.replace()
        except HubbubError as error:
            self._stale.clear()
            print(f"hubbub: the processes from before go on: {error}", file=sys.stderr)
            return
        print(f"hubbub: the {old.name} is replaced", file=sys.stderr)
        self._leaving.append(old)
        old.ask_to_stop()
        killer = threading.Timer(STOP_TIMEOUT, old.kill)
        killer.daemon = True
        killer.start()


class _Place:
    """Where one process serves, and the next one in its place.

    The socket stays open while they change: nobody who is on the way to it is refused, as whoever
    was dealt to a socket that closes would be.
    """

    def __init__(self, listener: socket.socket) -> None:
        """`listener` is that of `listen_for`."""
        is_shared = bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        self.listener = listener if is_shared else listen_beside(listener)
        self._is_shared = is_shared

    def leave(self) -> None:
        """Have clients go to the other processes until one in this place listens again."""
        if not self._is_shared:
            # It does not listen where its process had been drained.
            with suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave the socket to the process."""
        if not self._is_shared:
            self.listener.close()


class _Worker:
    """One process, and when it may be started again."""

    def __init__(self, new: Callable[[], Child], place: _Place) -> None:
        self._new = new
        self.place = place
        self.child = new()
        self.begun = 0.0
        self._due: float | None = None
        self._pause = 0.0

    def replace(self) -> Child:
        """Put a new process in its place; return the old one, which serves still.

        Raises `HubbubError` where the new one does not start, and nothing has changed.
        """
        fresh = self._new()
        fresh.start()
        try:
            fresh.wait_until_ready()
        except BaseException:
            fresh.stop(0.0)
            raise
        old, self.child = self.child, fresh
        self.begun, self._due = time.monotonic(), None
        return old

    def recover(self) -> None:
        """Start the process again if that is due; see to it that it is looked at when it is."""
        now = time.monotonic()
        if self._due is None:
            self.place.leave()
            self._pause = 0.0 if now - self.begun > _STABLE else self._next_pause()
            self._due = now + self._pause
            if self._pause:
                text = f"{self.child.describe_end()}; it is started again in {self._pause:.0f} s"
                print(f"hubbub: {text}", file=sys.stderr)
        if now < self._due:
            timer = threading.Timer(self._due - now, signal.raise_signal, (signal.SIGCHLD,))
            timer.daemon = True
            timer.start()
            return
        self._due = None
        self.begun = now
        try:
            self.child.start_again()
        except HubbubError as error:  # the other processes go on
            print(f"hubbub: {error}", file=sys.stderr)

    def _next_pause(self) -> float:
        return min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE) if self.begun else 0.0
