"""The app as a host of Azure Functions sees it: with `azure-functions` and nothing of a host here.

What it does in a browser is in `tests/e2e/test_chat.py`.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from tests.serverless.indexing import OURS, SERVER, index

HERE = Path(__file__).parent
SAMPLES = HERE.parent
ROOT = SAMPLES.parent

EVENTS = {
    ("connections", "connected"),
    ("connections", "disconnected"),
    ("messages", "greet"),
    ("messages", "broadcast"),
    ("messages", "sendToGroup"),
    ("messages", "sendToUser"),
    ("messages", "sendToConnection"),
    ("messages", "joinGroup"),
    ("messages", "leaveGroup"),
    ("messages", "joinUserToGroup"),
    ("messages", "leaveUserFromGroup"),
}


@pytest.mark.parametrize(
    ("sample", "absent", "hub"),
    [("chat", f"{OURS},{SERVER}", "Chat"), ("chat-functions", f"hubbub,{SERVER}", "chat")],
)
def test_the_app_indexes_with_azure_functions_alone(sample: str, absent: str, hub: str) -> None:
    functions = index(SAMPLES / sample, absent)

    triggers = {}
    for name, function in functions.items():
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_\-]{0,127}", name), "the host's rule for names"
        bindings = function["bindings"]
        assert {b["name"] for b in bindings} - {"$return"} == set(function["parameters"])
        (trigger,) = [b for b in bindings if b["type"].endswith("Trigger")]
        triggers[name] = trigger
    events = [t for t in triggers.values() if t["type"] == "signalRTrigger"]
    assert {(t["category"], t["event"]) for t in events} == EVENTS
    assert len(events) == len(EVENTS)
    assert {t["hubName"] for t in events} == {hub}
    assert {name for name, t in triggers.items() if t["type"] == "httpTrigger"} == {
        "index",
        "negotiate",
    }


def test_methods_of_the_hub_run_in_the_loop_and_not_in_threads() -> None:
    functions = index(HERE, OURS)

    assert {f["isAsync"] for name, f in functions.items() if name.startswith("Chat_")} == {True}


def test_both_samples_have_the_same_page() -> None:
    pages = [SAMPLES / name / "index.html" for name in ("chat", "chat-functions")]

    assert pages[0].read_bytes() == pages[1].read_bytes()


@pytest.mark.parametrize("sample", ["chat", "chat-functions", "chat-with-auth", "stream"])
def test_the_cdn_is_asked_for_the_client_that_package_json_pins(sample: str) -> None:
    page = (SAMPLES / sample / "index.html").read_text(encoding="utf-8")
    package = json.loads((ROOT / "package.json").read_text())
    version = package["devDependencies"]["@microsoft/signalr"]
    script = ROOT / "node_modules/@microsoft/signalr/dist/browser/signalr.min.js"

    assert f"@microsoft/signalr@{version}/dist/browser/signalr.min.js" in page
    if not script.is_file():
        pytest.skip("@microsoft/signalr is not in node_modules: its checksum is not compared")
    digest = base64.b64encode(hashlib.sha384(script.read_bytes()).digest()).decode()
    assert f'integrity: "sha384-{digest}"' in page
