"""The addresses and connection strings that commands print, for each way of listening."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.cli.programs import run, running, write_app

from hubbub.cli.network import Place, lan_address, named_localhost
from hubbub.protocol.endpoints import parse_connection_string

KEY = "k" * 40


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://127.0.0.1:8888", "http://localhost:8888"),
        ("http://127.0.0.10:8888", "http://127.0.0.10:8888"),
        ("http://127.0.0.1:1", "http://localhost:1"),
        ("http://[::1]:8888", "http://[::1]:8888"),
        ("http://192.0.2.1:8888", "http://192.0.2.1:8888"),
    ],
)
def test_only_127_0_0_1_is_called_localhost(url: str, named: str) -> None:
    assert named_localhost(url) == named


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://localhost"),
        ("127.0.0.10", "http://127.0.0.10"),
        pytest.param(
            "::1", "http://[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
        ),
    ],
)
def test_the_connection_string_of_a_service_leads_to_where_it_listens(
    tmp_path: Path, address: str, url: str
) -> None:
    options = ("service", "--address", address, "--port", "0")

    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        text = facts["service"]["connectionString"]
        endpoint = parse_connection_string(text)
        port = int(endpoint.url.rpartition(":")[2])
        assert endpoint.url == f"{url}:{port}"
        with socket.create_connection((address, port), timeout=30):
            pass

    assert "ClientEndpoint" not in text


def test_a_service_for_everybody_says_where_browsers_find_it(tmp_path: Path) -> None:
    options = ("--access-key", KEY, "--allow-origin", "https://app.example", "--port", "0")

    with running(
        "service", "--address", "0.0.0.0", *options, cwd=tmp_path, log=tmp_path / "log"
    ) as (_, facts):
        endpoint = parse_connection_string(facts["service"]["connectionString"])

    port = endpoint.url.rpartition(":")[2]
    assert endpoint.url == f"http://localhost:{port}"
    assert endpoint.client_base == f"http://{lan_address() or '127.0.0.1'}:{port}/"
    assert endpoint.access_key == KEY


@pytest.mark.parametrize(
    ("address", "url", "app", "browser"),
    [
        (
            "192.0.2.7",
            "http://192.0.2.7:80",
            "Endpoint=http://192.0.2.7;Port=80",
            "ClientEndpoint=http://192.0.2.7:80",
        ),
        (
            "2001:db8::7",
            "http://[2001:db8::7]:81",
            "Endpoint=http://[2001:db8::7];Port=81",
            "ClientEndpoint=http://[2001:db8::7]:81",
        ),
    ],
)
def test_an_address_of_the_network_is_named_for_apps_and_browsers(
    address: str, url: str, app: str, browser: str
) -> None:
    text = Place(address).connection_string(url, KEY, int(url.rpartition(":")[2]))
    assert text.rstrip(";") == f"{app};AccessKey={KEY};Version=1.0;{browser}"


def test_pages_of_an_app_may_come_from_each_name_of_its_host() -> None:
    assert Place("192.0.2.7").page_origins(7071) == ["http://192.0.2.7:7071"]
    assert Place("2001:db8::7").page_origins(7071) == ["http://[2001:db8::7]:7071"]
    everywhere = Place("0.0.0.0")
    assert set(everywhere.page_origins(7071)) == {
        "http://localhost:7071",
        "http://127.0.0.1:7071",
        f"http://{everywhere.lan}:7071",
    }


def test_programs_on_other_machines_get_a_connection_string_of_their_own() -> None:
    lan = "192.0.2.7"
    everywhere = Place("0.0.0.0")
    everywhere.lan = lan

    assert everywhere.remote_connection_string(KEY, 81) == (
        f"Endpoint=http://{lan};Port=81;AccessKey={KEY};Version=1.0;"
    )
    assert Place("127.0.0.1").remote_connection_string(KEY, 81) is None
    assert Place(lan).remote_connection_string(KEY, 81) is None  # the first one is good there too
    everywhere.lan = "127.0.0.1"  # there is no network
    assert everywhere.remote_connection_string(KEY, 81) is None


def test_a_port_that_another_hubbub_has_is_said_to_be_its(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app")
    free = ("--port", "0", "--service-port", "0")

    with running("start", str(app), *free, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        ports = [urlsplit(facts[name]["url"]).port for name in ("service", "host")]
        service = run("start", "--service-port", str(ports[0]), cwd=tmp_path)
        host = run("host", str(app), "--port", str(ports[1]), cwd=tmp_path)

    assert "is in use by a Hubbub service that runs already. Stop it, or pass --service-port" in (
        service.stderr
    )
    assert "is in use by a Hubbub function host that runs already. Stop it, or" in host.stderr
