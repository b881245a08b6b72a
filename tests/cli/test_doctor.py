"""`hubbub doctor`: each kind of problem is found and says what to change, and nothing else is."""

import asyncio
import http.server
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.cli.calling import invoke
from tests.cli.programs import HELLO_APP, running, write_app
from tests.service.running import Running

from hubbub.cli import doctor
from hubbub.cli.checkinstall import (
    browser_client,
    extras,
    file_limit,
    installation,
    python,
)
from hubbub.cli.finding import Finding
from hubbub.protocol.endpoints import format_connection_string
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings

SETTING = "AzureSignalRConnectionString"
OTHER_KEY = "another key, which has at least 32 bytes"


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        number: int = gone.getsockname()[1]
    return number


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A function app, which is the current folder too, so that no settings.json is found.

    What is installed on this machine is looked at by tests of its own.
    """
    monkeypatch.setattr(doctor, "installation", lambda: [python((3, 12, 0))])
    folder = write_app(tmp_path / "app")
    monkeypatch.chdir(folder)
    return folder


def examine(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status, and the checks that have found a problem. Ports are looked at if asked."""
    options = ["--json", *arguments]
    for option in ("--port", "--service-port"):
        if option not in arguments:
            options += [option, "0"]
    result = invoke("doctor", *options, **environment)
    report = json.loads(result.stdout)
    problems = [check for check in report["checks"] if not check["ok"]]
    assert report["ok"] == (not problems)
    assert all((check["change"] is None) == check["ok"] for check in report["checks"])
    return result.exit_code, problems


def only(problems: list[dict[str, Any]]) -> str:
    """The one problem, on one line."""
    (found,) = problems
    return f"{found['check']}: {found['text']} {found['change']}"


