"""Apps of folders with a function.json: as the public documentation shows them, and broken ones."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import Service, call

from hubbub.errors import ConfigError
from hubbub.functions.host import Host, load_host
from hubbub.functions.settings import HostSettings
from hubbub.functions.sources import Sources

HTTP = [
    {"authLevel": "anonymous", "type": "httpTrigger", "direction": "in", "name": "req"},
    {"type": "http", "direction": "out", "name": "$return"},
]
HELLO = (
    'import azure.functions as func\n\n\ndef main(req: func.HttpRequest) -> str:\n    return "ok"\n'
)
OTHERS: list[Any] = [5, True, [], [5], {"a": [1]}, "a\0b", "{"]  # than what belongs there
Write = Callable[..., Host]


@pytest.fixture
async def write(tmp_path: Path) -> Any:
    """`write({"hello/__init__.py": source, "hello/function.json": {…}})`: the host of the app."""
    hosts: list[Host] = []

    def write_app(files: dict[str, Any], settings: dict[str, str] | None = None) -> Host:
        for name, content in {"host.json": {"version": "2.0"}, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        hosts.append(load_host(tmp_path, dict(settings or {})))
        return hosts[-1]

    yield write_app
    for host in hosts:
        await host.close()


def hello(name: str = "hello", source: str = HELLO, **config: Any) -> dict[str, Any]:
    """The files of one function."""
    given = {"scriptFile": "__init__.py", "bindings": HTTP} | config
    return {f"{name}/__init__.py": source, f"{name}/function.json": given}


async def test_the_quickstart_of_the_documentation_runs_as_it_stands(write: Write) -> None:
    host = write(
        {
            "host.json": {"version": "2.0"},
            "HttpExample/function.json": {
                "scriptFile": "__init__.py",
                "bindings": [
                    {"authLevel": "function", "type": "httpTrigger", "direction": "in",
                     "name": "req", "methods": ["get", "post"]},
                    {"type": "http", "direction": "out", "name": "$return"},
                ],
            },
            "HttpExample/__init__.py": """
import logging

import azure.functions as func


def main(req: func.HttpRequest) -> func.HttpResponse:
    logging.info('Python HTTP trigger function processed a request.')

    name = req.params.get('name')
    if not name:
        try:
            req_body = req.get_json()
        except ValueError:
            pass
        else:
            name = req_body.get('name')

    if name:
        return func.HttpResponse(f"Hello, {name}.")
    else:
        return func.HttpResponse("Pass a name in the query string.", status_code=200)
""",
        }
    )  # fmt: skip
    asked = await call(host, "GET", "/api/HttpExample?name=Azure")
    posted = await call(host, "POST", "/api/httpexample", body=b'{"name": "you"}')

    assert (asked.status, asked.text) == (200, "Hello, Azure.")
    assert posted.text == "Hello, you."
    assert (await call(host, "PUT", "/api/HttpExample")).status == 404
    assert host.warnings == ()


async def test_the_serverless_quickstart_runs_as_it_stands(write: Write, service: Service) -> None:
    setting = "AzureSignalRConnectionString"
    connection = {
        "type": "signalRConnectionInfo", "name": "connectionInfo", "hubName": "serverless",
        "connectionStringSetting": setting, "direction": "in",
    }  # fmt: skip
    messages = {
        "type": "signalR", "name": "signalRMessages", "hubName": "serverless",
        "connectionStringSetting": setting, "direction": "out",
    }  # fmt: skip
    timer = {
        "name": "myTimer", "type": "timerTrigger", "direction": "in", "schedule": "*/5 * * * * *",
    }  # fmt: skip
    host = write(
        hello(
            "negotiate",
            "import azure.functions as func\n\n"
            "def main(req: func.HttpRequest, connectionInfo) -> func.HttpResponse:\n"
            "    return func.HttpResponse(connectionInfo)\n",
            bindings=[*HTTP, connection],
        )
        | hello(
            "broadcast",
            "import json\nimport azure.functions as func\n\n"
            "def main(myTimer: func.TimerRequest, signalRMessages: func.Out[str]) -> None:\n"
            "    signalRMessages.set(json.dumps({'target': 'newMessage', 'arguments': ['5']}))\n",
            bindings=[timer, messages],
        ),
        {setting: service.connection_string},
    )
    info = (await call(host, "POST", "/api/negotiate")).json()
    started = await call(
        host,
        "POST",
        "/admin/functions/broadcast",
        headers=[("Content-Type", "application/json")],
        body=b'{"input": ""}',
    )
    await host.close()

    assert info["url"] == f"{service.url}/client/?hub=serverless"
    assert started.status == 202
    body = {"Target": "newMessage", "Arguments": ["5"]}
    assert service.calls == [("POST", "/api/hubs/serverless/:send", body)]


async def test_all_three_styles_of_imports_work(write: Write) -> None:
    source = """
