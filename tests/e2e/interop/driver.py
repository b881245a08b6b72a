"""Commands to a client that runs elsewhere, in a process or a page, and the events it reports.

Both are JSON documents. A command is `{"do": …, "name": …}`, an event `{"event": …, "name": …}`;
the name is that of one connection. `client.js` is the shortest complete client.
"""

import contextlib
import itertools
import json
import queue
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.e2e.interop.cells import Cell
from tests.e2e.running import clean_environment

__all__ = ["ClientProcess", "Driver", "Peer"]

PATIENCE: Final = 20.0  # seconds for what should come at once, on a machine that is busy
ROOT: Final = Path(__file__).parents[3]
Document = dict[str, Any]


class Peer:
    """One connection of a client, as its events tell."""

    def __init__(self, name: str, cell: Cell, send: Callable[[Document], None]) -> None:
        self.name = name
        self.cell = cell
        self.events: queue.Queue[Document] = queue.Queue()
        self._send = send
        self._seen: list[Document] = []

    def do(self, what: str, **facts: Any) -> None:
        """Give the client a command."""
        self._send({"do": what, "name": self.name, **facts})

    def next(self) -> Document:
        """The next event, whichever it is."""
        try:
            event = self.events.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"{self.cell} reports nothing more after {self._past}") from None
        self._seen.append(event)
        return event

    def expect(self, kind: str) -> Document:
        """The next event, which has to be of this kind."""
        event = self.next()
        assert event["event"] == kind, f"{self.cell}: {event} after {self._past}, not {kind}"
        return event

    def skip_to(self, kind: str) -> Document:
        """The next event of this kind; others before it do not count."""
        while (event := self.next())["event"] != kind:
            assert event["event"] != "ended", f"{self.cell}: {event}"
        return event

    def news(self, count: int) -> list[list[Any]]:
        """The arguments of the next invocations, with nothing in between."""
        return [self.expect("news")["arguments"] for _ in range(count)]

    @property
    def _past(self) -> str:
        return ", ".join(json.dumps(event)[:120] for event in self._seen[-6:]) or "nothing"


class Driver:
    """A client library that can hold many connections at a time."""

    def __init__(self, send: Callable[[Document], None]) -> None:
        self._send = send
        self._peers: dict[str, Peer] = {}
        self._numbers = itertools.count(1)

    def receive(self, event: Document) -> None:
        """Take an event that the client reports. Called by any thread."""
        if "name" in event:
            self._peers[event["name"]].events.put(event)
        else:
            for peer in tuple(self._peers.values()):
                peer.events.put(event)

    def open(self, cell: Cell, url: str, token: str | None, **options: Any) -> Peer:
        """Let the client connect; the first event is `opened`, or `closed` where it fails.

        `url` is that of an app which negotiates, and `token` is for a cell that does not.
        """
        name = f"{cell}-{next(self._numbers)}"
        peer = self._peers[name] = Peer(name, cell, self._send)
        peer.do(
            "open",
            url=url,
            token=token,
            transport=cell.transport,
            encoding=cell.encoding,
            stateful=cell.stateful,
            negotiates=cell.negotiates,
            **{"reconnects": False, "server_timeout": 30, "keep_alive": 15, **options},
        )
        return peer


class ClientProcess:
    """A client in a process of its own: commands by standard input, events by standard output."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        with log.open("a") as stderr:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**clean_environment(), **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
            )
        self.driver = Driver(self._write)
        self._reader = threading.Thread(target=self._read, name=f"events of {command[0]}")
        self._reader.start()

    def close(self) -> None:
        """End the client: it ends itself when there are no more commands."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(PATIENCE)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _write(self, command: Document) -> None:
        assert self._process.stdin is not None
        # A process that has ended is told of by an event.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.driver.receive(json.loads(line))
        self.driver.receive({"event": "ended", "error": "the client's process has ended"})
