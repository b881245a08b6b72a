"""What happens while an app is loaded again: to its timers, to new processes, and what is said."""

import errno
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cli.programs import running, write_app
from tests.cli.test_host import HEADER, VERSION, get, until
from tests.e2e.running import STOP_SECONDS

from hubbub.cli import reload
from hubbub.cli.reload import HostChildren, _Looks
from hubbub.functions.settings import HostSettings
from hubbub.functions.sources import Sources

TICKING = HEADER + (
    "\n\nfrom pathlib import Path\nFILE = Path(__file__).parent.parent / 'ticks'\n"
    '\n@app.timer_trigger(arg_name="t", schedule="* * * * * *")\n'
    "def tick(t):\n"
    "    with FILE.open('a') as file:\n"
    "        file.write(f'VERSION {time.time()}\\n')\n"
)


def test_a_change_is_loaded_though_neither_time_nor_size_tells_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    code = app / "function_app.py"
    saved = code.stat().st_mtime_ns

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        url = facts["host"]["url"] + "/api/version"
        assert get(url).startswith("one")
        assert list((app / "__pycache__").iterdir())
        code.write_text(VERSION.replace("VERSION", "two"))
        os.utime(code, ns=(saved, saved + 1000))  # in the same second
        until(lambda: get(url).startswith("two"))


def test_the_functions_that_come_and_go_are_said(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", VERSION)
    log = tmp_path / "log"

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log):
        (app / "function_app.py").write_text(VERSION.replace("stuck", "fresh"))
        until(lambda: "reloaded in" in log.read_text())

    (line,) = [line for line in log.read_text().splitlines() if "reloaded in" in line]
    assert line.endswith("function_app.py; added: fresh; removed: stuck")


def test_new_processes_that_cannot_be_started_leave_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        children = HostChildren(app, ["host", str(app)], listener, {})
        try:
            children.start()
            children.wait_until_ready()
            with monkeypatch.context() as full:
                full.setattr(subprocess, "Popen", refuse)
                (app / "function_app.py").write_text(VERSION.replace("VERSION", "two"))
                until(lambda: looked(children) and "goes on" in capfd.readouterr().err)
            assert get(children.facts["url"] + "/api/version").startswith("one")

            (app / "function_app.py").write_text(VERSION.replace("VERSION", "three"))
            url = children.facts["url"] + "/api/version"
            until(lambda: looked(children) and get(url).startswith("three"))
        finally:
            children.ask_to_stop()
            children.stop(time.monotonic() + STOP_SECONDS)


def test_all_may_end_while_an_old_process_is_being_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "_GRACE", 0.0)
    app = write_app(tmp_path / "app")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        children = HostChildren(app, ["host", str(app)], listener, {}, reloads=False)
        try:
            children.start()
            children.wait_until_ready()
            (old,) = children._current
            children._reload()
            for killer in threading.enumerate():
                if isinstance(killer, threading.Timer):
                    killer.join(STOP_SECONDS)
            until(old.has_ended)  # and nobody has looked since

            children.rest()
        finally:
            children.ask_to_stop()
            children.stop(time.monotonic() + STOP_SECONDS)


def looked(children: HostChildren) -> bool:
    """Look at them, as a supervisor does."""
    children.refresh()
    return True


def test_looks_that_take_long_are_seldom_and_see_what_has_changed(tmp_path: Path) -> None:
    class SlowSources(Sources):
        def look(self) -> dict[str, tuple[int, int]]:
            time.sleep(0.04)
            return super().look()

    app = write_app(tmp_path / "app")
    sources = SlowSources(app, HostSettings())
    looks = _Looks(sources, sources.look())
    assert looks.is_due()
    assert looks.changes() == set()
    assert looks.pause >= 2
    assert not looks.is_due()

    (app / "new.py").write_text("")
    assert looks.changes() == {str(app / "new.py")}


def test_a_timer_that_is_due_during_a_reload_fires_once(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", TICKING.replace("VERSION", "0"))
    log, ticks = tmp_path / "log", tmp_path / "ticks"
    ticks.write_text("")

    def versions() -> set[str]:
        return {line.split()[0] for line in ticks.read_text().splitlines()}

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log):
        until(lambda: "0" in versions())
        for number in range(1, 4):
            (app / "function_app.py").write_text(TICKING.replace("VERSION", str(number)))
            until(lambda: str(number) in versions())  # noqa: B023 - called at once

    # An occurrence that comes a little late, between two processes, still counts as its own.
    seconds = [float(line.split()[1]) for line in ticks.read_text().splitlines()]
    whole = [int(second) for second in seconds]
    assert len(set(whole)) == len(whole), "no second has two runs"
    assert not any("past due" in line for line in log.read_text().splitlines())


def test_a_new_process_that_is_not_ready_ends_with_the_supervisor(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", VERSION)
    waiting = tmp_path / "waiting"
    code = (
        f"import os, time\nopen({str(waiting)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=tmp_path / "log") as (
        process,
        facts,
    ):
        assert get(facts["host"]["url"] + "/api/version")
        (app / "function_app.py").write_text(code)
        pid = int(until(lambda: waiting.exists() and waiting.read_text()))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


NEEDS_A_DATABASE = (
    VERSION
    + """
from pathlib import Path
assert (Path(__file__).parent.parent / "database").exists(), "the database is away"


@app.route(route="end")
def end(req):
    os._exit(3)
"""
)


def test_a_host_whose_app_could_not_be_loaded_for_a_while_comes_back(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", NEEDS_A_DATABASE)
    log, database = tmp_path / "log", tmp_path / "database"
    database.write_text("")

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        url = facts["host"]["url"] + "/api/"
        assert get(url + "version")
        database.unlink()
        with suppress(OSError):  # it ends while it answers
            get(url + "end")
        until(lambda: "cannot be started; that is tried again" in log.read_text())
        database.write_text("")

        assert get(url + "version")
