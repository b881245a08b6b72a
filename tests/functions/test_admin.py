"""The admin API that people script against: state, functions, manual triggers, keys."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import Answer, call

from hubbub.functions.host import Host, HostOptions
from hubbub.functions.keyapi import KeyApi
from hubbub.functions.keys import KeyStore

Load = Callable[..., Host]

APP = """
import asyncio
import stage_of_test

def tell(value):
    stage_of_test.told.put_nowait(value)

@app.route(route="items/{id?}", methods=["POST"])
def Items(req):
    tell((req.method, req.url, req.get_body().decode(), dict(req.params), dict(req.headers)))
    return "ok"

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
async def tick(timer: func.TimerRequest):
    tell((timer.past_due, timer.schedule_status))

@app.generic_trigger(arg_name="event", type="signalRTrigger", hubName="chat",
    category="messages", event="say")
def listen(event):
    tell(event)

@app.queue_trigger(arg_name="msg", queue_name="q", connection="C")
def work(msg: func.QueueMessage) -> None: ...
"""
JSON = [("Content-Type", "application/json")]


@pytest.fixture
def host(load: Load, stage: Any, tmp_path: Path) -> Host:
    stage.told = asyncio.Queue()
    return load(APP, options=HostOptions(data=tmp_path / "data"))


async def get(host: Host, path: str) -> Any:
    answer = await call(host, "GET", path)
    assert answer.status == 200
    return answer.json()


async def test_the_state_of_the_host_has_the_documented_members(host: Host) -> None:
    status = await get(host, "/admin/host/status")

    assert {"id", "state", "version", "versionDetails", "instanceId", "processUptime"} <= set(
        status
    )
    assert status["state"] == "Running"
    assert "'queueTrigger' are not supported" in status["errors"][0]


async def test_functions_are_described_with_their_address_and_configuration(host: Host) -> None:
    listed = await get(host, "/admin/functions")
    items = await get(host, "/admin/functions/items")

    assert [entry["name"] for entry in listed] == ["Items", "listen", "tick"]
    assert items in listed
    assert items["invoke_url_template"] == "http://localhost:7071/api/items/{id?}"
    assert items["language"] == "python"
    assert items["isDisabled"] is False
    assert items["config"]["bindings"][0]["type"] == "httpTrigger"
    tick = await get(host, "/admin/functions/tick")
    assert tick["invoke_url_template"] is None
    assert tick["config"]["bindings"][0]["schedule"] == "0 0 0 1 1 *"


async def test_what_is_wrong_with_a_function_is_its_status(host: Host) -> None:
    assert await get(host, "/admin/functions/tick/status") == {}
    errors = (await get(host, "/admin/functions/work/status"))["errors"]
    assert errors == ["bindings of type 'queueTrigger' are not supported by this host."]
    assert (await call(host, "GET", "/admin/functions/none/status")).status == 404


async def start(host: Host, name: str, given: Any) -> Answer:
    body = json.dumps(given).encode()
    return await call(host, "POST", f"/admin/functions/{name}", headers=JSON, body=body)


@pytest.mark.parametrize("given", [{"input": ""}, {"Input": "x"}, {}])
async def test_a_timer_can_be_started_by_hand(host: Host, stage: Any, given: Any) -> None:
    answer = await start(host, "TICK", given)

    assert (answer.status, answer.body) == (202, b"")
    assert await stage.told.get() == (False, {})


async def test_a_listener_started_by_hand_gets_the_input_as_its_event(
    host: Host, stage: Any
) -> None:
    assert (await start(host, "listen", {"input": '{"Arguments": [1]}'})).status == 202
    assert await stage.told.get() == '{"Arguments": [1]}'

    assert (await start(host, "listen", {"input": {"Arguments": [2]}})).status == 202
    assert await stage.told.get() == '{"Arguments": [2]}'


async def test_an_http_function_started_by_hand_gets_the_input_as_its_request(
    host: Host, stage: Any
) -> None:
    await start(host, "items", {"input": '{"name": "bob"}'})
    method, url, body, *_ = await stage.told.get()
    assert (method, body) == ("POST", '{"name": "bob"}')
    assert url == "http://localhost:7071/admin/functions/Items"

    whole = {"method": "put", "url": "http://x/y", "headers": {"A": "1"}, "query": {"q": "2"},
             "body": {"n": 1}}  # fmt: skip
    await start(host, "items", {"input": json.dumps(whole)})
    assert await stage.told.get() == ("PUT", "http://x/y", '{"n": 1}', {"q": "2"}, {"a": "1"})


@pytest.mark.parametrize(
    ("name", "headers", "body", "status"),
    [
        ("tick", JSON, b"", 400),
        ("tick", JSON, b"[]", 400),
        ("tick", JSON, b"[" * 100_000, 400),
        ("tick", [], b'{"input": ""}', 400),
        ("tick", [("Content-Type", "text/plain")], b'{"input": ""}', 400),
        ("tick", [("Content-Type", "application/json; charset=utf-8")], b"{}", 202),
        ("none", JSON, b"{}", 404),
        ("work", JSON, b"{}", 404),
    ],
)
async def test_a_manual_start_is_json_for_a_function_that_runs(
    host: Host, name: str, headers: list[tuple[str, str]], body: bytes, status: int
) -> None:
    url = f"/admin/functions/{name}"

    assert (await call(host, "POST", url, headers=headers, body=body)).status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/admin/host/status", 405),
        ("POST", "/admin/functions", 405),
        ("DELETE", "/admin/functions/tick", 405),
        ("GET", "/admin/vfs/host.json", 404),
        ("GET", "/ADMIN/host/ping", 200),
        ("GET", "/admin/functions/tick/keys/a/b", 404),
        ("GET", "/admin/host/keys/..%2f..", 400),
        ("PATCH", "/admin/host/keys/x", 405),
        ("POST", "/admin/host/keys", 405),
    ],
)
async def test_what_the_admin_api_has_not_is_refused(
    host: Host, method: str, path: str, status: int
) -> None:
    assert (await call(host, method, path)).status == status


@pytest.mark.parametrize(
    "place", ["host/keys", "host/functionkeys", "host/systemkeys", "functions/items/keys"]
)
async def test_keys_are_made_chosen_shown_and_removed(host: Host, place: str) -> None:
    async def ask(method: str, name: str = "", body: bytes = b"") -> tuple[int, Any]:
        answer = await call(host, method, f"/admin/{place}{name}", body=body)
        return answer.status, json.loads(answer.body) if answer.body[:1] == b"{" else None

    _, before = await ask("GET")
    made_status, made = await ask("POST", "/mine")
    rolled_status, rolled = await ask("POST", "/mine")
    chosen_status, chosen = await ask("PUT", "/mine", b'{"name": "mine", "value": "chosen"}')
    _, listed = await ask("GET")

    assert (made_status, rolled_status, chosen_status) == (201, 200, 200)
    assert made["value"] != rolled["value"]
    assert chosen == {"name": "mine", "value": "chosen"}
    assert await ask("GET", "/mine") == (200, chosen)
    assert listed["keys"] == [*before["keys"], chosen]
    assert listed["links"] == []
    assert (await ask("DELETE", "/mine"))[0] == 204
    assert (await ask("DELETE", "/mine"))[0] == 404
    assert (await ask("GET", "/mine"))[0] == 404
    assert (await ask("GET"))[1] == before
    for body in (b"", b"{}", b'{"value": ""}', b'{"value": 5}', b"[" * 100_000):
        assert (await ask("PUT", "/mine", body))[0] == 400


async def test_the_master_key_can_be_rolled_and_not_removed(host: Host) -> None:
    url = "/admin/host/systemkeys/_master"
    first = await get(host, url)
    rolled = await call(host, "POST", url)

    assert rolled.status == 200
    assert rolled.json()["value"] != first["value"]
    assert rolled.header("cache-control") == "no-store"
    assert (await call(host, "DELETE", url)).text == "Cannot delete System Key."
    assert await get(host, url) == rolled.json()


async def test_a_broken_file_of_keys_is_said_and_costs_one_request(
    host: Host, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "secrets"
    folder.mkdir(parents=True)
    (folder / "host.json").write_text("{")

    answer = await call(host, "GET", "/admin/host/keys")

    assert answer.status == 400
    assert "host.json line 1" in answer.text


@pytest.mark.parametrize(
    ("peer", "authority"),
    [
        ("192.0.2.7", "192.0.2.2:7071"),
        ("192.0.2.7", "localhost:7071"),
        ("127.0.0.1", "evil.example:7071"),  # a page whose name was made to lead here
    ],
)
async def test_without_keys_the_admin_api_is_for_this_machine_alone(
    host: Host, peer: str, authority: str
) -> None:
    for path in ("/admin/host/systemkeys/_master", "/admin/functions", "/admin/host/status"):
        answer = await call(host, "GET", path, peer=peer, authority=authority)
        assert (answer.status, answer.body) == (401, b"")

    local = await call(host, "GET", "/admin/host/status", peer="::1", authority="[::1]:7071")
    assert local.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "https://evil.example")],
        [("Origin", "null")],
        [("Origin", "http://localhost:3000")],
        [("Sec-Fetch-Site", "cross-site")],
    ],
)
async def test_without_keys_no_page_of_another_site_uses_the_admin_api(
    load: Load, headers: list[tuple[str, str]]
) -> None:
    host = load("", files={"local.settings.json": {"Host": {"CORS": "*"}}})

    for method, path in (("GET", "/admin/host/systemkeys"), ("POST", "/admin/host/drain")):
        assert (await call(host, method, path, headers=headers)).status == 401

    assert host.drain_state == "Disabled"


async def test_pages_of_this_host_and_of_named_origins_may_use_the_admin_api(load: Load) -> None:
    named = "http://localhost:3000"
    host = load("", files={"local.settings.json": {"Host": {"CORS": named}}})

    for origin in (named, "http://localhost:7071"):
        headers = [("Origin", origin)]
        assert (await call(host, "GET", "/admin/host/status", headers=headers)).status == 200


async def test_everybody_may_ask_whether_a_host_is_there(host: Host) -> None:
    answer = await call(
        host, "GET", "/admin/host/ping", peer="192.0.2.7", authority="192.0.2.2:7071"
    )

    assert answer.status == 200


@pytest.mark.parametrize("authority", ["[", "a[b]c", ""])
async def test_a_host_header_that_is_none_is_refused(host: Host, authority: str) -> None:
    answer = await call(host, "GET", "/admin/host/status", authority=authority)

    assert answer.status == 401


async def test_keys_that_are_chosen_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    store, arrived = KeyStore(tmp_path), asyncio.Event()
    api = KeyApi(lambda: store)

    async def late() -> bytes:
        await arrived.wait()
        return b'{"value": "1"}'

    async def at_once() -> bytes:
        return b'{"value": "2"}'

    slow = asyncio.create_task(api.host("PUT", "keys", "one", late))
    await asyncio.sleep(0)  # it begins, and waits for its body
    await api.host("PUT", "keys", "two", at_once)
    arrived.set()
    await slow

    assert {"one", "two"} <= set(store.host().function)


async def test_a_key_that_no_header_can_hold_is_refused(host: Host) -> None:
    for value in ("\\ud800", "\\u00e9", "a\\nb", "x" * 1001):
        body = f'{{"value": "{value}"}}'.encode()
        answer = await call(host, "PUT", "/admin/host/keys/mine", body=body)
        assert (answer.status, "printable ASCII" in answer.text) == (400, True)
