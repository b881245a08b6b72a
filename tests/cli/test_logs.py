"""What is logged: a peer's text stays on its line, an app's own text keeps its lines."""

import json
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.cli.programs import run, running, write_app
from websockets.sync.client import connect

from hubbub.protocol.endpoints import parse_connection_string
from hubbub.protocol.tokens import issue_client_token

TALKING = """
import logging

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="hello")
def hello(req: func.HttpRequest) -> str:
    logging.warning("first line\\nsecond line\\n\\tthird line")
    logging.warning("colour \\x1b[31m and return \\r here")
    return "hello"


@app.route(route="fails")
def fails(req: func.HttpRequest) -> str:
    raise LookupError("lost\\nand found")
"""


def test_a_path_with_line_ends_and_terminal_codes_stays_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"

    with running("service", "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        group = "one%0A2026-01-01%20INFO%20forged%1B%5B31m%0D%C2%85%E2%80%A8two"
        url = f"{facts['service']['url']}/api/hubs/chat/groups/{group}/:send"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, data=b"{}", timeout=30)
        refused.value.close()

    text = log.read_bytes().decode()
    assert "/groups/one\\n2026-01-01 INFO forged\\x1b[31m\\r\\x85\\u2028two" in text
    assert "\x1b" not in text
    assert all("refused" in line for line in text.splitlines() if "forged" in line)
    assert not any(line.startswith("2026-01-01 INFO forged") for line in text.splitlines())


def test_a_protocol_name_with_line_ends_and_terminal_codes_stays_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"

    with running("service", "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        endpoint = parse_connection_string(facts["service"]["connectionString"])
        token = issue_client_token(endpoint, "chat", now=int(time.time()))
        address = facts["service"]["url"].replace("http", "ws")
        with connect(f"{address}/client/?hub=chat&access_token={token}", proxy=None) as client:
            name = "a\n\x1b[31mred\x9bb"
            client.send(json.dumps({"protocol": name, "version": 1}) + "\x1e")
            assert "is not supported" in str(client.recv())

    text = log.read_bytes().decode()
    assert "The protocol 'a\\n\\x1b[31mred\\x9bb' is not supported." in text
    assert "\x1b" not in text
    assert token not in text


def test_a_head_that_is_no_http_is_no_reason_for_more_than_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log"

    with running("service", "--port", "0", cwd=tmp_path, log=log) as (_, facts):
        address = urlsplit(facts["service"]["url"])
        with socket.create_connection((address.hostname, address.port), timeout=30) as raw:
            raw.sendall(b"GET /\x1b[31m\xff HTTP/1.1\r\nforged: \x1b\n\n\r\n\r\n")
            while raw.recv(65536):
                pass

    assert "\x1b" not in log.read_bytes().decode()


def test_what_an_app_logs_keeps_its_lines_and_a_traceback_too(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", TALKING)
    log = tmp_path / "log"
    options = ("host", str(app), "--port", "0")

    with running(*options, cwd=tmp_path, log=log) as (_, facts):
        urls = {function["name"]: function["url"] for function in facts["host"]["functions"]}
        with urllib.request.urlopen(urls["hello"], timeout=30) as response:
            assert response.read() == b"hello"
        with pytest.raises(urllib.error.HTTPError) as failed:
            urllib.request.urlopen(urls["fails"], timeout=30)
        failed.value.close()

    text = log.read_bytes().decode()
    assert "first line\nsecond line\n\tthird line\n" in text
    assert "colour \\x1b[31m and return \\r here\n" in text
    assert "LookupError: lost\nand found\n" in text


@pytest.mark.parametrize("command", ["service", "start", "host"])
def test_a_log_level_that_is_none_is_one_sentence(tmp_path: Path, command: str) -> None:
    app = write_app(tmp_path / "app")
    options = [str(app)] if command != "service" else []

    ended = run(command, *options, "--log-level", "bogus", cwd=tmp_path)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    sentence = ended.stderr.splitlines()[-1]
    assert "'bogus'" in sentence
    assert all(level in sentence for level in ("debug", "info", "warning", "error"))


def test_a_log_level_that_is_set_holds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = ("service", "--port", "0", "--log-level", "error")

    with running(*options, cwd=tmp_path, log=log) as (_, facts):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(facts["service"]["url"] + "/api/nowhere", timeout=30)
        refused.value.close()

    assert log.read_text() == ""
