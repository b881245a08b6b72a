"""Real Redis servers for tests: on free ports, in folders of their own, ended by process id."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest

PROGRAM = shutil.which("redis-server")
TIMEOUT = 20.0  # seconds; generous, for machines that do much else


def need_redis() -> None:
    """Skip the test where there is no redis-server; in CI that is a failure."""
    if PROGRAM is None:
        reason = "redis-server is not installed (on Debian: apt-get install redis-server)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """A redis-server on one port, which stays its own over restarts."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it accepts connections."""
        for _ in range(5):
            if self._tried_to_start():
                return
            if self._reader is None:  # somebody was faster; once in use, the port stays
                self.port = free_port()
        raise AssertionError(f"redis-server does not start on port {self.port}")

    def _tried_to_start(self) -> bool:
        assert PROGRAM is not None
        command = [PROGRAM, *self._options, "--port", str(self.port), "--bind", "127.0.0.1"]
        if "--sentinel" not in self._options:
            command += ["--dir", str(self.folder), "--save", ""]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            if "Ready to accept connections" in line or "+monitor master" in line:
                # What else it says is read on, so that its pipe never fills.
                self._reader = threading.Thread(target=stdout.read, daemon=True)
                self._reader.start()
                return True
        self._process.wait()
        stdout.close()
        return False

    def kill(self) -> None:
        """End it without any notice."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(TIMEOUT)
        assert self._reader is not None
        self._reader.join(TIMEOUT)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def pause(self) -> None:
        """Let it hang, with all its connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: Any) -> Any:
        """What Redis answers; a `hiredis.ReplyError` is raised."""
        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as connection:
            connection.sendall(hiredis.pack_command(command))
            while (answer := reader.gets()) is False:
                data = connection.recv(65_536)
                assert data, "Redis has closed the connection"
                reader.feed(data)
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """One Redis for a while."""
    need_redis()
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class RedisCluster:
    """Three primaries that share the slots, and a replica of the first."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.servers = [
            RedisServer(
                folder / str(number),
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf"),
                *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
                *options,
            )
            for number in range(4)
        ]

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.servers[1].port}"

    def start(self) -> None:
        """Start all; return when they agree that all slots are served."""
        for server in self.servers:
            server.start()
        first, *others = self.servers
        bounds = [0, 5461, 10923, 16384]
        for number, server in enumerate(self.servers[:3]):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            slots = bounds[number], bounds[number + 1] - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", *slots)
        bus = first._options[first._options.index("--cluster-port") + 1]
        for server in others:
            server.ask("CLUSTER", "MEET", "127.0.0.1", first.port, bus)
        wait_until(lambda: all(self._knows_all(server) for server in self.servers))
        self.replicate(self.servers[3], first)
        wait_until(lambda: all(self._is_fine(server) for server in self.servers))

    def replicate(self, replica: RedisServer, primary: RedisServer) -> None:
        """Make one a replica of another; return when it has everything."""
        name = primary.ask("CLUSTER", "MYID")
        replica.ask("CLUSTER", "REPLICATE", name)
        wait_until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"))

    def server_of(self, slot: int) -> RedisServer:
        """Which server has a slot now."""
        for first, last, (_, port, *_), *_ in self.servers[1].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def kill(self) -> None:
        """End all."""
        for server in self.servers:
            server.kill()

    def _knows_all(self, server: RedisServer) -> bool:
        return b"cluster_known_nodes:4" in server.ask("CLUSTER", "INFO")

    def _is_fine(self, server: RedisServer) -> bool:
        return b"cluster_state:ok" in server.ask("CLUSTER", "INFO")


@contextmanager
def redis_cluster(folder: Path, *options: str) -> Iterator[RedisCluster]:
    """One Redis Cluster for a while."""
    need_redis()
    cluster = RedisCluster(folder, *options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until `condition()` holds. Redis has no way to tell it."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
