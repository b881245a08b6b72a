"""The code of docs/serverless-hub.md is one app: it loads, and does what the page says."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import Service, call
from tests.serverless.test_host import completion, tell

from hubbub.functions.host import Host

Load = Callable[..., Host]

PAGE = (Path(__file__).parents[2] / "docs/serverless-hub.md").read_text(encoding="utf-8")
APP = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))
KEY = "key-of-the-tests-that-is-long-enough"


@pytest.fixture
def host(load: Load, service: Service, monkeypatch: pytest.MonkeyPatch) -> Host:
    service.key = KEY
    monkeypatch.setenv("AzureSignalRConnectionString", service.connection_string)
    return load(APP, {"AzureSignalRConnectionString": service.connection_string}, header="")


async def test_the_chat_sends_to_all_and_to_groups(host: Host, service: Service) -> None:
    assert completion(await tell(host, "broadcast", "hello")) == {"result": None}
    await tell(host, "sendToGroup", "red", "hello")
    await tell(host, "joinGroup", "red")
    await tell(host, "connected", category="connections")

    message = {"Target": "newMessage", "Arguments": [None, "hello"]}
    assert service.calls == [
        ("POST", "/api/hubs/chat/:send", message),
        ("POST", "/api/hubs/chat/groups/red/:send", message),
        ("PUT", "/api/hubs/chat/groups/red/connections/c1", None),
        ("POST", "/api/hubs/chat/:send", {"Target": "newConnection", "Arguments": ["c1"]}),
    ]


async def test_results_come_back_and_wrong_arguments_are_explained_as_on_the_page(
    host: Host,
) -> None:
    assert completion(await tell(host, "add", 1, 2)) == {"result": 3}
    points = completion(await tell(host, "move", {"x": 1}, "tag", hub="board"))["result"]
    assert points == [{"x": 1.0, "y": 0.0}, {"x": -1.0, "y": -0.0}]
    wrong = [
        completion(await tell(host, "move", {"x": "a"}, hub="board"))["error"],
        completion(await tell(host, "sendToGroup", "red"))["error"],
    ]
    assert wrong == re.findall(r"^    (ArgumentError: .*)$", PAGE, flags=re.MULTILINE)


async def test_negotiate_answers_what_a_page_needs(host: Host, service: Service) -> None:
    answer = await call(host, "POST", "/api/negotiate?name=ann")

    assert json.loads(answer.body)["url"] == f"{service.url}/client/?hub=chat"


async def test_names_are_as_the_page_says(host: Host) -> None:
    assert completion(await tell(host, "Shout!", "a", hub="names")) == {"result": "A"}
    assert (await tell(host, "shout", "a", hub="names")).status == 404
    assert (await tell(host, "helper", hub="names")).status == 404


async def test_a_method_that_yields_streams(host: Host, service: Service) -> None:
    answer = await tell(host, "ask", "why?", hub="oracle", stream=True)

    assert completion(answer) == {"result": None}
    path = "/api/hubs/oracle/connections/c1/streams/7/:send"
    words = ["You", "ask", "why?", "I", "say", "wait", "and", "see."]
    assert service.calls == [("POST", path, word) for word in words]


async def test_a_plain_method_sends(host: Host, service: Service) -> None:
    await tell(host, "broadcast", "hello", hub="plain")

    message: dict[str, Any] = {"Target": "newMessage", "Arguments": ["hello"]}
    assert service.calls == [("POST", "/api/hubs/plain/:send", message)]


async def test_checks_refuse_as_the_page_says(host: Host, service: Service) -> None:
    refused = completion(await tell(host, "announce", "hello", hub="staff"))
    assert refused == {"error": "RefusedError: Please sign in first."}
    refused = completion(await tell(host, "announce", "hello", hub="staff", user="ann"))
    assert "needs the claim 'admin'" in refused["error"]
    assert (await tell(host, "connected", category="connections", hub="staff")).status == 403
    assert service.calls == []

    claims = "admin: true"
    await tell(host, "announce", "hello", hub="staff", user="ann", claims=claims)
    assert len(service.calls) == 1


async def test_typed_clients_are_sent_to(host: Host, service: Service) -> None:
    await tell(host, "say", "hello", hub="room", user="ann")

    message = {"Target": "newMessage", "Arguments": ["ann", "hello"]}
    assert service.calls == [("POST", "/api/hubs/room/:send", message)]
