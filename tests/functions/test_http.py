"""HTTP triggers: what a function is given and what its result becomes on the wire."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import call

from hubbub.functions.host import Host, HostOptions

Load = Callable[..., Host]

SHOW = """
@app.route(route="show/{id?}")
def show(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps({
        "method": req.method, "url": req.url, "headers": dict(req.headers),
        "params": dict(req.params), "route": dict(req.route_params),
        "body": req.get_body().decode(), "form": dict(req.form),
    }))
"""


def returning(expression: str) -> str:
    return f"\n@app.route()\ndef hello(req):\n    return {expression}\n"


@pytest.mark.parametrize("path", ["/api/hello", "/API/HELLO", "/api/hello/"])
async def test_a_function_without_a_route_is_reached_by_its_name(load: Load, path: str) -> None:
    host = load(returning('"ok"'))

    answer = await call(host, "GET", path)

    assert (answer.status, answer.text) == (200, "ok")
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert answer.header("content-length") == "2"


async def test_a_function_sees_the_request_as_it_was_sent(load: Load) -> None:
    host = load(SHOW)

    answer = await call(
        host,
        "POST",
        "/api/show/a%20b?a=1&a=2&b=&code=key",
        headers=[
            ("X-One", "1"),
            ("x-one", "2"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ],
        body=b"name=bob",
    )

    seen = json.loads(answer.text)
    assert seen["method"] == "POST"
    assert seen["url"] == "http://localhost:7071/api/show/a%20b?a=1&a=2&b=&code=key"
    assert seen["headers"]["x-one"] == "1,2"
    assert seen["params"] == {"a": "1,2", "code": "key"}
    assert seen["route"] == {"id": "a b"}
    assert seen["body"] == "name=bob"
    assert seen["form"] == {"name": "bob"}


async def test_a_request_is_the_official_one_also_where_it_is_copied_or_asked_for_nonsense(
    load: Load, stage: Any
) -> None:
    host = load(
        """
import copy, stage_of_test

@app.route()
def keep(req: func.HttpRequest) -> str:
    stage_of_test.isinstance = isinstance(req, func.HttpRequest)
    stage_of_test.untouched = copy.copy(req)
    stage_of_test.nonsense = hasattr(req, "nonsense")
    form = req.form
    stage_of_test.same = not hasattr(req, "nonsense") and req.form is form
    stage_of_test.touched = copy.copy(req)
    return type(req).__name__
""",
    )
    kind = ("content-type", "application/x-www-form-urlencoded")
    answer = await call(host, "POST", "/api/keep?q=1", headers=[kind], body=b"name=bob")

    assert answer.text == "HttpRequest"
    assert (stage.isinstance, stage.nonsense, stage.same) == (True, False, True)
    for kept in (stage.untouched, stage.touched):
        assert (kept.method, kept.params["q"], kept.form["name"]) == ("POST", "1", "bob")
        assert (kept.url, kept.get_body()) == ("http://localhost:7071/api/keep?q=1", b"name=bob")


async def test_an_absent_optional_parameter_is_no_route_parameter(load: Load) -> None:
    answer = await call(load(SHOW), "GET", "/api/show")

    assert json.loads(answer.text)["route"] == {}


async def test_a_body_in_chunks_arrives_whole(load: Load) -> None:
    answer = await call(load(SHOW), "POST", "/api/show", chunks=[b"one ", b"two ", b"three"])

    assert json.loads(answer.text)["body"] == "one two three"


async def test_a_body_that_is_no_json_is_the_documented_value_error(load: Load) -> None:
    host = load(
        """
@app.route()
def parse(req: func.HttpRequest) -> str:
    try:
        return str(req.get_json())
    except ValueError as error:
        return str(error)
