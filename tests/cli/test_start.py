import json
import os
import select
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from tests.cli.programs import HELLO_APP, node_at, run, running, write_app

FREE = ("--port", "0", "--service-port", "0")
AZURE = "Endpoint=https://example.service.signalr.net;AccessKey=secret-of-azure;Version=1.0;"
ECHO_SETTING = """
import os

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="setting")
def setting(req: func.HttpRequest) -> str:
    return os.environ.get("AzureSignalRConnectionString", "none")


@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return str(os.getpid())
"""


def write_local_settings(app: Path, connection_string: str) -> None:
    values = {"AzureSignalRConnectionString": connection_string}
    text = json.dumps({"IsEncrypted": False, "Values": values})
    (app / "local.settings.json").write_text(text)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        return str(response.read().decode())


def test_an_app_and_its_service_start_with_one_command_and_end_with_one_signal(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path / "app")

    with running(
        "start", str(app), *FREE, "--metrics", "0", cwd=tmp_path, log=tmp_path / "log"
    ) as (process, facts):
        host = facts["host"]
        assert [function["name"] for function in host["functions"]] == ["hello"]
        (page,) = facts["service"]["metrics"]
        assert page.startswith("http://127.0.0.1:")
        assert node_at(page)
        assert get(host["functions"][0]["url"]) == "hello"
        assert get(facts["service"]["url"] + "/api/health") == ""
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    for url in (host["url"], facts["service"]["url"]):
        with pytest.raises(OSError, match=r"refused"):
            urllib.request.urlopen(url, timeout=5)


