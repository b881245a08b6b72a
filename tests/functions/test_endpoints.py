"""Several services behind one setting: which of them a client gets, and where messages go."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from tests.functions.apps import Service, call

from hubbub.errors import ConfigError
from hubbub.functions.connections import Connections
from hubbub.functions.function import InvocationError
from hubbub.functions.host import Host
from hubbub.functions.settings import AppSettings

Load = Callable[..., Host]

SETTING = "AzureSignalRConnectionString"
ASK = """
@app.route()
@app.generic_input_binding(arg_name="info", type="TYPE", hubName="chat", EXTRA)
def ask(req, info):
    return info
"""
SEND = """
@app.route(methods=["POST"])
@app.generic_output_binding(arg_name="out", type="signalR", hubName="chat")
def send(req, out):
    out.set(req.get_body().decode())
    return "sent"
"""


def text(host: str) -> str:
    return f"Endpoint=https://{host};AccessKey=key-of-the-tests-that-is-long;"


def named(**endpoints: str) -> dict[str, str]:
    return {f"Azure__SignalR__Endpoints__{name}": value for name, value in endpoints.items()}


THREE = {SETTING: text("Plain.example")} | named(
    East=text("east.example"), West__secondary=text("west.example:500")
)
DESCRIBED = [
    {"endpointType": "Primary", "name": "", "endpoint": "https://plain.example", "online": True},
    {"endpointType": "Primary", "name": "East", "endpoint": "https://east.example",
     "online": True},
    {"endpointType": "Secondary", "name": "West", "endpoint": "https://west.example:500",
     "online": True},
]  # fmt: skip


async def test_a_function_is_told_the_endpoints(load: Load) -> None:
    host = load(ASK.replace("TYPE", "signalREndpoints").replace("EXTRA", ""), THREE)

    assert (await call(host, "GET", "/api/ask")).json() == DESCRIBED


async def test_a_negotiation_has_a_token_for_each_endpoint(load: Load) -> None:
    source = ASK.replace("TYPE", "signalRNegotiation").replace("EXTRA", 'userId="{query.user}"')

    answer = await call(load(source, THREE), "GET", "/api/ask?user=bob")

    found = answer.json()["endpoints"]
    infos = [entry.pop("connectionInfo") for entry in found]
    assert found == DESCRIBED
    assert [info["url"] for info in infos] == [
        f"{entry['endpoint']}/client/?hub=chat" for entry in DESCRIBED
    ]
    assert len({info["accessToken"] for info in infos}) == 3


async def test_a_client_is_sent_to_primaries_only_while_one_is_online(load: Load) -> None:
    source = ASK.replace("TYPE", "signalRConnectionInfo").replace("EXTRA", "")
    host = load(source, THREE)

    urls = {(await call(host, "GET", "/api/ask")).json()["url"] for _ in range(40)}

    assert urls == {f"https://{name}.example/client/?hub=chat" for name in ("plain", "east")}


def test_secondaries_count_when_no_primary_can_be_reached_and_then_nothing_does() -> None:
    connections = Connections(AppSettings(THREE))
    plain, east, west = connections.endpoints(SETTING)

    connections.note(plain, reached=False)
    assert {connections.choose(SETTING).name for _ in range(20)} == {"East"}
    connections.note(east, reached=False)
    assert connections.choose(SETTING) == west
    connections.note(west, reached=False)
    with pytest.raises(InvocationError, match="not connected yet, please try again later"):
        connections.choose(SETTING)
    connections.note(plain, reached=True)
    assert connections.choose(SETTING) == plain


def test_of_entries_for_one_address_the_primary_counts() -> None:
    settings = named(A__secondary=text("one"), B__primary=text("ONE"), C=text("two"))

    found = Connections(AppSettings(settings)).endpoints(SETTING)

    assert [(entry.name, entry.kind) for entry in found] == [("B", "Primary"), ("C", "Primary")]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "The SignalR Service connection string or endpoints are not set."),
        (named(A__secondary=text("one")), "No primary endpoint defined."),
        (named(A="nonsense"), "'Azure__SignalR__Endpoints__A' cannot be used"),
        ({f"{SETTING}__serviceUri": "a"}, "'AzureSignalRConnectionString__serviceUri' cannot be"),
        (
            {f"{SETTING}__serviceUri": "https://a", f"{SETTING}__credential": "magic"},
            "write managedidentity or workloadidentity",
        ),
        ({f"{SETTING}__serviceUri": "https://a", f"{SETTING}__type": "third"}, "write Primary or"),
        ({f"{SETTING}__serviceUri": "https://a", f"{SETTING}__clientSecret": "s"}, "__tenantId"),
    ],
)
def test_settings_that_name_no_service_are_the_operators_fault(
    settings: dict[str, str], words: str
) -> None:
    connections = Connections(AppSettings(settings))

    with pytest.raises(ConfigError, match=words):
        connections.endpoints(SETTING)
    assert words in str(connections.problem(SETTING))


@pytest.fixture
async def other() -> AsyncIterator[Service]:
    """A second service."""
    recorder = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    recorder.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield recorder
    await runner.cleanup()


def targets(service: Service) -> list[str]:
    return [body["Target"] for _, _, body in service.calls]


async def test_a_message_goes_to_all_endpoints_or_to_those_that_it_names(
    load: Load, service: Service, other: Service, log: pytest.LogCaptureFixture
) -> None:
    host = load(
        SEND,
        {SETTING: service.connection_string} | named(B=other.connection_string),
    )
    second = {"endpointType": "Primary", "name": "B", "endpoint": other.url, "online": True}
    strange = second | {"name": "C"}
    items: list[dict[str, Any]] = [
        {"target": "all"},
        {"target": "all too", "endpoints": None},
        {"target": "one", "endpoints": [second, strange]},
        {"target": "lower", "Endpoints": [{"endpointtype": "primary", "name": "B",
                                           "endpoint": other.url + "/"}]},
        {"target": "none", "endpoints": [strange]},
        {"target": "nobody", "endpoints": []},
    ]  # fmt: skip
    answer = await call(host, "POST", "/api/send", body=json.dumps(items).encode())

    assert answer.status == 200
    assert targets(service) == ["all", "all too"]
    assert targets(other) == ["all", "all too", "one", "lower"]
    assert "names none of the endpoints of 'AzureSignalRConnectionString'" in log.text


@pytest.mark.parametrize("endpoints", ['"B"', "[5]", '[{"name": ["B"]}]'])
async def test_endpoints_of_another_shape_fail_the_invocation(
    load: Load, service: Service, log: pytest.LogCaptureFixture, endpoints: str
) -> None:
    host = load(SEND, {SETTING: service.connection_string})
    body = f'{{"target": "t", "endpoints": {endpoints}}}'.encode()

    assert (await call(host, "POST", "/api/send", body=body)).status == 500
    assert service.calls == []
