"""What `hubbub start` makes of keys, origins and connection strings, and what it prints."""

import json
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.programs import run, running, write_app
from tests.e2e.running import clean_environment, end

from hubbub.cli.keptkey import new_key
from hubbub.cli.programs import _folder
from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import format_connection_string, parse_connection_string

FREE = ("--port", "0", "--service-port", "0")
EVERYWHERE = ("start", *FREE, "--address", "0.0.0.0")
SETTING = "AzureSignalRConnectionString"
PAGE = "http://page.example"
KEY = "a key of before, which has 32 bytes or more"
APP = """
import os

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="setting", methods=["GET"])
def setting(req: func.HttpRequest) -> str:
    return os.environ.get("AzureSignalRConnectionString", "none")
"""


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        return str(response.read().decode())


@pytest.fixture
def port() -> int:
    """A port that is free, as far as one can know."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


def test_a_folder_that_is_nearly_an_app_is_told_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write_app(tmp_path / "app"))
    assert _folder(None) == Path()
    Path("host.json").unlink()
    assert _folder(None) is None

    assert capsys.readouterr().err == (
        "hubbub: function_app.py is here, but no host.json, so this folder is not taken for an "
        'app. Make one, with {"version": "2.0"} in it, or name the folder: `hubbub start .`.\n'
    )


@pytest.mark.parametrize("place", ["environment", "local.settings.json"])
def test_a_key_of_before_is_told_with_its_place_and_the_app_gets_the_right_one(
    tmp_path: Path, port: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, log = write_app(tmp_path / "app", APP), tmp_path / "log"
    stale = format_connection_string(f"http://localhost:{port}", KEY)
    if place == "environment":
        monkeypatch.setattr("tests.cli.programs.clean_environment", lambda: with_setting(stale))
    else:
        settings = {"IsEncrypted": False, "Values": {SETTING: stale}}
        (app / "local.settings.json").write_text(json.dumps(settings))
    options = ("--port", "0", "--service-port", str(port))

    with running("start", str(app), *options, cwd=tmp_path, log=log) as (_, facts):
        assert get(facts["host"]["functions"][0]["url"]) == facts["service"]["connectionString"]

    assert f"{SETTING} in {'the ' if place == 'environment' else ''}{place} names this" in (
        log.read_text()
    )
    assert "another access key" in log.read_text()
    assert KEY not in log.read_text()


def with_setting(text: str) -> dict[str, str]:
    return {**clean_environment(), SETTING: text}


def test_a_key_for_everywhere_is_kept_where_there_is_a_folder_for_it(tmp_path: Path) -> None:
    data = tmp_path / "made" / "data"
    keys = []
    for _ in range(2):
        with running(*EVERYWHERE, "--data", str(data), cwd=tmp_path, log=tmp_path / "log") as (
            _,
            facts,
        ):
            service = facts["service"]
            keys.append(parse_connection_string(service["connectionString"]).access_key)
            assert not service["hasPassingKey"]

    assert keys[0] == keys[1]
    assert stat.S_IMODE((data / "access-key").stat().st_mode) == 0o600
    assert new_key(None) != new_key(None)


def test_a_key_that_cannot_be_kept_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "access-key").write_text("\n")

    with pytest.raises(ConfigError, match=r"cannot be kept in .*Not a directory|File exists"):
        new_key(tmp_path / "file")
    with pytest.raises(ConfigError, match="holds no access key"):
        new_key(empty)


def test_origins_are_let_in_by_the_app_and_by_the_service(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", APP)
    options = (*EVERYWHERE[1:], "--cors", PAGE, "--cors-credentials")

    with running("start", str(app), *options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        for url in (
            facts["host"]["functions"][0]["url"],
            f"{facts['service']['url']}/client/negotiate",
        ):
            request = urllib.request.Request(
                url,
                method="OPTIONS",
                headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"},
            )
            with urllib.request.urlopen(request, timeout=30) as granted:
                assert granted.headers["Access-Control-Allow-Origin"] == PAGE
                assert granted.headers["Access-Control-Allow-Credentials"] == "true"


@contextmanager
def printing(*arguments: str, cwd: Path) -> Iterator[Iterator[str]]:
    """The lines that a person sees."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hubbub", *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield iter(process.stdout.readline, "")
    finally:
        end(process)


def shown(*arguments: str, cwd: Path) -> str:
    """What a command prints until it is ready, which its last line tells."""
    lines = []
    with printing(*arguments, cwd=cwd) as printed:
        for line in printed:
            lines.append(line)
            if line == "Press Ctrl-C to stop.\n":
                return "".join(lines)
    raise AssertionError("".join(lines))


def test_a_person_is_told_what_to_paste_and_what_to_open(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", APP)

    text = shown("start", str(app), *EVERYWHERE[1:], cwd=tmp_path)

    assert "export AzureSignalRConnectionString='…'" in text
    assert "From other machines:" in text
    assert "The access key is another one at the next start, unless --data FOLDER keeps" in text
    assert "has no upstream" not in text
    (url,) = [line for line in text.splitlines() if line.startswith("Functions on ")]
    assert f"  Open {url.removeprefix('Functions on ')} in a browser.\n" in text


def test_a_service_without_an_app_says_that_clients_cannot_send(tmp_path: Path) -> None:
    for command in (("service", "--port", "0"), ("start", *FREE)):
        text = shown(*command, cwd=tmp_path)
        assert "It has no upstream: what clients send is refused" in text
        assert "access key is another one" not in text

    (tmp_path / "settings.json").write_text("{}")
    upstream = ("--upstream", "http://localhost:1/")
    assert "no upstream" not in shown("service", "--port", "0", *upstream, cwd=tmp_path)


def test_a_host_alone_says_what_to_open(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", APP.replace("def setting", "def index"))

    text = shown("host", str(app), "--port", "0", cwd=tmp_path)

    assert "/api/setting in a browser." in text


def test_an_app_that_is_no_folder_is_said_before_a_key_is_made(tmp_path: Path) -> None:
    ended = run("start", "nowhere", "--data", "data", "--address", "0.0.0.0", cwd=tmp_path)

    assert ended.returncode == 2
    assert not (tmp_path / "data").exists()
