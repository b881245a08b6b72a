"""`AsgiFunctionApp` and `WsgiFunctionApp`: served in parts, with what the original adds."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.functions.apps import Answer, call

from hubbub.functions.app import create_app
from hubbub.functions.host import Host

Load = Callable[..., Host]

HEAD = "import azure.functions as func\nimport stage_of_test\n"
FOOT = """
class App(func.AsgiFunctionApp):
    def __del__(self):
        pass  # the library's own would start an event loop while this one runs

app = App(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)
"""
ASGI = """
import json

async def page(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        stage_of_test.events.append("startup")
        scope["state"]["greeting"] = "hi"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        stage_of_test.events.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    answer = json.dumps({
        "path": scope["path"], "root": scope["root_path"], "body": body.decode(),
        "greeting": scope["state"]["greeting"],
        "function": scope["azure_functions.function_name"],
    })
    await send({"type": "http.response.start", "status": 201,
                "headers": [(b"Content-Type", b"application/json"), (b"set-cookie", b"a=1"),
                            (b"set-cookie", b"b=2")]})
    await send({"type": "http.response.body", "body": answer.encode()})
"""


def asgi(load: Load, page: str, **options: Any) -> Host:
    return load(HEAD + page + FOOT, header="", **options)


async def test_an_asgi_app_gets_the_whole_path_and_a_lifespan(load: Load, stage: Any) -> None:
    stage.events = []
    host = asgi(load, ASGI)

    first = await call(host, "PUT", "/api/a/b", chunks=[b"one ", b"two"])
    await call(host, "GET", "/api/")
    await host.close()

    assert first.status == 201
    assert first.json() == {
        "path": "/api/a/b", "root": "", "body": "one two", "greeting": "hi",
        "function": "http_app_func",
    }  # fmt: skip
    assert [value for name, value in first.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert stage.events == ["startup", "shutdown"]


STREAM = """
async def page(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (b"one", b"two"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await stage_of_test.release.wait()
    await send({"type": "http.response.body", "body": b""})
"""


def scope(method: str = "GET", path: str = "/api/x") -> dict[str, Any]:
    return {
        "type": "http", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "headers": [(b"origin", b"http://page")],
        "server": ("127.0.0.1", 7071),
    }  # fmt: skip


async def test_parts_of_a_response_are_sent_as_they_are_made_with_the_hosts_headers(
    load: Load, stage: Any
) -> None:
    stage.release = asyncio.Event()
    host = asgi(
        load,
        STREAM,
        files={
            "host.json": {"version": "2.0", "extensions": {"http": {"customHeaders": {"X": "1"}}}},
            "local.settings.json": {"Host": {"CORS": "http://page"}},
        },
    )
    sent: asyncio.Queue[Any] = asyncio.Queue()

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    answering = asyncio.create_task(create_app(host)(scope(), receive, sent.put))
    start, part = await sent.get(), await sent.get()

    assert (b"access-control-allow-origin", b"http://page") in start["headers"]
    assert (b"x", b"1") in start["headers"]
    assert part["body"] == b"one"
    assert not answering.done()
    stage.release.set()
    await answering
    assert [(await sent.get())["body"] for _ in range(2)] == [b"two", b""]


async def test_an_asgi_app_whose_start_fails_is_a_500_each_time(
    load: Load, stage: Any, log: pytest.LogCaptureFixture
) -> None:
    host = asgi(
        load,
        """
async def page(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
""",
    )
    statuses = [(await call(host, "GET", "/api/x")).status for _ in range(2)]

    assert statuses == [500, 500]
    assert "ASGI middleware startup failed. The application says: no database" in log.text


async def test_an_asgi_app_that_fails_before_its_answer_is_a_500(
    load: Load, stage: Any, log: pytest.LogCaptureFixture
) -> None:
    host = asgi(load, 'async def page(scope, receive, send):\n    raise ValueError("boom")\n')

    assert (await call(host, "GET", "/api/x")).status == 500
    assert "Executed 'Functions.http_app_func' (Failed" in log.text
    assert "ValueError: boom" in log.text


async def test_a_body_over_the_limit_is_refused_while_it_is_read(load: Load, stage: Any) -> None:
    stage.events = []
    host = asgi(load, ASGI, settings={"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "5"})

    chunks = await call(host, "POST", "/api/x", chunks=[b"1234", b"5678"])
    declared = await call(host, "POST", "/api/x", headers=[("Content-Length", "6")])

    assert (chunks.status, declared.status) == (413, 413)
    assert (await call(host, "POST", "/api/x", body=b"12345")).status == 201


WSGI = """
def page(environ, start_response):
    body = environ["wsgi.input"].read()
    write = start_response("202 Fine", [("Content-Type", "text/plain"), ("X-Path",
                                         environ["PATH_INFO"])])
    yield environ["REQUEST_METHOD"].encode() + b" "
    yield b""
    yield body + b" " + environ["QUERY_STRING"].encode()
    yield (" " + environ["HTTP_X_A"] + " " + environ["azure_functions.function_name"]).encode()

app = func.WsgiFunctionApp(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)
"""


async def wsgi(load: Load, page: str, **request: Any) -> Answer:
    return await call(load(HEAD + page, header=""), "POST", "/api/caf%C3%A9?x=1", **request)


async def test_a_wsgi_app_answers_in_parts(load: Load, stage: Any) -> None:
    answer = await wsgi(load, WSGI, headers=[("X-A", "1"), ("X-A", "2")], body=b"body")

    assert (answer.status, answer.text) == (202, "POST body x=1 1,2 http_app_func")
    assert answer.header("x-path") == "/api/café".encode().decode("latin-1")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('raise ValueError("boom")', "ValueError: boom"),
        ("return []", "has not called start_response"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ('start_response("200 OK", []); start_response("200 OK", []); return []',
         "start_response was called twice"),
        ('start_response("nonsense", []); return []', "ValueError"),
    ],
)  # fmt: skip
async def test_a_wsgi_app_that_fails_is_a_500(
    load: Load, stage: Any, log: pytest.LogCaptureFixture, body: str, words: str
) -> None:
    page = f"\ndef page(environ, start_response):\n    {body}\n"
    page += "\napp = func.WsgiFunctionApp(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)\n"

    assert (await wsgi(load, page)).status == 500
    assert words in log.text


async def test_a_wsgi_app_may_answer_500_itself_and_is_closed(load: Load, stage: Any) -> None:
    stage.closed = 0
    page = """
class Parts:
    def __iter__(self):
        return iter([b"sorry"])
    def close(self):
        stage_of_test.closed += 1

def page(environ, start_response):
    start_response("500 No", [], None)
    return Parts()

app = func.WsgiFunctionApp(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)
"""
    answer = await wsgi(load, page)

    assert (answer.status, answer.text) == (500, "sorry")
    assert stage.closed == 1


async def test_a_wsgi_app_without_an_end_ends_when_its_client_leaves(
    load: Load, stage: Any, log: pytest.LogCaptureFixture
) -> None:
    loop, gone, stage.ended = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    stage.leave = lambda: loop.call_soon_threadsafe(gone.set)
    page = """
def page(environ, start_response):
    start_response("200 OK", [])
    try:
        while True:
            yield b"tick"
            stage_of_test.leave()
    finally:
        stage_of_test.ended.set()

app = func.WsgiFunctionApp(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)
"""
    async with asyncio.timeout(30):
        await wsgi(load, page, gone=gone)

    assert stage.ended.is_set()
    assert "the request is over" not in log.text


async def test_half_a_body_does_not_reach_a_wsgi_app(load: Load, stage: Any) -> None:
    stage.called = False
    page = "\ndef page(environ, start_response):\n    stage_of_test.called = True\n"
    page += "\napp = func.WsgiFunctionApp(app=page, http_auth_level=func.AuthLevel.ANONYMOUS)\n"
    host = load(HEAD + page, header="")
    messages = [
        {"type": "http.request", "body": b"hal", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None: ...

    scope = {"type": "http", "method": "POST", "path": "/api/x", "headers": []}
    await create_app(host)(scope, receive, send)

    assert not stage.called


async def test_the_older_middleware_of_a_folder_is_served_too(load: Load, stage: Any) -> None:
    binding = {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous",
               "route": "{*rest}"}  # fmt: skip
    stage.events = []
    host = load(
        "",
        header="",
        settings={"PYTHON_SCRIPT_FILE_NAME": "none.py"},
        files={
            "web/function.json": {"scriptFile": "__init__.py", "bindings": [
                binding, {"type": "http", "direction": "out", "name": "$return"}]},
            "web/__init__.py": HEAD + ASGI + "\nmain = func.AsgiMiddleware(page).main\n",
        },
    )  # fmt: skip
    answer = await call(host, "GET", "/api/deep/path")

    assert json.loads(answer.body)["path"] == "/api/deep/path"


async def test_keys_are_asked_for_before_a_web_app_is(load: Load, tmp_path: Any) -> None:
    from hubbub.functions.host import HostOptions

    page = "async def page(scope, receive, send):\n    raise SystemExit\n"
    source = HEAD.replace("import stage_of_test\n", "") + page + FOOT
    host = load(
        source.replace("ANONYMOUS", "FUNCTION"),
        header="",
        options=HostOptions(data=tmp_path / "data", checks_keys=True),
    )
    assert (await call(host, "GET", "/api/x")).status == 401