from . import beside
from ..shared.tools import up
from shared.tools import path
from __app__.shared import tools


def main(req):
    return f"{beside.VALUE} {up} {path} {tools.up}"
"""
    host = write(
        hello("hello", source)
        | {"hello/beside.py": "VALUE = 'beside'\n", "shared/__init__.py": "",
           "shared/tools.py": "up = 'up'\npath = 'path'\n"}
    )  # fmt: skip
    assert (await call(host, "GET", "/api/hello")).text == "beside up path up"


async def test_a_script_and_an_entry_point_can_be_named_anywhere_in_the_app(write: Write) -> None:
    host = write(
        {
            "one/function.json": {"scriptFile": "../shared/all.py", "entryPoint": "first",
                                  "bindings": HTTP},
            "two/function.json": {"scriptFile": "run.py", "bindings": HTTP},
            "two/run.py": HELLO,
            "three/function.json": {"bindings": HTTP},
            "three/anything.py": HELLO,
            "four/function.json": {"bindings": HTTP},
            "four/__init__.py": HELLO,
            "four/more.py": "",
            "shared/all.py": 'async def first(req, context):\n'
                             '    return context.function_name + context.function_directory\n',
        }
    )  # fmt: skip
    names = [function.name for function in host.functions]

    assert names == ["four", "one", "three", "two"]
    assert (await call(host, "GET", "/api/one")).text == f"one{host.root / 'one'}"
    for name in ("two", "three", "four"):
        assert (await call(host, "GET", f"/api/{name}")).text == "ok"


@pytest.mark.parametrize(
    ("files", "place", "words"),
    [
        (hello("bad", "import no_such_module_here\n"), "bad/__init__.py:1", "Cannot find module."),
        (hello("bad", "\n\ndef main(:\n"), "bad/__init__.py:3", "SyntaxError"),
        (hello("bad", "import sys\nsys.exit(3)\n"), "bad/__init__.py:2", "SystemExit: 3"),
        (hello("bad", "def other(req): ...\n"), "bad/function.json",
         "cannot load function bad: function main() is not present in bad/__init__.py"),
        (hello("bad", "main = 5\n"), "bad/function.json", "main() is not present"),
        (hello("bad", scriptFile="none.py"), "bad/function.json",
         "'scriptFile' property is set to a file that does not exist: 'none.py'."),
        (hello("bad", scriptFile="../../outside.py"), "bad/function.json", "does not exist"),
        (hello("bad", scriptFile="function.json"), "bad/function.json",
         "invalid Python filename function.json"),
        (hello("bad") | {"bad/function.json": "{\n'x'}"}, "bad/function.json",
         "function.json line 2, column 1: this is not valid JSON"),
        (hello("bad") | {"bad/function.json": "[]"}, "bad/function.json", "one JSON object"),
        (hello("bad", bindings=[]), "bad/__init__.py:4", "At least one binding must be declared."),
        (hello("bad", bindings=None), "bad/__init__.py:4", "At least one binding"),
        (hello("bad", bindings={}), "bad/function.json", "'bindings' must be a list"),
        (hello("bad", bindings=["req"]), "bad/__init__.py:4", "must be a JSON object"),
        (hello("bad", bindings=[*HTTP, {"type": "signalR", "name": "x", "direction": "sideways"}]),
         "bad/__init__.py:4", "'sideways' is not a valid binding direction."),
        (hello("bad", bindings=[*HTTP, {"type": "signalR", "name": "x", "direction": "inout"}]),
         "bad/__init__.py:4", '"inout" bindings are not supported'),
        (hello("bad", bindings=[*HTTP, {"type": "magic", "name": "x", "direction": "out"}]),
         "bad/__init__.py:4", "The binding type(s) 'magic' are not registered."),
        (hello("bad", bindings=[*HTTP, {"type": "signalR", "name": "x", "direction": "out",
                                        "hubName": "h"}]), "bad/__init__.py:4",
         "the following parameters are declared in function.json but not in Python: {'x'}"),
        (hello("bad", bindings=[{**HTTP[0], "authLevel": "root"}, HTTP[1]]), "bad/__init__.py:4",
         "'root' is not a valid authLevel"),
        (hello("bad", retry={"strategy": "fixedDelay", "maxRetryCount": "x",
                             "delayInterval": "00:00:01"}), "bad/__init__.py:4",
         "maxRetryCount is 'x'"),
        (hello("bad", disabled=True), "bad/__init__.py:4", "it is disabled by 'disabled'"),
        (hello("bad", disabled="OFF"), "bad/__init__.py:4", "it is disabled by 'disabled'"),
        ({"1bad/function.json": {"bindings": HTTP}, "1bad/x.py": HELLO}, "1bad/x.py:4",
         "'1bad' is not a valid function name."),
    ],
)  # fmt: skip
async def test_a_folder_that_is_wrong_is_named_and_the_others_run(
    write: Write, tmp_path: Path, files: dict[str, Any], place: str, words: str
) -> None:
    host = write(hello() | files, {"OFF": "1"})

    (refusal,) = host.refused
    assert words in refusal.reason
    assert refusal.location == place
    assert (await call(host, "GET", "/api/hello")).text == "ok"
    name = refusal.name
    status = await call(host, "GET", f"/admin/functions/{name}/status")
    assert status.json() == {"errors": [refusal.reason]}
    assert (await call(host, "GET", f"/api/{name}")).status == 404


async def test_a_script_outside_of_the_app_is_refused(write: Write, tmp_path: Path) -> None:
    (tmp_path.parent / "outside_of_it.py").write_text(HELLO)

    host = write(hello() | hello("bad", scriptFile="../../outside_of_it.py"))

    assert "lies outside of the app's folder" in host.refused[0].reason


async def test_a_script_with_decorators_counts_before_folders(write: Write) -> None:
    host = write(
        hello()
        | {
            "function_app.py": "import azure.functions as func\napp = func.FunctionApp()\n"
            '@app.route()\ndef other(req):\n    return ""\n'
        }
    )
    assert [function.name for function in host.functions] == ["other"]
    assert (
        "Detected mixed function app. Some functions may not be indexed - hello"
        in (host.warnings[0])
    )


async def test_only_the_folders_that_host_json_names_are_imported(write: Write) -> None:
    host = write(
        hello()
        | hello("other", "raise SystemExit\n")
        | {"host.json": {"version": "2.0", "functions": ["hello"]}}
    )
    assert [function.name for function in host.functions] == ["hello"]
    assert host.refused == ()


async def test_a_folder_with_neither_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"or folders with a function\.json"):
        load_host(tmp_path, {})


@pytest.fixture(autouse=True)
def _forget_the_app() -> Iterator[None]:
    import sys

    yield
    for name in [name for name in sys.modules if name.split(".")[0] in {"__app__", "shared"}]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"scriptFile": "a\0b"},
        {"scriptFile": "x" * 300},
        {"scriptFile": []},
        {"entryPoint": {}},
        {"bindings": 5},
        {"bindings": [5]},
        {"retry": 5},
        {"retry": {"strategy": "fixedDelay", "maxRetryCount": []}},
        *({"bindings": [HTTP[0] | {key: value}, HTTP[1]]}
          for key in ("methods", "route", "authLevel", "direction", "name", "type")
          for value in OTHERS),
        *({"bindings": [{"type": "timerTrigger", "direction": "in", "name": "req", "schedule": s}]}
          for s in [*OTHERS, "99999999999999999999.00:00:00"]),
    ],
    ids=str,
)  # fmt: skip
async def test_no_function_json_takes_the_other_functions_along(
    write: Write, changes: dict[str, Any]
) -> None:
    host = write(hello("bad", **changes) | hello("good"))

    assert (await call(host, "GET", "/api/good")).text == "ok"


async def test_a_folder_that_may_not_be_read_is_no_function(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "volume-of-a-database").mkdir()
    look = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        if "/volume-of-a-database/" in os.fsdecode(path):
            raise PermissionError(13, "Permission denied")
        return look(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    host = write(hello())

    assert (await call(host, "GET", "/api/hello")).text == "ok"
    assert str(tmp_path / "hello" / "__init__.py") in Sources(tmp_path, HostSettings()).look()
