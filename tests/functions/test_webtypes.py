"""Functions with FastAPI's types: what they get, and what becomes of their results."""

import asyncio
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import FASTAPI, Service, call

from hubbub.functions.host import Host, HostOptions

# Not imported here: the host asks whether its app has done that.
pytestmark = pytest.mark.skipif(
    find_spec("azurefunctions") is None,
    reason="azurefunctions-extensions-http-fastapi is not installed",
)

Load = Callable[..., Host]
SEEN = """
@app.route(route="items/{id:int}/{rest?}", methods=["PUT"])
async def items(req: Request, context: func.Context) -> dict:
    return {"type": type(req).__module__, "params": req.path_params, "url": str(req.url),
            "query": req.query_params["a"], "body": await req.json(), "method": req.method,
            "header": req.headers["X-A"], "peer": req.client.host,
            "function": context.function_name}
"""


async def test_a_function_gets_fastapis_request(load: Load) -> None:
    host = load(FASTAPI + SEEN)

    answer = await call(host, "PUT", "/api/items/7?a=b", headers=[("X-A", "1")], body=b'{"n": 1}')

    assert answer.json() == {
        "type": "starlette.requests", "params": {"id": "7"}, "query": "b", "method": "PUT",
        "url": "http://localhost:7071/api/items/7?a=b", "body": {"n": 1}, "header": "1",
        "peer": "127.0.0.1", "function": "items",
    }  # fmt: skip


RESULTS = """
from pydantic import BaseModel

class Item(BaseModel):
    name: str
    size: int = 1

"""


@pytest.mark.parametrize(
    ("annotation", "value", "status", "kind", "body"),
    [
        ("str", '"text"', 200, "application/json", b'"text"'),
        ("dict", '{"a": Item(name="x")}', 200, "application/json",
         b'{"a":{"name":"x","size":1}}'),
        ("bool", "True", 200, "application/json", b"true"),
        ("int", "1000", 200, "application/json", b"1000"),
        ("float", "1.5", 200, "application/json", b"1.5"),
        ("list", '["a", 1]', 200, "application/json", b'["a",1]'),
        ("Item", 'Item(name="x")', 200, "application/json", b'{"name":"x","size":1}'),
        (None, 'b"bytes"', 200, "application/json", b'"bytes"'),
        ("Response", 'Response(b"\\x00", 201, media_type="image/x")', 201, "image/x", b"\x00"),
        ("Response", "Response(status_code=204)", 204, None, b""),
        ("HTMLResponse", 'HTMLResponse("<p>")', 200, "text/html; charset=utf-8", b"<p>"),
        ("PlainTextResponse", 'PlainTextResponse("p", 404)', 404,
         "text/plain; charset=utf-8", b"p"),
        ("JSONResponse", 'JSONResponse({"a": 1})', 200, "application/json", b'{"a":1}'),
        ("RedirectResponse", 'RedirectResponse("/x", 302)', 302, None, b""),
        ("FileResponse", 'FileResponse(__file__.replace("function_app.py", "a.txt"))', 200,
         "text/plain; charset=utf-8", b"file"),
        ("StreamingResponse", 'StreamingResponse(iter(["a", b"b"]), 202)', 202, None, b"ab"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "async "])
async def test_a_result_becomes_what_fastapi_makes_of_it(
    load: Load, prefix: str, annotation: str | None, value: str, status: int, kind: str | None,
    body: bytes,
) -> None:  # fmt: skip
    arrow = f" -> {annotation}" if annotation else ""
    source = f"@app.route()\n{prefix}def give(req: Request){arrow}:\n    return {value}\n"
    host = load(FASTAPI + RESULTS + source, files={"a.txt": "file"})

    answer = await call(host, "GET", "/api/give")

    assert host.warnings == ()
    assert (answer.status, answer.header("content-type"), answer.body) == (status, kind, body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "has returned NoneType. Return a Response of"),
        ('return func.HttpResponse("x")', "has returned HttpResponse. Return a Response of"),
        ('return float("nan")', "ValueError"),
        ("raise KeyError('lost')", "KeyError: 'lost'"),
        ("return StreamingResponse(1 / 0 for _ in [1])", "ZeroDivisionError"),
    ],
)
async def test_a_function_with_fastapis_types_that_fails_is_a_500(
    load: Load, log: pytest.LogCaptureFixture, body: str, words: str
) -> None:
    host = load(f"{FASTAPI}@app.route()\nasync def fail(req: Request):\n    {body}\n")

    answer = await call(host, "GET", "/api/fail")

    if "Streaming" not in body:  # which has begun
        assert (answer.status, answer.body) == (500, b"")
    assert "Executed 'Functions.fail' (Failed" in log.text
    assert words in log.text


