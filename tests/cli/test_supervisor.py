"""The supervisor of processes: stopping while they start, insisting, giving up, leaving nothing."""

import os
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.cli.programs import running, write_app
from tests.e2e.running import START_SECONDS, STOP_SECONDS, clean_environment

from hubbub.cli.supervisor import Supervisor

FREE = ("--port", "0", "--service-port", "0")


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A supervisor takes signals of its process, which is that of the tests here."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class FakeChild:
    """Notes what is asked of it, and does what a test wants at one of these. `Supervised`."""

    def __init__(self, at: str = "", does: Callable[[], None] = lambda: None) -> None:
        self.calls: list[str] = []
        self._at = at
        self._does = does

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self._at:
            self._does()

    def start(self) -> None:
        self._note("start")

    def wait_until_ready(self) -> None:
        self._note("wait")
        self.calls.append("ready")

    def refresh(self) -> None:
        self._note("refresh")
        self.calls.append("refreshed")

    def ask_to_stop(self) -> None:
        self._note("ask")

    def stop(self, deadline: float) -> None:
        self._note("stop")

    def close(self) -> None:
        self._note("close")

    def kill(self) -> None:
        self._note("kill")


def terminate() -> None:
    """What a service manager does to this process."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("own_signals")
def test_a_signal_while_children_start_is_not_put_off_until_they_are_ready() -> None:
    first, second = FakeChild("wait", terminate), FakeChild()
    with Supervisor([first, second]) as supervisor:
        assert not supervisor.start()
    assert first.calls == ["start", "wait", "ask", "stop", "close"]
    assert second.calls == ["start", "ask", "stop", "close"]


@pytest.mark.usefixtures("own_signals")
def test_a_signal_before_children_are_waited_for_stops_them_too() -> None:
    first, second = FakeChild("start", terminate), FakeChild()
    with Supervisor([first, second]) as supervisor:
        assert not supervisor.start()
    assert first.calls == second.calls == ["start", "ask", "stop", "close"]


@pytest.mark.usefixtures("own_signals")
def test_a_signal_while_a_child_is_started_again_is_not_put_off_either() -> None:
    child = FakeChild("refresh", terminate)
    with Supervisor([child]) as supervisor:
        assert supervisor.start()
        supervisor.run()
    assert child.calls == ["start", "wait", "ready", "refresh", "ask", "stop", "close"]


@pytest.mark.usefixtures("own_signals")
def test_a_second_signal_kills_all_and_a_third_does_no_harm() -> None:
    def insist() -> None:
        for _ in range(3):
            terminate()

    first, second = FakeChild("stop", insist), FakeChild()
    with Supervisor([first, second]) as supervisor:
        assert supervisor.start()
    assert first.calls[:6] == ["start", "wait", "ready", "ask", "stop", "kill"]
    assert second.calls.index("kill") < second.calls.index("stop")


@contextmanager
def starting(app: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `hubbub start` that is not waited for."""
    command = [sys.executable, "-m", "hubbub", "start", str(app), *FREE]
    with (app.parent / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=app.parent, env=clean_environment(), stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


SOON = 15  # seconds; a supervisor gives a child that is only asked to stop twice as many


def wait_for(descriptor: int, seconds: float) -> bool:
    """Wait until something can be read, or a process has ended."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


@contextmanager
def watching(pid: int) -> Iterator[int]:
    """A descriptor that is readable when the process has ended; it is killed at the end."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


@pytest.mark.usefixtures("own_signals")
def test_what_comes_later_is_stopped_when_what_comes_before_has_ended() -> None:
    calls: list[tuple[int, str]] = []

    class Noted(FakeChild):
        def _note(self, call: str) -> None:
            calls.append((number[self], call))

    first, second = Noted(), Noted()
    number = {first: 1, second: 2}
    with Supervisor([first, second]) as supervisor:
        assert supervisor.start()
        calls.clear()
    assert calls == [(n, call) for n in (1, 2) for call in ("ask", "stop", "close")]


class Told:
    """What an app tells its test through a named pipe, when it has come to something."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # For writing too, so that it does not end with the first who writes.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def next(self) -> str:
        """Wait for it."""
        assert wait_for(self._fd, START_SECONDS)
        return os.read(self._fd, 1000).decode()

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """The pipe that is `TEST_PIPE` in the environment of apps."""
    told = Told(tmp_path / "pipe")
    monkeypatch.setenv("TEST_PIPE", str(tmp_path / "pipe"))
    yield told
    told.close()


NEVER_READY = """
import os
import threading

with open(os.environ["TEST_PIPE"], "w") as pipe:
    pipe.write(str(os.getpid()))
threading.Event().wait()
"""


def test_a_start_that_is_told_to_stop_ends_and_leaves_no_child(tmp_path: Path, told: Told) -> None:
    app = write_app(tmp_path / "app", NEVER_READY)

    with starting(app) as process, watching(int(told.next())) as host:
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
        assert wait_for(host, SOON)

    assert "Traceback" not in (tmp_path / "log").read_text()


STUBBORN = """
import os
import signal
import threading


def tell(text):
    with open(os.environ["TEST_PIPE"], "w") as pipe:
        pipe.write(text)


signal.signal(signal.SIGTERM, lambda *_: tell("no"))
tell(str(os.getpid()))
while True:
    signal.pause()
"""


def test_a_second_signal_kills_a_child_that_does_not_listen(tmp_path: Path, told: Told) -> None:
    app = write_app(tmp_path / "app", STUBBORN)

    with starting(app) as process, watching(int(told.next())) as host:
        process.send_signal(signal.SIGTERM)
        assert told.next() == "no"  # so the first signal has been passed on
        process.send_signal(signal.SIGTERM)
        assert wait_for(host, SOON)
        assert process.wait(STOP_SECONDS) == 0

    assert "Traceback" not in (tmp_path / "log").read_text()


LEAVES_ONE_BEHIND = """
import subprocess
import sys

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
WAITS = "import threading; threading.Event().wait()"
behind = subprocess.Popen(
    [sys.executable, "-c", WAITS], close_fds=False, start_new_session=True,
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)


@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return str(behind.pid)
"""


def test_what_an_app_leaves_running_does_not_keep_its_port(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", LEAVES_ONE_BEHIND)

    with running("start", str(app), *FREE, cwd=tmp_path, log=tmp_path / "log") as (process, facts):
        address = urlsplit(facts["host"]["url"])
        with urllib.request.urlopen(facts["host"]["functions"][0]["url"], timeout=30) as response:
            behind = int(response.read())
        with watching(behind):
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_SECONDS) == 0
            os.kill(behind, 0)  # it is still there
            assert address.hostname is not None
            assert address.port is not None
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address.hostname, address.port), timeout=30)
            with socket.create_server((address.hostname, address.port)):
                pass


DYING = """
import os

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="end")
def end(req: func.HttpRequest) -> str:
    os._exit(3)
"""


def test_an_app_that_keeps_ending_is_given_up_with_one_sentence(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", DYING)
    log = tmp_path / "log"

    with running("start", str(app), *FREE, "--no-reload", cwd=tmp_path, log=log) as (
        process,
        facts,
    ):
        while process.poll() is None:
            with suppress(OSError):  # it ends while it answers
                urllib.request.urlopen(facts["host"]["functions"][0]["url"], timeout=30)
        assert process.returncode == 1

    lines = [line for line in log.read_text().splitlines() if line.startswith("hubbub: ")]
    again = "hubbub: the function host ended (status 3) and is started again"
    assert lines == [
        again,
        again,
        "hubbub: The function host keeps ending (status 3); its output says why.",
    ]
