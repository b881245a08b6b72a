"""Easy Auth's headers: believed from a platform that is trusted, dropped from everybody else."""

import json
from collections.abc import Callable

import pytest
from tests.functions.apps import call

from hubbub.functions.host import Host

Load = Callable[..., Host]

SHOW = "\n@app.route()\ndef show(req):\n    return json.dumps(dict(req.headers))\n"
FORGED = [
    ("X-MS-CLIENT-PRINCIPAL", "e30="),
    ("x-ms-client-principal-id", "admin"),
    ("X-Ms-Client-Principal-Name", "admin"),
    ("X-MS-CLIENT-PRINCIPAL-IDP", "aad"),
    ("X-MS-TOKEN-AAD-ID-TOKEN", "a.b.c"),
    ("x_ms_client_principal_id", "admin"),
]
OWN = [("X-MS-OTHER", "1"), ("X-Client", "2")]


async def test_a_client_cannot_say_who_it_is(load: Load) -> None:
    answer = await call(load(SHOW), "GET", "/api/show", headers=[*FORGED, *OWN])

    assert json.loads(answer.text) == {
        "host": "localhost:7071", "x-ms-other": "1", "x-client": "2",
    }  # fmt: skip


@pytest.mark.parametrize("trusts", ["true", "1"])
async def test_a_proxy_that_is_trusted_can(load: Load, trusts: str) -> None:
    host = load(SHOW, {"HUBBUB_TRUST_PRINCIPAL_HEADERS": trusts})

    seen = json.loads((await call(host, "GET", "/api/show", headers=FORGED)).text)

    assert seen["x-ms-client-principal-id"] == "admin"
    assert seen["x-ms-token-aad-id-token"] == "a.b.c"


async def test_a_forged_principal_is_none_for_binding_expressions_either(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    source = """
@app.route()
@app.generic_input_binding(arg_name="info", type="signalRConnectionInfo", hubName="chat",
    userId="{headers.x-ms-client-principal-id}")
def negotiate(req, info):
    return info
"""
    settings = {"AzureSignalRConnectionString": "Endpoint=http://a;AccessKey=key-of-the-tests;"}

    answer = await call(load(source, settings), "POST", "/api/negotiate", headers=FORGED)

    assert answer.status == 500
    assert "Error while accessing 'headers.x-ms-client-principal-id'" in log.text