@contextmanager
def answering(status: int = 200, seconds: float = 0.0, health: str = "ok") -> Iterator[str]:
    """A web server that answers everything alike, with a clock that is `seconds` ahead."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("X-Hubbub-Health", health)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() + seconds, usegmt=True)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_where_all_is_well_the_exit_status_is_0(app: Path, port: int) -> None:
    assert examine("--port", str(port), "--service-port", str(port)) == (0, [])


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (python((3, 10, 12)), "Python 3.10.12 is not one"),
        (python((3, 15, 0)), "Use Python 3.11 to 3.14"),
        (next(extras(lambda name: name != "uvloop")), "Not installed: uvloop. pip install 'hubbub"),
        (browser_client(Path("/nowhere/signalr.js")), "not packaged"),
        (file_limit(1024), "1024 files only"),
    ],
)
def test_what_is_wrong_with_the_installation_is_a_problem(finding: Finding, words: str) -> None:
    assert finding.is_problem
    assert words in f"{finding.text} {finding.change}"


@pytest.mark.parametrize(
    "finding",
    [
        python((3, 11, 0)),
        python((3, 14, 9)),
        *extras(lambda _: True),
        *extras(lambda name: name != "azure.identity"),  # which few need
        file_limit(1_048_576),
        file_limit(resource.RLIM_INFINITY),
    ],
)
def test_what_is_right_with_the_installation_is_none(finding: Finding) -> None:
    assert not finding.is_problem


def test_this_installation_is_looked_at() -> None:
    checks = [finding.check for finding in installation()]

    assert checks == ["python", "extras", "extras", "browser client", "file limit"]


def test_a_port_that_somebody_else_has_is_a_problem(app: Path) -> None:
    with answering() as url:
        number = str(urlsplit(url).port)
        status, problems = examine("--service-port", number)
        _, of_host = examine("--port", number)

    assert status == 1
    assert f"Port {number}, which a Hubbub service would have, is in use by another program." in (
        only(problems)
    )
    assert "pass --port with another port" in only(of_host)


def look(*arguments: str) -> list[str]:
    """All that is said, each on one line, with the ports that the settings say."""
    report = json.loads(invoke("doctor", "--json", *arguments).stdout)
    return [f"{check['check']}: {check['text']} {check['change']}" for check in report["checks"]]


def test_the_ports_of_the_settings_are_looked_at(app: Path, port: int) -> None:
    text = f"Endpoint=http://localhost;Port={port};AccessKey={EMULATOR_KEY};"
    with answering(status=404) as url:
        host = {"LocalHttpPort": urlsplit(url).port, "LocalHttpAddress": "127.0.0.1"}
        document = {"Values": {SETTING: text}, "Host": host}
        (app / "local.settings.json").write_text(json.dumps(document))
        said = look()

    assert f"port: Port {port} is free for a Hubbub service. None" in said
    assert any(f"port: Port {host['LocalHttpPort']}, which a Hubbub func" in each for each in said)


def test_a_service_on_another_machine_says_nothing_of_ports_here(app: Path, port: int) -> None:
    text = f"Endpoint=https://hub.invalid;Port=12345;AccessKey={OTHER_KEY};"
    (app / "local.settings.json").write_text(json.dumps({"Values": {SETTING: text}}))

    assert not any(each.startswith("port: Port 12345") for each in look("--port", str(port)))


def test_an_address_that_is_not_this_machines_is_a_problem(app: Path) -> None:
    document = {"Host": {"LocalHttpAddress": "192.0.2.1"}}  # which nobody has
    (app / "local.settings.json").write_text(json.dumps(document))

    said = only(examine()[1])

    assert said.startswith("address: 192.0.2.1 is no address of this machine. Pass --address")
    assert "'Host.LocalHttpAddress' in local.settings.json" in said
    assert examine("--address", "127.0.0.1") == (0, [])


def test_a_connection_string_that_cannot_be_read_is_a_problem(app: Path) -> None:
    status, problems = examine(**{SETTING: "Endpoint=http://localhost"})

    assert status == 1
    assert f"{SETTING} in the environment: Connection string missing" in only(problems)
    assert "export AzureSignalRConnectionString='Endpoint=…'" in only(problems)


def test_local_settings_that_cannot_be_read_are_a_problem(app: Path) -> None:
    (app / "local.settings.json").write_text("{")

    assert "local settings: local.settings.json" in only(examine()[1])


@pytest.mark.parametrize("where", ["environment", "local.settings.json", "option"])
def test_a_service_that_does_not_answer_is_a_problem(app: Path, port: int, where: str) -> None:
    text = format_connection_string(f"http://127.0.0.1:{port}", OTHER_KEY)
    if where == "local.settings.json":
        document = {"IsEncrypted": False, "Values": {SETTING: text}}
        (app / "local.settings.json").write_text(json.dumps(document))
    options = ("--connection-string", text) if where == "option" else ()
    environment = {SETTING: text} if where == "environment" else {}

    said = only(examine(*options, **environment)[1])

    assert f"No service answers at http://127.0.0.1:{port}: Connection refused." in said
    assert where in said or "--connection-string" in said
    assert OTHER_KEY not in said


def test_the_emulators_service_that_was_not_started_yet_is_no_problem(app: Path, port: int) -> None:
    text = format_connection_string(f"http://localhost:{port}", EMULATOR_KEY)

    assert examine(**{SETTING: text}) == (0, [])


def test_something_else_in_place_of_the_service_is_a_problem(app: Path) -> None:
    with answering(status=404) as url:
        said = only(examine("--connection-string", format_connection_string(url, OTHER_KEY))[1])

    assert "answers 404 where a service tells its health" in said


def test_a_service_that_is_drained_is_a_problem_and_not_another_program(app: Path) -> None:
    with answering(status=503, health="draining") as url:
        said = only(examine("--connection-string", format_connection_string(url, OTHER_KEY))[1])

    assert "lets no client in any more" in said


async def test_another_key_than_the_services_is_a_problem(app: Path) -> None:
    async with Running(ServiceSettings()) as service:
        texts = [format_connection_string(service.url, key) for key in (OTHER_KEY, EMULATOR_KEY)]
        options = ("--connection-string", texts[0])
        _, problems = await asyncio.to_thread(examine, *options)
        right = await asyncio.to_thread(examine, "--connection-string", texts[1])

    assert "The access key of --connection-string is none of the service's." in only(problems)
    assert right == (0, [])


@pytest.mark.parametrize(("seconds", "way"), [(400.0, "ahead of"), (-400.0, "behind")])
def test_clocks_that_differ_are_a_problem(app: Path, seconds: float, way: str) -> None:
    with answering(seconds=seconds) as url:
        said = only(examine("--connection-string", format_connection_string(url, OTHER_KEY))[1])

    assert said.startswith("clock: ")
    assert f"seconds {way} this machine's" in said


def test_a_function_that_the_host_has_refused_is_a_problem(app: Path, tmp_path: Path) -> None:
    code = HELLO_APP + (
        '\n\n@app.generic_trigger(arg_name="item", type="queueTrigger")'
        "\ndef other(item) -> None:\n    pass\n"
    )
    (app / "function_app.py").write_text(code)
    options = ("start", str(app), "--port", "0", "--service-port", "0")

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        ports = [str(urlsplit(facts[name]["url"]).port) for name in ("host", "service")]
        text = facts["service"]["connectionString"]
        options = ("--port", ports[0], "--service-port", ports[1], "--connection-string", text)
        status, problems = examine(*options)

    assert status == 1
    assert only(problems).startswith("host: ")
    assert "queueTrigger" in only(problems)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "upstream: settings.json"),
        ("{}", "settings.json has no template, so what clients send is refused."),
        ('{"UpstreamSettings": {"Templates": [{"UrlTemplate": "no url"}]}}', "Correct settings."),
    ],
)
def test_upstream_settings_that_do_not_work_are_a_problem(
    app: Path, document: str, words: str
) -> None:
    (app / "settings.json").write_text(document)

    status, problems = examine()

    assert status == 1
    assert words in only(problems)


def test_an_upstream_where_nobody_is_is_a_problem(app: Path, port: int) -> None:
    with answering(status=404) as url:
        templates = [
            {"UrlTemplate": f"http://127.0.0.1:{port}/hook?code=secret"},
            {"UrlTemplate": f"{url}/hook"},
            {"UrlTemplate": "http://{hub}.example/"},  # depends on the event
        ]
        document = {"UpstreamSettings": {"Templates": templates}}
        (app / "settings.json").write_text(json.dumps(document))

        said = only(examine()[1])

    assert f"http://127.0.0.1:{port}/hook" in said
    assert "leads to where nobody answers: Connection refused." in said
    assert "secret" not in said


def test_a_person_reads_lines_and_how_many_problems_there_are(app: Path, port: int) -> None:
    ports = ("--port", "0", "--service-port", "0")
    well = invoke("doctor", *ports)
    ill = invoke("doctor", *ports, AzureSignalRConnectionString="Endpoint=http://localhost")

    assert well.stdout.endswith("\n\nAll is well.\n")
    assert "ok       python: Python 3.12.0." in well.stdout
    assert ill.stdout.endswith("\n\n1 problem.\n")
    assert "\nproblem  connection string: " in ill.stdout
    assert "\n         Correct AzureSignalRConnectionString in the environment.\n" in ill.stdout
