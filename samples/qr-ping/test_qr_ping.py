"""What the functions of this sample answer, called as a host calls them."""

import base64
import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
import segno

HERE = Path(__file__).parent
CONNECTION_INFO = '{"url":"http://localhost:8888/client/?hub=qrping","accessToken":"token"}'


class Output:
    """The value of an output binding. Satisfies `azure.functions.Out`."""

    value: str | None = None

    def set(self, value: str) -> None:
        self.value = value


def functions() -> dict[str, func.Function]:
    """Load the app afresh and return its functions by name."""
    spec = importlib.util.spec_from_file_location("qr_ping_app", HERE / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {function.get_function_name(): function for function in module.app.get_functions()}


def request(url: str, method: str = "GET", **headers: str) -> func.HttpRequest:
    return func.HttpRequest(
        method, url, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=b""
    )


def call(name: str, *arguments: Any) -> tuple[func.HttpResponse, str]:
    """Call a function and return its response and the text in it."""
    response = functions()[name].get_user_function()(*arguments)
    assert isinstance(response, func.HttpResponse)
    assert response.status_code == 200
    return response, response.get_body().decode()


def ping_link(page: str) -> str:
    found = re.search(r'<a id="link" href="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.fixture(autouse=True)
def _no_lan_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUBBUB_LAN_ADDRESS", raising=False)


def test_the_page_holds_the_ping_link_and_its_qr_code() -> None:
    response, page = call("index", request("http://localhost:7071/api/index"))

    link = "http://localhost:7071/api/ping"
    drawing = segno.make(link, error="m", micro=False).svg_inline(
        omitsize=True, svgclass=None, lineclass=None, dark="#17141f"
    )
    assert response.mimetype == "text/html"
    assert ping_link(page) == link
    assert f">{link}</a>" in page
    assert drawing in page
    assert "<!-- code -->" not in page


def test_the_link_follows_the_route_of_the_page() -> None:
    _, page = call("index", request("https://ping.example.net/functions/index?from=poster"))

    assert ping_link(page) == "https://ping.example.net/functions/ping"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "app.localhost"])
def test_a_phone_gets_the_lan_address_in_place_of_loopback(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBBUB_LAN_ADDRESS", "192.168.1.20")

    _, page = call("index", request(f"http://{host}:7071/api/index"))

    assert ping_link(page) == "http://192.168.1.20:7071/api/ping"


def test_a_name_that_is_not_loopback_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBBUB_LAN_ADDRESS", "192.168.1.20")

    _, page = call("index", request("http://desk.local:7071/api/index"))

    assert ping_link(page) == "http://desk.local:7071/api/ping"


def test_behind_a_proxy_the_link_leads_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBBUB_LAN_ADDRESS", "192.168.1.20")
    forwarded = {"X_Forwarded_Host": "ping.example.net, inner", "X_Forwarded_Proto": "https,http"}

    _, page = call("index", request("http://127.0.0.1:7071/api/index", **forwarded))

    assert ping_link(page) == "https://ping.example.net/api/ping"


def test_a_forwarded_host_cannot_write_into_the_page() -> None:
    hostile = request("http://localhost/api/index", X_Forwarded_Host='"><script>alert(1)</script>')

    _, page = call("index", hostile)

    assert "<script>alert" not in page


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_ping_is_broadcast_and_answered_with_the_retro_window(method: str) -> None:
    output = Output()

    response, page = call("ping", request("http://localhost:7071/api/ping", method), output)

    assert json.loads(output.value or "") == {"target": "pingQR", "arguments": ["ping"]}
    assert response.mimetype == "text/html"
    assert page == (HERE / "ping.html").read_text(encoding="utf-8")


def test_nothing_stores_a_ping_so_that_each_opening_of_the_link_counts() -> None:
    response, _ = call("ping", request("http://localhost:7071/api/ping"), Output())

    assert response.headers["Cache-Control"] == "no-store"


def test_negotiate_answers_what_the_binding_gave() -> None:
    asked = request("http://localhost:7071/api/negotiate", "POST")

    response, body = call("negotiate", asked, CONNECTION_INFO)

    assert response.mimetype == "application/json"
    assert body == CONNECTION_INFO


def test_every_function_is_open_to_everybody_and_only_to_its_methods() -> None:
    triggers = {
        name: json.loads(function.get_function_json())["bindings"]
        for name, function in functions().items()
    }
    methods = {
        name: (binding["methods"], binding["authLevel"])
        for name, bindings in triggers.items()
        for binding in bindings
        if binding["type"] == "httpTrigger"
    }
    assert methods == {
        "index": (["GET"], "ANONYMOUS"),
        "ping": (["GET", "POST"], "ANONYMOUS"),
        "negotiate": (["POST"], "ANONYMOUS"),
    }


def test_the_bindings_share_one_hub_and_one_setting() -> None:
    bindings = [
        (binding["type"], binding["hubName"], binding["connectionStringSetting"])
        for function in functions().values()
        for binding in json.loads(function.get_function_json())["bindings"]
        if binding["type"].startswith("signalR")
    ]
    assert sorted(bindings) == [
        ("signalR", "qrping", "AzureSignalRConnectionString"),
        ("signalRConnectionInfo", "qrping", "AzureSignalRConnectionString"),
    ]


def test_the_cdn_is_asked_for_the_client_that_package_json_pins() -> None:
    page = (HERE / "index.html").read_text(encoding="utf-8")
    root = HERE.parents[1]
    version = json.loads((root / "package.json").read_text())["devDependencies"][
        "@microsoft/signalr"
    ]
    script = root / "node_modules/@microsoft/signalr/dist/browser/signalr.min.js"

    assert f"@microsoft/signalr@{version}/dist/browser/signalr.min.js" in page
    if not script.is_file():
        pytest.skip("@microsoft/signalr is not in node_modules: its checksum is not compared")
    digest = base64.b64encode(hashlib.sha384(script.read_bytes()).digest()).decode()
    assert f'integrity: "sha384-{digest}"' in page