"""
    )
    broken = await call(host, "POST", "/api/parse", body=b"{")
    empty = await call(host, "POST", "/api/parse")
    fine = await call(host, "POST", "/api/parse", body=b'{"a": 1}')

    assert broken.text == empty.text == "HTTP request does not contain valid JSON data"
    assert fine.text == "{'a': 1}"


async def test_a_method_that_is_not_listed_is_not_found(load: Load) -> None:
    host = load('\n@app.route(methods=["POST"])\ndef hello(req):\n    return "ok"\n')

    wrong, right = await call(host, "GET", "/api/hello"), await call(host, "POST", "/api/hello")

    assert (wrong.status, wrong.body) == (404, b"")
    assert right.status == 200


@pytest.mark.parametrize(
    ("expression", "status", "content_type", "body"),
    [
        ('func.HttpResponse("hi")', 200, "text/plain; charset=utf-8", b"hi"),
        ('func.HttpResponse(b"\\xff")', 200, "text/plain; charset=utf-8", b"\xff"),
        ('func.HttpResponse("{}", mimetype="application/json")', 200, "application/json", b"{}"),
        ('func.HttpResponse("é", mimetype="text/html", charset="latin-1")', 200,
         "text/html; charset=latin-1", b"\xe9"),
        ('func.HttpResponse("x", headers={"Content-Type": "a/b"})', 200, "a/b", b"x"),
        ("func.HttpResponse(status_code=418)", 418, "text/plain; charset=utf-8", b""),
        ('"not json {"', 200, "text/plain; charset=utf-8", b"not json {"),
        ("'{\"a\":1}'", 200, "text/plain; charset=utf-8", b'{"a":1}'),
        ("'{\"status\":201,\"body\":\"x\"}'", 201, "text/plain; charset=utf-8", b"x"),
        ("'{\"statusCode\":\"202\",\"Body\":{\"a\":1}}'", 202, "application/json; charset=utf-8",
         b'{"a": 1}'),
        ("'{\"status\":\"fine\",\"body\":null,\"headers\":{\"Content-Type\":\"a/b\"}}'", 200,
         "a/b", b""),
    ],
)  # fmt: skip
async def test_a_result_becomes_a_response(
    load: Load, expression: str, status: int, content_type: str, body: bytes
) -> None:
    answer = await call(load(returning(expression)), "GET", "/api/hello")

    assert (answer.status, answer.body) == (status, body)
    assert answer.header("content-type") == content_type


async def test_a_response_keeps_every_cookie_and_the_last_of_other_headers(load: Load) -> None:
    host = load(
        """
@app.route()
def hello(req):
    response = func.HttpResponse("x", headers={"X-A": "1", "Content-Length": "99"})
    response.headers.add("X-A", "2")
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2; HttpOnly")
    return response
"""
    )
    answer = await call(host, "GET", "/api/hello")

    assert answer.header("x-a") == "2"
    assert answer.header("content-length") == "1"
    cookies = [value for name, value in answer.headers if name == "set-cookie"]
    assert cookies == ["a=1; Path=/", "b=2; HttpOnly"]


async def test_cookies_of_a_response_object_become_headers(load: Load) -> None:
    value = {"body": "", "cookies": [{"name": "a", "value": "1", "path": "/", "httpOnly": True}]}

    answer = await call(load(returning(repr(json.dumps(value)))), "GET", "/api/hello")

    assert answer.header("set-cookie") == "a=1; HttpOnly; Path=/"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("None", 'unsupported type "http" for Python type "NoneType"'),
        ('{"a": 1}', 'unsupported type "http" for Python type "dict"'),
        ('b"x"', 'unsupported type "http" for Python type "bytes"'),
        ("func.HttpResponse(status_code=99999)", "99999"),
        ('func.HttpResponse("x", headers={"X-A": "☃"})', "X-A"),
        ('func.HttpResponse("x", headers={"X A": "1"})', "x a"),
        ('\'{"body": "", "headers": {"X-A": "1\\\\r\\\\nX-B: 2"}}\'', "X-A"),
    ],
)
async def test_a_result_that_is_no_response_is_a_500_with_its_reason_in_the_log(
    load: Load, log: pytest.LogCaptureFixture, expression: str, words: str
) -> None:
    answer = await call(load(returning(expression)), "GET", "/api/hello")

    assert (answer.status, answer.body) == (500, b"")
    assert words.lower() in log.text.lower()


async def test_an_out_response_counts_and_one_never_set_is_no_content(load: Load) -> None:
    host = load(
        """
@app.route(binding_arg_name="res")
def hello(req: func.HttpRequest, res: func.Out[func.HttpResponse]):
    if req.params.get("set"):
        res.set(func.HttpResponse("first"))
        res.set(func.HttpResponse("last", status_code=201))
