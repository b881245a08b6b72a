"""Several processes of the service on one port, which are one child for the supervisor."""

import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubbub.cli.network import listen
from hubbub.cli.supervisor import Child
from hubbub.errors import HubbubError

__all__ = ["Workers", "listen_for_each"]

# Seconds before a process that keeps ending is started again: the first time none, then doubled.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_STABLE: Final = 10.0  # seconds after which an end is the first one again


def listen_for_each(address: str, port: int, count: int, *, option: str) -> list[socket.socket]:
    """A listening socket for each of `count` processes, all on one port.

    The system deals connections out among them (SO_REUSEPORT); where it cannot, they share one.
    """
    if count == 1 or not hasattr(socket, "SO_REUSEPORT"):
        return [listen(address, port, option=option)] * count
    # Without sharing at first: another program on the port is an error, not a partner.
    with listen(address, port, option=option) as probe:
        chosen = probe.getsockname()[1]
    return [listen(address, chosen, option=option, shares_port=True) for _ in range(count)]


class Workers:
    """The processes. One that ends is started again, after a pause that grows while it does so."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        listeners: Sequence[socket.socket],
        env: Mapping[str, str],
    ) -> None:
        """Each process gets one of `listeners`, which stay open here until `close`."""
        self._children = [
            _Worker(Child(f"{name} {number}", arguments, listener, env))
            for number, listener in enumerate(listeners, 1)
        ]

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
        """Start again what has ended and has waited long enough."""
        for worker in self._children:
            if worker.child.has_ended():
                worker.recover()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to all."""
        for worker in self._children:
            worker.child.ask_to_stop()

    def stop(self, deadline: float) -> None:
        """Wait for their ends until the monotonic time `deadline`, then kill."""
        for worker in self._children:
            worker.child.stop(deadline)

    def close(self) -> None:
        """Let go of the sockets."""
        for worker in self._children:
            worker.child.close()

    def kill(self) -> None:
        """End all at once."""
        for worker in self._children:
            worker.child.kill()


class _Worker:
    """One process, and when it may be started again."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.begun = 0.0
        self._due: float | None = None
        self._pause = 0.0

    def recover(self) -> None:
        """Start the process again if that is due; see to it that it is looked at when it is."""
        now = time.monotonic()
        if self._due is None:
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
