"""What is said of an app with a fault: the way to it, what to change, and what looks misspelled."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hubbub.errors import ConfigError
from hubbub.functions.host import Host, load_host

Load = Callable[..., Host]

HELLO = '\n@app.route()\ndef hello(req):\n    return "ok"\n'


async def test_the_apps_own_lines_and_the_errors_before_are_shown(load: Load) -> None:
    tools = """
def read():
    try:
        raise ValueError("no number")
    except ValueError as error:
        raise RuntimeError("no settings") from error

read()
"""
    with pytest.raises(ConfigError) as raised:
        load("import shared.tools\n", files={"shared/tools.py": tools})

    assert str(raised.value).splitlines() == [
        "shared/tools.py:6: the app cannot be loaded. RuntimeError: no settings",
        "    function_app.py:5, in <module>: import shared.tools",
        "    shared/tools.py:8, in <module>: read()",
        '    shared/tools.py:6, in read: raise RuntimeError("no settings") from error',
        "    raised from ValueError: no number",
        '    shared/tools.py:4, in read: raise ValueError("no number")',
    ]


async def test_a_syntax_error_shows_its_line_and_who_imports_it(load: Load) -> None:
    with pytest.raises(ConfigError) as raised:
        load("import broken\n", files={"broken.py": "x = (\n"})

    assert str(raised.value).splitlines()[1:] == [
        "    function_app.py:5, in <module>: import broken",
        "    broken.py:1: x = (",
    ]


async def test_an_error_that_hides_another_shows_only_what_it_wants_to(load: Load) -> None:
    source = "try:\n    {}['x']\nexcept KeyError:\n    raise ValueError('hidden'){}\n"
    with pytest.raises(ConfigError, match="raised while handling KeyError"):
        load(source.replace("'){}", "')"))
    with pytest.raises(ConfigError) as raised:
        load(source.replace("'){}", "') from None"))
    assert "KeyError:" not in str(raised.value)


@pytest.mark.parametrize("statement", ["os.environ['MY_KEY']", "helper()"])
async def test_a_setting_that_is_missing_at_import_says_where_to_put_it(
    load: Load, statement: str
) -> None:
    source = f"import os\ndef helper():\n    return os.environ['MY_KEY']\n{statement}\n"
    with pytest.raises(ConfigError, match=r"Put 'MY_KEY' into the Values of local\.settings\.json"):
        load(source)


async def test_another_key_that_is_missing_is_no_setting(load: Load) -> None:
    with pytest.raises(ConfigError) as raised:
        load("{}['MY_KEY']\n")
    assert "local.settings.json" not in str(raised.value)


@pytest.mark.parametrize(
    ("decorator", "words"),
    [
        ('signalRConnectionInfo", hub_nam="h", hubName="h"', "Did you mean 'hubName'?"),
        ('signalRConnectionInfo", hubName="h", usrId="u"', "Did you mean 'userId'?"),
        ('signalRConnectionInfo", hubName="h", zzz="u"', "Known are hubName, userId, idToken"),
    ],
)
async def test_an_option_that_nobody_reads_is_a_warning_with_the_nearest_name(
    load: Load, decorator: str, words: str
) -> None:
    settings = {"AzureSignalRConnectionString": "Endpoint=http://localhost:1;AccessKey=k;"}
    host = load(
        f'\n@app.route()\n@app.generic_input_binding(arg_name="ci", type="{decorator})\n'
        "def negotiate(req, ci):\n    return ci\n",
        settings,
    )

    (warning,) = host.warnings
    assert words in warning
    assert "'negotiate' (function_app.py:6)" in warning
    assert "is not known and has no effect" in warning


async def test_documented_options_are_no_reason_for_a_warning(load: Load) -> None:
    host = load(
        '\n@app.route(route="x", methods=["GET"], auth_level="ANONYMOUS")\n'
        'def x(req):\n    return ""\n'
        '\n@app.timer_trigger(arg_name="t", schedule="0 0 0 1 1 *", run_on_startup=False,\n'
        '    use_monitor=True, data_type="string")\ndef y(t): ...\n'
    )
    assert host.warnings == ()


async def test_an_option_that_is_missing_names_the_one_that_looks_like_it(load: Load) -> None:
    host = load(
        HELLO + '\n@app.generic_trigger(arg_name="e", type="signalRTrigger", hubnme="h",\n'
        '    category="messages", event="say")\ndef listen(e): ...\n'
    )
    (refusal,) = host.refused
    assert "needs a 'hubName'. Is 'hubnme' a slip of it?" in refusal.reason


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("httpTriger", " Did you mean 'httpTrigger'?"),
        ("singalRTrigger", " Did you mean 'signalRTrigger'?"),
        ("timer", ""),  # of which nobody can say that it is a slip
        ("magic", ""),
    ],
)
async def test_a_misspelled_type_of_a_binding_is_told_the_nearest_one(
    load: Load, kind: str, advice: str
) -> None:
    host = load(HELLO + f'\n@app.generic_trigger(arg_name="e", type="{kind}")\ndef other(e): ...\n')
    (refusal,) = host.refused
    assert refusal.reason.endswith(f"the binding extension is installed.{advice}")


async def test_an_app_without_host_json_is_told_so_and_runs(load: Load, tmp_path: Path) -> None:
    (load(HELLO).root / "host.json").unlink()

    host = load_host(tmp_path, {})

    assert [function.name for function in host.functions] == ["hello"]
    (warning,) = host.warnings
    assert warning.startswith(f"There is no host.json in {tmp_path}, so the defaults hold.")
    await host.close()


async def test_where_all_functions_are_refused_that_is_said(load: Load) -> None:
    refused = load("\n@app.route()\ndef hello(other):\n    return ''\n")
    empty = load("")

    assert "all 1 that the app has are refused" in refused.warnings[-1]
    assert "Decorate a function of the app" in empty.warnings[-1]


async def test_fastapis_request_without_its_extension_is_explained(load: Load) -> None:
    host = load(
        "from starlette.requests import Request\n"
        "@app.route()\nasync def stream(req: Request) -> str:\n    return ''\n"
    )
    (refusal,) = host.refused
    assert "Install azurefunctions-extensions-http-fastapi" in refusal.reason
    assert "from azurefunctions.extensions.http.fastapi" in refusal.reason
