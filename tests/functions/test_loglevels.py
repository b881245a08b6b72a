"""host.json's levels: the categories of the original, and which records are kept."""

import io
import logging
from collections.abc import Callable, Iterator

import pytest
from tests.functions.apps import call

from hubbub.errors import ConfigError
from hubbub.functions.context import InvocationFilter
from hubbub.functions.host import Host, HostOptions
from hubbub.functions.loglevels import LogLevels, category, limit_logs

Load = Callable[..., Host]

APP = """
import logging
logging.warning("imported")

@app.route()
async def hello(req):
    logging.getLogger("mine").info("info of hello")
    logging.error("error of hello")
    return "ok"

@app.route()
def other(req):
    logging.debug("debug of other")
    return "ok"
"""


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler like the command line's writes, and the root's level put back."""
    root = logging.getLogger()
    before = root.level
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(InvocationFilter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.parametrize(
    ("levels", "kept", "lost"),
    [
        ({}, ["imported", "Executed 'Functions.hello'", "info of hello"], ["debug of other"]),
        ({"default": "Error"}, ["error of hello"], ["imported", "Executed", "info of hello"]),
        ({"Function": "Warning"}, ["imported", "error of hello"], ["Executed", "info of hello"]),
        ({"Function.hello": "None"}, ["Executed 'Functions.other'"], ["of hello", ".hello'"]),
        ({"function.hello.user": "error", "Function.hello": "Information"},
         ["Executed 'Functions.hello'", "error of hello"], ["info of hello"]),
        ({"Function.other.User": "Debug"}, ["debug of other", "info of hello"], []),
        ({"Function.*": "Critical", "default": "Trace"}, ["imported"], ["of hello", "Executed"]),
    ],
)  # fmt: skip
async def test_records_are_kept_by_the_level_of_their_category(
    load: Load, written: io.StringIO, levels: dict[str, str], kept: list[str], lost: list[str]
) -> None:
    host = load(
        APP,
        files={"host.json": {"version": "2.0", "logging": {"logLevel": levels}}},
        options=HostOptions(limit_logs=limit_logs),
    )
    await call(host, "GET", "/api/hello")
    await call(host, "GET", "/api/other")

    text = written.getvalue()
    assert [words for words in kept if words not in text] == []
    assert [words for words in lost if words in text] == []


@pytest.mark.parametrize(
    ("logger", "function", "name"),
    [
        ("hubbub.functions", "hello", "Function.hello"),
        ("root", "hello", "Function.hello.User"),
        ("hubbub.functions", "", "Host.General"),
        ("hubbub.functions.timers", "", "Host.Triggers.Timer"),
        ("uvicorn.error", "", "uvicorn.error"),
    ],
)
def test_categories_are_the_originals(logger: str, function: str, name: str) -> None:
    assert category(logger, function) == name


def test_a_level_that_is_none_is_the_operators_fault() -> None:
    with pytest.raises(ConfigError, match=r"'logging.logLevel.Function' is 'Loud'; write one of"):
        LogLevels({"Function": "Loud"})


async def test_an_app_may_log_with_names_that_the_host_uses(
    load: Load, written: io.StringIO
) -> None:
    host = load(
        """
import logging

@app.route()
def hello(req):
    logging.warning("of the app", extra={"function": ["a", "list"]})
    return "ok"
""",
        files={"host.json": {"version": "2.0", "logging": {"logLevel": {"default": "Debug"}}}},
        options=HostOptions(limit_logs=limit_logs),
    )

    assert (await call(host, "GET", "/api/hello")).text == "ok"
    assert "of the app" in written.getvalue()
