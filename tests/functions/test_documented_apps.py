"""Apps with decorators as the public documentation shows them; and hostile requests."""

import json
from collections.abc import Callable

import pytest
from tests.functions.apps import Service, call

from hubbub.functions.host import Host

Load = Callable[..., Host]

QUICKSTART = """
import azure.functions as func
import datetime
import json
import logging

app = func.FunctionApp()

@app.route(route="HttpExample", auth_level=func.AuthLevel.ANONYMOUS)
def HttpExample(req: func.HttpRequest) -> func.HttpResponse:
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
        return func.HttpResponse(f"Hello, {name}. This HTTP triggered function executed successfully.")
    else:
        return func.HttpResponse(
             "This HTTP triggered function executed successfully. Pass a name in the query string "
             "or in the request body for a personalized response.",
             status_code=200
        )
"""  # noqa: E501  as it stands
SERVERLESS = """
import azure.functions as func
import os
import json

app = func.FunctionApp()

etag = ''

@app.route(route="index", auth_level=func.AuthLevel.ANONYMOUS)
def index(req: func.HttpRequest) -> func.HttpResponse:
    f = open(os.path.dirname(os.path.realpath(__file__)) + '/content/index.html')
    return func.HttpResponse(f.read(), mimetype='text/html')

@app.route(route="negotiate", auth_level=func.AuthLevel.ANONYMOUS, methods=["POST"])
@app.generic_input_binding(arg_name="connectionInfo", type="signalRConnectionInfo",
    hubName="serverless", connectionStringSetting="AzureSignalRConnectionString")
def negotiate(req: func.HttpRequest, connectionInfo) -> func.HttpResponse:
    return func.HttpResponse(connectionInfo)

@app.timer_trigger(schedule="*/1 * * * *", arg_name="myTimer",
              run_on_startup=False,
              use_monitor=False)
@app.generic_output_binding(arg_name="signalRMessages", type="signalR", hubName="serverless",
    connectionStringSetting="AzureSignalRConnectionString")
def broadcast(myTimer: func.TimerRequest, signalRMessages: func.Out[str]) -> None:
    global etag
    signalRMessages.set(json.dumps({
        'target': 'newMessage',
        'arguments': ['Current star count is: 5']
    }))
"""
JSON = [("Content-Type", "application/json")]


async def test_the_quickstart_with_decorators_runs_as_it_stands(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    host = load(QUICKSTART, header="")

    asked = await call(host, "GET", "/api/HttpExample?name=Functions")
    posted = await call(host, "POST", "/api/HttpExample", headers=JSON, body=b'{"name":"you"}')
    plain = await call(host, "GET", "/api/HttpExample")

    assert asked.text == ("Hello, Functions. This HTTP triggered function executed successfully.")
    assert posted.text.startswith("Hello, you.")
    assert (plain.status, plain.text[:42]) == (200, "This HTTP triggered function executed succ")
    assert "Python HTTP trigger function processed a request." in log.text
    assert host.warnings == ()


# The documented app leaves its file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_serverless_quickstart_with_decorators_runs_as_it_stands(
    load: Load, service: Service
) -> None:
    host = load(
        SERVERLESS,
        {"AzureSignalRConnectionString": service.connection_string},
        files={"content/index.html": "<title>page</title>"},
        header="",
    )
    page = await call(host, "GET", "/api/index")
    info = (await call(host, "POST", "/api/negotiate?negotiateVersion=1")).json()
    await call(host, "POST", "/admin/functions/broadcast", headers=JSON, body=b'{"input":""}')
    await host.close()

    assert (page.text, page.header("content-type")) == (
        "<title>page</title>", "text/html; charset=utf-8",
    )  # fmt: skip
    assert set(info) == {"url", "accessToken"}
    message = {"Target": "newMessage", "Arguments": ["Current star count is: 5"]}
    assert service.calls == [("POST", "/api/hubs/serverless/:send", message)]


FORM = """
@app.route()
def form(req):
    return json.dumps([sorted(req.form), sorted(req.files)])
"""


@pytest.mark.parametrize(
    ("content_type", "body", "seen"),
    [
        ("multipart/form-data; boundary=x",
         b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', [["a"], []]),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n--x--", [[], []]),
        ("multipart/form-data", b"--x\r\n\r\n", [[], []]),
        ("multipart/form-data; boundary=" + "x" * 500, b"--", [[], []]),
        ("multipart/form-data; boundary=x", b"\xff\x00" * 1000, [[], []]),
    ],
)  # fmt: skip
async def test_a_form_that_is_none_is_empty_and_not_a_fault(
    load: Load, content_type: str, body: bytes, seen: list[list[str]]
) -> None:
    answer = await call(
        load(FORM), "POST", "/api/form", headers=[("Content-Type", content_type)], body=body
    )
    assert (answer.status, json.loads(answer.body)) == (200, seen)


@pytest.mark.parametrize(
    "path",
    [
        "/api/../admin/functions", "/api/%2e%2e/admin/host/status", "//admin/host/status",
        "/api/%00", "/api/%ff%fe", "/runtime/webhooks/../../admin/functions",
    ],
)  # fmt: skip
async def test_a_path_that_climbs_leads_nowhere(load: Load, path: str) -> None:
    assert (await call(load(FORM), "GET", path)).status == 404
