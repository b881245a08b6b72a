"""A function's parameters against its bindings: what loads, and the words when it does not."""

from collections.abc import Callable

import pytest
from tests.functions.apps import call

from hubbub.functions.host import Host

Load = Callable[..., Host]

OUT = '@app.generic_output_binding(arg_name="out", type="signalR", hubName="h")\n'
IN = '@app.generic_input_binding(arg_name="info", type="signalRConnectionInfo", hubName="h")\n'


@pytest.mark.parametrize(
    ("decorators", "signature", "text"),
    [
        ("", "(req, extra)", ("the following parameters are declared in Python but not in the "
         "function definition (function.json or function decorators):  {'extra'}")),
        ("", "(request)", ("{'request'}. The bindings {'req'} have no parameters: give both the "
         "same names.")),
        ("", "(req, **rest)", "{'rest'}"),
        (OUT, "(req)", ("Extra parameters in binding definition — the following parameters are "
         "declared as bindings but are not present in Python: {'out'}")),
        ("", "(req) -> None", ('Python return annotation "NoneType" does not match binding type '
         '"http"')),
        ("", "(req) -> dict", 'Python return annotation "dict" does not match'),
        ("", "(req) -> func.Out[str]", "return annotation should not be azure.functions.Out"),
        ("", "(req) -> 'str | None'", "has invalid non-type return annotation"),
        ("", "(req: str)", 'binding type "httpTrigger"'),
        ("", "(req: 'func.HttpRequest | None')", "binding req has invalid non-type annotation"),
        ("", "(req: 'NoSuchName')", "its annotations cannot be read: name 'NoSuchName'"),
        ("", "(req, context: str)", 'the "context" parameter is expected to be of type'),
        (OUT, "(req, out: str)", 'binding out is declared to have the "out" direction'),
        (OUT, "(req, out: func.Out)", "binding out has invalid Out annotation"),
        (OUT, "(req, out: func.Out[dict])", 'binding type "signalR"'),
        (IN, "(req, info: func.Out[str])", 'binding info is declared to have the "in" direction'),
        (IN, "(req, info: dict)", 'binding type "signalRConnectionInfo"'),
    ],
)  # fmt: skip
async def test_a_declaration_that_does_not_fit_is_refused(
    load: Load, decorators: str, signature: str, text: str
) -> None:
    host = load(f"\n@app.route()\n{decorators}def bad{signature}: ...\n")

    assert host.functions == ()
    assert host.refused[0].reason.startswith("cannot load the bad function: ")
    assert text in host.refused[0].reason


@pytest.mark.parametrize(
    ("decorators", "signature"),
    [
        ("", "(req)"),
        ("", "(req: func.HttpRequest, context: func.Context) -> func.HttpResponse"),
        ("", "(req: 'func.HttpRequest', context) -> 'str'"),
        (OUT, "(req, out)"),
        (OUT, "(req, out: func.Out[str])"),
        (OUT, "(req, out: func.Out[bytes])"),
        (IN, "(req, info: str)"),
        (IN, "(req, info: bytes)"),
    ],
)
async def test_a_declaration_that_fits_loads(load: Load, decorators: str, signature: str) -> None:
    host = load(f"\n@app.route()\n{decorators}def good{signature}: ...\n")

    assert [function.name for function in host.functions] == ["good"]


async def test_a_decorated_function_keeps_its_parameters(load: Load) -> None:
    host = load(
        """
import functools

def shouted(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs).upper()
    return wrapper

@app.route()
@shouted
def hello(req: func.HttpRequest) -> str:
    return "hi"
"""
    )
    assert (await call(host, "GET", "/api/hello")).text == "HI"
