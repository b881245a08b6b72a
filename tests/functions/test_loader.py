"""Loading apps as the public documentation shows them, and what is said of broken ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.functions.apps import HEADER, call

from hubbub.errors import ConfigError
from hubbub.functions.host import FunctionInfo, Host, load_host

Load = Callable[..., Host]

HELLO = '\n@app.route(methods=["GET", "POST"])\ndef hello(req):\n    return "ok"\n'


async def test_functions_are_listed_with_methods_and_addresses(load: Load) -> None:
    host = load(HELLO + '\n@app.route(route="items/{id:int?}")\ndef Items(req):\n    return ""\n')

    assert host.listing("http://localhost:7071") == [
        FunctionInfo("hello", "httpTrigger", ("GET", "POST"), "http://localhost:7071/api/hello"),
        FunctionInfo("Items", "httpTrigger", (), "http://localhost:7071/api/items/{id:int?}"),
    ]
    assert host.warnings == ()


async def test_a_blueprint_is_part_of_the_app_and_knows_its_own_folder(
    load: Load, tmp_path: Path
) -> None:
    host = load(
        "from pages.front import bp\napp.register_functions(bp)\n",
        files={
            "pages/front.py": """
import azure.functions as func
bp = func.Blueprint()

@bp.function_name(name="front-page")
@bp.route(route="front")
def front(req: func.HttpRequest, context: func.Context) -> str:
    return context.function_directory + "|" + context.function_name