def test_the_app_finds_the_connection_string_of_the_service_that_was_started(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path / "app", ECHO_SETTING)

    with running("start", str(app), *FREE, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        assert get(facts["host"]["url"] + "/api/setting") == facts["service"]["connectionString"]
        assert facts["host"]["warnings"] == []


def test_a_connection_string_of_another_service_is_left_alone_and_said(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ECHO_SETTING)
    write_local_settings(app, AZURE)
    log = tmp_path / "log"

    with running("start", str(app), *FREE, cwd=tmp_path, log=log) as (_, facts):
        assert get(facts["host"]["url"] + "/api/setting") == AZURE

    assert "names another service" in log.read_text()
    assert "secret-of-azure" not in log.read_text()


def test_a_setting_that_is_no_connection_string_gives_way_to_the_one_that_is_made(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path / "app", ECHO_SETTING)
    write_local_settings(app, "<signalr-connection-string>")
    log = tmp_path / "log"

    with running("start", str(app), *FREE, cwd=tmp_path, log=log) as (_, facts):
        assert get(facts["host"]["url"] + "/api/setting") == facts["service"]["connectionString"]

    assert "in local.settings.json is no connection string" in log.read_text()


def test_the_emulators_connection_string_means_the_service_that_was_started(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path / "app", ECHO_SETTING)
    emulator = (
        "Endpoint=http://localhost;Port=8888;"
        "AccessKey=ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH;Version=1.0;"
    )
    write_local_settings(app, emulator)

    with running("start", str(app), *FREE, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        assert get(facts["host"]["url"] + "/api/setting") == facts["service"]["connectionString"]
        assert facts["host"]["warnings"] == []


def test_beyond_loopback_there_is_a_new_key_and_the_app_is_told_its_address(
    tmp_path: Path,
) -> None:
    code = ECHO_SETTING.replace('"AzureSignalRConnectionString", "none"', '"HUBBUB_LAN_ADDRESS"')
    app = write_app(tmp_path / "app", code)
    options = ("start", str(app), *FREE, "--address", "0.0.0.0")

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        text = facts["service"]["connectionString"]
        lan = get(facts["host"]["url"] + "/api/setting")
        # Every web origin is let in on loopback only.
        preflight = urllib.request.Request(
            facts["service"]["url"] + "/client/negotiate",
            method="OPTIONS",
            headers={
                "Origin": "https://elsewhere.example",
                "Access-Control-Request-Method": "POST",
            },
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(preflight, timeout=30)
        refused.value.close()

    assert "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH" not in text
    assert f"ClientEndpoint=http://{lan}:" in text


def test_a_process_that_dies_is_started_again_on_its_port(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ECHO_SETTING)
    log = tmp_path / "log"

    with running("start", str(app), *FREE, cwd=tmp_path, log=log) as (_, facts):
        url = facts["host"]["url"] + "/api/pid"
        first = get(url)
        os.kill(int(first), signal.SIGKILL)
        # The listening socket stays open meanwhile, so this waits rather than fails.
        assert get(url) != first

    assert "the function host ended (signal SIGKILL) and is started again" in log.read_text()


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", ECHO_SETTING)

    with running("start", str(app), *FREE, cwd=tmp_path, log=tmp_path / "log") as (process, facts):
        host = int(get(facts["host"]["url"] + "/api/pid"))
        watch = os.pidfd_open(host)
        process.kill()
        process.wait(30)
        signalled = wait_for_end(watch)
        os.close(watch)

    assert signalled


def wait_for_end(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(30_000))


def test_a_port_in_use_is_one_sentence_that_says_what_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = run("start", "--service-port", str(port), cwd=tmp_path)

    assert ended.returncode == 2
    assert ended.stderr == (
        f"hubbub: Port {port} on 127.0.0.1 is in use by another program. "
        "Stop it, or pass --service-port with another port; 0 picks a free one.\n"
    )


def test_a_broken_app_is_one_sentence_with_file_and_line(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", HELLO_APP + "\nimport nothing_of_that_name\n")

    ended = run("start", str(app), *FREE, cwd=tmp_path)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("hubbub: ")
    assert "function_app.py:11" in ended.stderr
    assert "nothing_of_that_name" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_connection_string_is_said_at_the_start_and_fails_that_function_only(
    tmp_path: Path,
) -> None:
    code = HELLO_APP + (
        '\n\n@app.route(route="negotiate")\n'
        '@app.generic_input_binding(arg_name="info", type="signalRConnectionInfo", hubName="h",\n'
        '                           connectionStringSetting="Other")\n'
        "def negotiate(req: func.HttpRequest, info) -> str:\n"
        "    return info\n"
    )
    app = write_app(tmp_path / "app", code)

    with running("start", str(app), *FREE, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        (warning,) = facts["host"]["warnings"]
        with pytest.raises(urllib.error.HTTPError, match="500") as failed:
            get(facts["host"]["url"] + "/api/negotiate")
        failed.value.close()
        assert get(facts["host"]["url"] + "/api/hello") == "hello"

    assert "Set 'Other'" in warning
    assert "Needed by: negotiate" in warning


def test_a_function_that_raises_is_500_with_its_traceback_in_the_log_and_the_service_goes_on(
    tmp_path: Path,
) -> None:
    app = write_app(
        tmp_path / "app", HELLO_APP.replace('return "hello"', 'raise LookupError("lost")')
    )
    log = tmp_path / "log"

    with running("start", str(app), *FREE, cwd=tmp_path, log=log) as (_, facts):
        with pytest.raises(urllib.error.HTTPError, match="500") as failed:
            get(facts["host"]["functions"][0]["url"])
        assert failed.value.read() == b""
        failed.value.close()
        assert get(facts["service"]["url"] + "/api/health") == ""

    text = log.read_text()
    assert "Functions.hello" in text
    assert "LookupError: lost" in text
    assert "Traceback" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("start", "nowhere"), "is not a folder"),
        (("start", "--address", "192.0.2.77"), "is no address of this machine"),
        (("start", "--service-port", "99999"), "is no port"),
        (("service", "--address", "0.0.0.0"), "well-known access key is refused on 0.0.0.0"),
        (("service", "--access-key", "short"), "at least 32 bytes"),
        (
            ("service", "--address", "0.0.0.0", "--access-key", "k" * 40),
            "every web origin in is refused on 0.0.0.0",
        ),
    ],
)
def test_what_cannot_be_started_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    ended = run(*arguments, cwd=tmp_path)

    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_emulators_key_serves_other_addresses_if_one_insists(tmp_path: Path) -> None:
    options = ("service", "--address", "0.0.0.0", "--port", "0", "--insecure")

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        assert get(facts["service"]["url"] + "/api/health") == ""