"""
    )
    answer = await call(host, "GET", "/api/hello?set=1")
    empty = await call(host, "GET", "/api/hello")

    assert (answer.status, answer.text) == (201, "last")
    assert (empty.status, empty.body) == (204, b"")
    assert empty.header("content-length") is None


async def test_an_unknown_path_is_an_empty_404_and_the_root_a_page(load: Load) -> None:
    host = load(returning('"ok"'))

    missing, home = await call(host, "GET", "/api/none"), await call(host, "GET", "/")

    assert (missing.status, missing.body) == (404, b"")
    assert home.status == 200
    assert "Your Azure Function App is up and running." in home.text


PAGES = """
@app.route(route="index", methods=["GET"])
def index(req):
    return ""

@app.route(route="<b>&", methods=["GET", "POST"])
def both(req):
    return ""

@app.route(route="anything")
def every(req):
    return ""

@app.route(route="items/{id}", methods=["GET"])
def item(req):
    return ""

@app.route(route="post", methods=["POST"])
def post(req):
    return ""
"""


async def test_the_page_of_the_root_links_what_a_browser_can_open(load: Load) -> None:
    home = await call(load(PAGES), "GET", "/")

    assert sorted(re.findall('href="(.*?)"', home.text)) == [
        "/api/%3Cb%3E%26",
        "/api/anything",
        "/api/index",
    ]
    assert "<b>" not in home.text


async def test_the_page_of_the_root_tells_nothing_where_keys_are_asked_for(
    load: Load, tmp_path: Path
) -> None:
    host = load(PAGES, options=HostOptions(data=tmp_path / "data", checks_keys=True))

    assert "href" not in (await call(host, "GET", "/")).text


async def test_the_page_of_the_root_can_be_switched_off_or_replaced(load: Load) -> None:
    off = load(returning('"ok"'), {"AzureWebJobsDisableHomepage": "true"})
    assert (await call(off, "GET", "/")).status == 204

    own = load(
        '\n@app.route(route="{*rest}")\ndef hello(req):\n    return "own"\n',
        files={"host.json": {"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}},
    )
    assert (await call(own, "GET", "/")).text == "own"
    assert (await call(own, "GET", "/a/b")).text == "own"


async def test_a_body_over_the_limit_is_refused_whether_declared_or_not(load: Load) -> None:
    host = load(SHOW, {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "10"})

    declared = await call(host, "POST", "/api/show", headers=[("Content-Length", "11")])
    chunked = await call(host, "POST", "/api/show", chunks=[b"123456", b"78901"])
    exact = await call(host, "POST", "/api/show", chunks=[b"123456", b"7890"])

    assert (declared.status, chunked.status, exact.status) == (413, 413, 200)


async def test_endless_urls_and_headers_are_refused(load: Load) -> None:
    host = load(SHOW)

    assert (await call(host, "GET", "/api/show?" + "a" * 9000)).status == 414
    assert (await call(host, "GET", "/api/show", headers=[("x", "a" * 33000)])).status == 431


async def test_custom_headers_are_added_where_the_response_has_none_of_that_name(
    load: Load,
) -> None:
    headers = {"X-Frame-Options": "DENY", "Content-Type": "never/used"}
    host = load(
        returning('"ok"'),
        files={"host.json": {"version": "2.0", "extensions": {"http": {"customHeaders": headers}}}},
    )
    answer, missing = await call(host, "GET", "/api/hello"), await call(host, "GET", "/none")

    assert answer.header("x-frame-options") == missing.header("x-frame-options") == "DENY"
    assert answer.header("content-type") == "text/plain; charset=utf-8"


async def test_the_host_says_that_it_lives_and_what_it_does_not_run(load: Load) -> None:
    host = load(
        """
@app.queue_trigger(arg_name="msg", queue_name="q", connection="AzureWebJobsStorage")
def work(msg: func.QueueMessage) -> None:
    pass
"""
    )
    ping = await call(host, "GET", "/admin/host/ping")
    status = json.loads((await call(host, "GET", "/admin/host/status")).text)

    assert (ping.status, ping.body) == (200, b"")
    assert status["state"] == "Running"
    assert "queueTrigger" in status["errors"][0]
    assert (await call(host, "GET", "/admin/host/none")).status == 404


async def test_an_asgi_app_runs_with_the_default_prefix(load: Load) -> None:
    host = load(
        """
import azure.functions as func

async def page(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return
    body = f"{scope['method']} {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})

class App(func.AsgiFunctionApp):
    def __del__(self):
        pass  # the library's own would start an event loop while this one runs

app = App(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)
""",
        header="",
    )
    assert (await call(host, "PUT", "/api/a/b")).text == "PUT /api/a/b"