"""
        },
    )
    answer = await call(host, "GET", "/api/front")

    assert answer.text == f"{tmp_path / 'pages'}|front-page"
    assert host.functions[0].location == "pages/front.py:5"


async def test_only_the_functions_that_host_json_names_are_loaded(load: Load) -> None:
    host = load(
        HELLO + '\n@app.route()\ndef other(req):\n    return ""\n',
        files={"host.json": {"version": "2.0", "functions": ["HELLO"]}},
    )
    assert [function.name for function in host.functions] == ["hello"]


async def test_another_script_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "my_app.py").write_text(HEADER + HELLO)

    host = load_host(tmp_path, {"PYTHON_SCRIPT_FILE_NAME": "my_app.py"})

    assert [function.name for function in host.functions] == ["hello"]
    await host.close()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\ndef broken(:\n", "function_app.py:6: the app cannot be loaded. SyntaxError"),
        ("\nimport no_such_module_here\n", ("function_app.py:6: the app cannot be loaded. "
         "ModuleNotFoundError: No module named 'no_such_module_here'. Cannot find module.")),
        ("\n\nx = 1 / 0\n", "function_app.py:7: the app cannot be loaded. ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "function_app.py:6: the app cannot be loaded. SystemExit: 3"),
        ("app = None\n", "Could not find top level function app instances in function_app.py."),
        ("other = func.FunctionApp()\n", "More than one FunctionApp or other top level"),
        (HELLO * 2, "Function hello does not have a unique function name."),
        ("@app.function_name('f')\ndef f(req): ...\n", "Function f does not have a trigger."),
        ("@app.route(methods=['NO'])\ndef f(req): ...\n", "KeyError: Can not parse '['NO']'"),
        ("@app.route()\n@app.route()\ndef f(req): ...\n", "A trigger was already registered"),
    ],
)  # fmt: skip
async def test_a_broken_app_is_one_sentence_with_its_place(
    load: Load, source: str, words: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(source)
    assert words in str(raised.value)


async def test_the_place_of_a_failure_is_the_apps_own_line_and_not_a_librarys(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"shared/tools.py:2: .* JSONDecodeError"):
        load(
            "import shared.tools\n",
            files={"shared/tools.py": "import json\njson.loads('{')\n"},
        )


async def test_a_folder_that_is_no_app_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no function_app\.py"):
        load_host(tmp_path, {})
    with pytest.raises(ConfigError, match="is not a folder"):
        load_host(tmp_path / "none", {})
    with pytest.raises(ConfigError, match=r"Invalid file name: \.\./x.py"):
        load_host(tmp_path, {"PYTHON_SCRIPT_FILE_NAME": "../x.py"})


def route(name: str = "bad", arguments: str = "req", extra: str = "") -> str:
    return f'\n{extra}\n@app.route()\ndef {name}({arguments}):\n    return ""\n'


def generic(kind: str, rest: str = "", name: str = "x") -> str:
    return f'@app.generic_{kind}(arg_name="{name}", {rest})'


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (route("host"), "'host' is not a valid function name."),
        (route("_x"), "'_x' is not a valid function name."),
        (route("HELLO"), "another function has the name 'hello', ignoring case"),
        (
            route(extra=generic("output_binding", 'type="magic"'), arguments="req, x"),
            "The binding type(s) 'magic' are not registered.",
        ),
        (
            route(extra=generic("output_binding", 'type="queue"'), arguments="req, x"),
            "bindings of type 'queue' are not supported by this host.",
        ),
        (
            route(extra=generic("output_binding", 'type="signalR"', "1x"), arguments="req, x"),
            "The binding name 1x is invalid.",
        ),
        (
            route(extra=generic("input_binding", 'type="signalR", hubName="h"', "req")),
            "Multiple bindings with name 'req' discovered. Binding names must be unique.",
        ),
        (
            route(extra=generic("input_binding", 'type="signalRTrigger"'), arguments="req, x"),
            "Multiple trigger bindings defined.",
        ),
        (
            route(extra=generic("input_binding", 'type="signalR", hubName="h"'),
                  arguments="req, x"),
            "of type signalR cannot have the direction 'in'",
        ),
        (
            route(extra=generic("output_binding", 'type="signalR"'), arguments="req, x"),
            "the signalR binding 'x' needs a 'hubName'.",
        ),
        (
            route(extra=generic("output_binding", 'type="signalR", hubName="%HUB%"'),
                  arguments="req, x"),
            "'%HUB%' does not resolve to a value. Set 'HUB'",
        ),
        (
            route(extra=generic("output_binding", 'type="signalR", hubName="h", '
                                'connectionStringSetting=" "'), arguments="req, x"),
            "'connectionStringKey' cannot be null or whitespace",
        ),
        (
            route(extra=generic("output_binding", 'type="signalR", hubName="{a"'),
                  arguments="req, x"),
            "is never closed",
        ),
        (
            '\n@app.timer_trigger(arg_name="t", schedule="hourly")\ndef bad(t): ...\n',
            "The schedule expression 'hourly' was not recognized",
        ),
        (
            '\n@app.timer_trigger(arg_name="t", schedule="%WHEN%")\ndef bad(t): ...\n',
            "'%WHEN%' does not resolve to a value.",
        ),
        (
            '\n@app.queue_trigger("m", "q", "C")\ndef bad(m): ...\n',
            "bindings of type 'queueTrigger' are not supported by this host.",
        ),
        (
            '\n@app.retry("never", "1")\n@app.route()\ndef bad(req): ...\n',
            "the retry strategy 'never' is not known",
        ),
    ],
)  # fmt: skip
async def test_a_function_that_cannot_run_is_listed_with_its_reason_and_the_rest_runs(
    load: Load, source: str, reason: str
) -> None:
    host = load(HELLO + source)

    (refusal,) = host.refused
    assert reason.lower() in str(refusal).lower()
    assert "function_app.py:" in refusal.location
    assert str(refusal) in host.warnings
    answers = {function.name: function for function in host.functions}
    assert len(answers) == 1
    assert (await call(host, "GET", "/api/hello")).status == 200


async def test_a_disabled_function_is_not_reached(load: Load) -> None:
    host = load(HELLO, {"AzureWebJobs.hello.Disabled": "1"})

    assert (await call(host, "GET", "/api/hello")).status == 404
    assert "disabled by the app setting" in host.refused[0].reason
    assert any("No job functions found" in warning for warning in host.warnings)


async def test_an_app_can_be_loaded_again(load: Load) -> None:
    first = load(HELLO)
    second = load(HELLO.replace("ok", "changed and longer"))

    assert (await call(first, "GET", "/api/hello")).text == "ok"
    assert (await call(second, "GET", "/api/hello")).text == "changed and longer"
