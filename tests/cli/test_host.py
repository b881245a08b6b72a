"""`hubbub host`: processes on one socket that are replaced, and what apps do to them."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.programs import HELLO_APP, run, running, write_app

HEADER = """
import os, sys, time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
VERSION = HEADER + (
    '\n\n@app.route()\ndef version(req):\n    return f"VERSION {os.getpid()}"\n'
    "\n\n@app.route()\nasync def stuck(req):\n    time.sleep(600)\n"
)
PATIENCE = 60  # seconds for a busy machine; what is waited for takes much less


def get(url: str, **headers: str) -> str:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return str(response.read().decode())


def status(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def until(condition: Callable[[], Any]) -> Any:
    """Ask again and again until the answer is not false."""
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)
    return answer


def test_a_changed_app_is_loaded_again_and_no_request_is_refused(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    log = tmp_path / "log"

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        url = facts["host"]["url"] + "/api/version"
        assert get(url).startswith("one")
        (app / "function_app.py").write_text(VERSION.replace("VERSION", "two"))
        until(lambda: get(url).startswith("two"))
        until(lambda: "reloaded in" in log.read_text())

    assert "function_app.py" in log.read_text()


def test_code_that_cannot_be_loaded_changes_nothing_and_its_place_is_said(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    log = tmp_path / "log"

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        url = facts["host"]["url"] + "/api/version"
        before = get(url)
        (app / "function_app.py").write_text("import os\n\n\ndef broken(:\n")
        until(lambda: "the code from before goes on" in log.read_text())
        assert get(url) == before
        assert "function_app.py:4: the app cannot be loaded. SyntaxError" in log.read_text()
        (app / "function_app.py").write_text(VERSION.replace("VERSION", "three"))
        until(lambda: get(url).startswith("three"))


def test_a_host_that_dies_while_its_app_is_broken_waits_for_the_correction(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    log = tmp_path / "log"

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log) as (process, facts):
        url = facts["host"]["url"] + "/api/version"
        pid = int(get(url).split()[1])
        (app / "function_app.py").write_text("broken(\n")
        until(lambda: "the code from before goes on" in log.read_text())
        os.kill(pid, signal.SIGKILL)
        until(lambda: "cannot be started; that is tried again" in log.read_text())
        assert process.poll() is None
        (app / "function_app.py").write_text(VERSION.replace("VERSION", "four"))
        until(lambda: "reloaded in" in log.read_text())
        # What the code from before has taken by now, it answers.
        until(lambda: get(url).startswith("four"))


def test_a_function_that_blocks_for_ever_ends_with_the_next_change(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    log = tmp_path / "log"

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log) as (process, facts):
        base = facts["host"]["url"]
        stuck = subprocess.Popen(["curl", "-s", f"{base}/api/stuck"])
        try:
            (app / "function_app.py").write_text(VERSION.replace("VERSION", "two"))
            until(lambda: "reloaded in" in log.read_text())
            until(lambda: get(f"{base}/api/version").startswith("two"))
        finally:
            stuck.kill()
            stuck.wait()
        process.send_signal(signal.SIGINT)  # a second signal, at the end of the block, means now


def test_a_function_that_blocks_past_its_limit_ends_its_process_and_the_next_one_serves(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    (app / "host.json").write_text('{"version": "2.0", "functionTimeout": "00:00:01"}')
    log = tmp_path / "log"

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        base = facts["host"]["url"]
        before = get(f"{base}/api/version")
        with pytest.raises(OSError, match=r"closed|reset"):
            get(f"{base}/api/stuck")
        assert get(f"{base}/api/version") != before

    assert "in stuck" in log.read_text()
    assert "ended (status 75) and is started again" in log.read_text()


def test_without_reloading_a_change_is_left_alone(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", VERSION.replace("VERSION", "one"))
    options = ("host", str(app), "--port", "0", "--no-reload")

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        (app / "function_app.py").write_text("broken(")
        assert get(facts["host"]["url"] + "/api/version").startswith("one")


def two_answers(url: str, besides: frozenset[str] = frozenset()) -> frozenset[str]:
    """Ask until there have been two different answers that are none of those."""
    seen: set[str] = set()

    def ask() -> bool:
        seen.add(get(url))
        return len(seen - besides) == 2

    until(ask)
    return frozenset(seen - besides)


def test_several_processes_share_the_work_and_only_one_fires_timers(tmp_path: Path) -> None:
    fired = tmp_path / "fired"
    timer = (
        '\n\n@app.timer_trigger(arg_name="t", schedule="0 0 0 1 1 *", run_on_startup=True)\n'
        f"def tick(t: func.TimerRequest):\n    open({str(fired)!r}, 'a').write('x')\n"
    )
    app = write_app(tmp_path / "app", VERSION + timer)
    values = {"Values": {"FUNCTIONS_WORKER_PROCESS_COUNT": "2"}}
    (app / "local.settings.json").write_text(json.dumps(values))
    options = ("host", str(app), "--port", "0", "--no-reload")

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        url = facts["host"]["url"] + "/api/version"
        old = two_answers(url)
        until(fired.exists)

        restart = urllib.request.Request(facts["host"]["url"] + "/admin/host/restart", b"")
        with urllib.request.urlopen(restart, timeout=PATIENCE) as answer:
            assert answer.status == 200
        two_answers(url, besides=old)
        until(lambda: not old & {get(url) for _ in range(20)})
        until(lambda: fired.read_text() == "xx")

    assert fired.read_text() == "xx"  # one of the two, both times

    assert "reloaded in" in (tmp_path / "log").read_text()


def test_a_number_of_processes_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app")
    values = {"Values": {"FUNCTIONS_WORKER_PROCESS_COUNT": "many"}}
    (app / "local.settings.json").write_text(json.dumps(values))

    ended = run("host", str(app), "--port", "0")

    assert ended.returncode == 2
    assert "FUNCTIONS_WORKER_PROCESS_COUNT is 'many'; it must be a number from 1" in ended.stderr


def test_with_auth_keys_are_asked_for_and_the_start_says_where_they_are(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO_APP.replace("ANONYMOUS", "FUNCTION"))
    options = ("host", str(app), "--port", "0", "--enable-auth", "--data", str(tmp_path / "data"))

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        host = facts["host"]
        folder = Path(host["keys"])
        document = json.loads((folder / "host.json").read_text())
        url = host["url"] + "/api/hello"
        assert folder == tmp_path / "data" / "secrets"
        assert status(url) == 401
        assert status(url, **{"x-functions-key": document["functionKeys"][0]["value"]}) == 200
        assert status(f"{host['url']}/admin/functions") == 401


FAULTS = (
    HEADER
    + """
print("printed while it is imported")
sys.stdout.buffer.write(b"\\x00\\xff\\xfe binary\\n")
sys.stdout.flush()


@app.route()
def binary(req):
    sys.stdout.buffer.write(b"\\x80\\x81\\x00" * 1000)
    print("\\udcff lone")
    return "fine"

@app.route()
def leave(req):
    sys.exit(7)

@app.route()
async def leave_async(req):
    sys.exit(7)

@app.route()
def eat(req):
    return str(len(bytearray(1 << 50)))

@app.route()
def deep(req):
    def down(): return down()
    return down()

@app.route()
def die(req):
    os._exit(9)

@app.route()
def pid(req):
    return str(os.getpid())
"""
)


def test_an_app_that_misbehaves_costs_its_own_request_only(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", FAULTS)
    log = tmp_path / "log"

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        base = facts["host"]["url"] + "/api"
        pid = get(f"{base}/pid")
        assert [status(f"{base}/{name}") for name in ("leave", "leave_async", "eat", "deep")] == (
            [500] * 4
        )
        assert status(f"{base}/binary") in {200, 500}
        assert get(f"{base}/pid") == pid

    text = log.read_bytes()
    assert b"MemoryError" in text
    assert b"RecursionError" in text
    assert b"SystemExit: 7" in text
    assert b"printed while it is imported" in text
    assert b"\x00\xff\xfe binary" in text


def test_a_process_that_an_app_ends_is_started_again(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", FAULTS)

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        base = facts["host"]["url"] + "/api"
        pid = get(f"{base}/pid")
        with pytest.raises(OSError, match=r"closed|reset"):
            get(f"{base}/die")
        assert get(f"{base}/pid") != pid


def test_an_app_that_cannot_be_imported_ends_the_start_with_its_place(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", "import no_such_module_here\n")

    ended = run("host", str(app), "--port", "0")

    assert ended.returncode == 2
    assert "function_app.py:1: the app cannot be loaded. ModuleNotFoundError" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    ended = run("host", str(tmp_path / "none"), "--port", "0")

    assert ended.returncode == 2
    assert "is not a folder. Name the folder of a function app." in ended.stderr


def test_a_timer_and_a_listener_are_listed_without_an_address(tmp_path: Path) -> None:
    code = HEADER + (
        '\n\n@app.timer_trigger(arg_name="t", schedule="0 0 0 1 1 *")\ndef tick(t): ...\n'
    )
    app = write_app(tmp_path / "app", code)

    with running("host", str(app), "--port", "0", cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        (function,) = facts["host"]["functions"]

    assert (function["name"], function["trigger"], function["url"]) == ("tick", "timerTrigger", "")
    assert function["detail"] == "Cron: '0 0 0 1 1 *'"