async def test_an_http_exception_of_fastapi_is_its_answer(load: Load) -> None:
    host = load(
        FASTAPI + "from fastapi import HTTPException\n@app.route()\ndef refuse(req: Request):\n"
        '    raise HTTPException(409, "taken", {"X-Why": "name"})\n'
    )
    answer = await call(host, "GET", "/api/refuse")

    assert (answer.status, answer.json()) == (409, {"detail": "taken"})
    assert answer.header("x-why") == "name"


BOTH = """
@app.route()
def plain(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.params["a"])

@app.route()
def told(req) -> func.HttpResponse:
    return func.HttpResponse(req.params["a"])

@app.route()
def bare(req):
    return req.query_params["a"]

@app.route()
def wrong(req: Request) -> func.HttpResponse: ...
"""


async def test_both_kinds_of_requests_may_be_in_one_app(load: Load) -> None:
    host = load(FASTAPI + BOTH)

    texts = [(await call(host, "GET", f"/api/{n}?a=b")).text for n in ("plain", "told", "bare")]

    assert texts == ["b", "b", '"b"']
    (refusal,) = host.refused
    assert refusal.name == "wrong"
    assert "write -> Response of azurefunctions.extensions.http.fastapi" in refusal.reason


async def test_without_the_package_a_bare_request_is_that_of_the_library(load: Load) -> None:
    host = load('@app.route()\ndef bare(req):\n    return req.params["a"]\n')

    assert (await call(host, "GET", "/api/bare?a=b")).text == "b"


SIGNALR = """
@app.route(auth_level="FUNCTION")
@app.generic_input_binding(arg_name="info", type="signalRConnectionInfo", hubName="h",
    connectionStringSetting="C", userId="{query.user}")
@app.generic_output_binding(arg_name="out", type="signalR", hubName="h",
    connectionStringSetting="C")
async def tell(req: Request, info: str, out: func.Out[str], context: func.Context):
    out.set(json.dumps({"target": "news", "arguments": [await req.json()]}))
    return Response(info, media_type="application/json")
"""


async def test_other_bindings_and_keys_work_beside_fastapis_types(
    load: Load, service: Service, tmp_path: Path
) -> None:
    host = load(
        FASTAPI + SIGNALR,
        settings={"C": service.connection_string},
        options=HostOptions(data=tmp_path / "data", checks_keys=True),
    )
    key = next(iter(host.keys().host().function.values()))
    url = "/api/tell?user=ann"

    assert (await call(host, "POST", url, body=b"1")).status == 401
    answer = await call(host, "POST", url, body=b"1", headers=[("x-functions-key", key)])

    assert answer.json()["url"].startswith(service.url)
    assert [body for _, _, body in service.calls] == [{"Target": "news", "Arguments": [1]}]

    service.status = 500
    assert (await call(host, "POST", f"{url}&code={key}", body=b"1")).status == 500


OUT = """
@app.generic_trigger(arg_name="req", type="httpTrigger", authLevel="anonymous")
@app.generic_output_binding(arg_name="res", type="http")
def give(req: Request, res: func.Out[Response]):
    if "a" in req.query_params:
        res.set(Response("out", 202))
"""


async def test_a_response_may_be_set(load: Load) -> None:
    host = load(FASTAPI + OUT)

    answers = [await call(host, "GET", f"/api/give{query}") for query in ("?a", "")]

    assert [(answer.status, answer.text) for answer in answers] == [(202, "out"), (204, "")]


async def test_the_admin_api_starts_a_function_with_fastapis_request(
    load: Load, stage: Any
) -> None:
    stage.seen = asyncio.Queue()
    host = load(
        FASTAPI + "import stage_of_test as stage\n@app.route()\n"
        "async def note(req: Request):\n"
        "    stage.seen.put_nowait((await req.json(), dict(req.query_params), req.method))\n"
    )
    given = {"method": "PUT", "query": {"a": "b"}, "body": {"n": 1}}
    answer = await call(
        host, "POST", "/admin/functions/note", headers=[("Content-Type", "application/json")],
        body=json.dumps({"input": json.dumps(given)}).encode(),
    )  # fmt: skip

    assert answer.status == 202
    assert await asyncio.wait_for(stage.seen.get(), 30) == ({"n": 1}, {"a": "b"}, "PUT")
