"""`hubbub service --workers`, and the commands that look after nodes, over a real Redis."""

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.programs import node_at, run, running
from tests.conformance.redisserver import RedisServer, redis_server
from tests.e2e.running import STOP_SECONDS

from hubbub.cli.network import bind
from hubbub.cli.workers import _Place

PATIENCE = 60.0  # seconds


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


def nodes_of(redis: RedisServer) -> list[dict[str, Any]]:
    done = run("nodes", "--backplane", redis.url, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["nodes"]
    return found


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize("command", ["service", "start"])
def test_several_processes_need_a_backplane(command: str, tmp_path: Path) -> None:
    done = run(command, "--workers", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert "Pass --backplane" in done.stderr


def test_a_folder_for_data_and_a_backplane_are_one_too_many(tmp_path: Path) -> None:
    done = run(
        "service", "--backplane", "redis://localhost:1", "--data", str(tmp_path), cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Leave --data out" in done.stderr


def test_a_backplane_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = run(
        "service", "--port", "0", "--workers", "2", "--backplane", "redis://127.0.0.1:1",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr


def test_processes_are_one_service_and_one_that_dies_is_replaced(
    redis: RedisServer, tmp_path: Path
) -> None:
    options = ("service", "--port", "0", "--workers", "2", "--backplane", redis.url)
    metrics = ("--metrics", "0.0.0.0:0", "--insecure-metrics")
    with running(*options, *metrics, cwd=tmp_path, log=tmp_path / "log") as (process, facts):
        before = {each["id"] for each in nodes_of(redis)}
        assert len(before) == 2
        pages = facts["service"]["metrics"]
        assert {node_at(page) for page in pages} == before
        workers = children_of(process.pid)
        assert len(workers) == 2

        os.kill(workers[0], signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while len(fresh := {each["id"] for each in nodes_of(redis)} - before) < 1:
            assert time.monotonic() < deadline
        pages_of = [node_at(page) for page in pages]  # each at the port of the one before it
        assert fresh < {*pages_of}

        text = facts["service"]["connectionString"]
        for _ in range(4):  # whichever of them gets it
            done = run("users", "list", "chat", "--connection-string", text, "--json")
            assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        log = (tmp_path / "log").read_text()
        assert "(signal SIGKILL) and is started again" in log


def test_a_node_is_drained_by_its_name(redis: RedisServer, tmp_path: Path) -> None:
    options = ("service", "--port", "0", "--backplane", redis.url)
    with running(*options, cwd=tmp_path, log=tmp_path / "log"):
        started = max(nodes_of(redis), key=lambda each: each["started"])
        nobody = run("drain", "--backplane", redis.url)
        assert nobody.returncode != 0
        assert "Name one node; `hubbub nodes` lists them. Or pass --all" in nobody.stderr
        unknown = run("drain", "nobody", "--backplane", redis.url)
        assert unknown.returncode == 2
        assert "There is no node nobody" in unknown.stderr

        done = run("drain", started["id"], "--backplane", redis.url)
        assert (done.returncode, done.stdout) == (0, "1 told.\n")
        deadline = time.monotonic() + PATIENCE
        while not any(each["is_draining"] for each in nodes_of(redis)):
            assert time.monotonic() < deadline


def health(url: str) -> str:
    """What whichever process gets a new connection says of itself."""
    with urllib.request.urlopen(f"{url}/api/health", timeout=PATIENCE) as answer:
        word: str = json.load(answer)["status"]
        return word


def test_a_process_that_is_gone_keeps_no_client_waiting() -> None:
    with bind("127.0.0.1", 0, option="--port") as port:
        places = [_Place(port), _Place(port)]
        with places[0].listener, places[1].listener as other:
            places[0].leave()
            places[0].leave()  # once more changes nothing
            for _ in range(20):
                with socket.create_connection(port.getsockname()):
                    other.accept()[0].close()

            # As the next process in its place does.
            places[0].listener.listen()
            other.shutdown(socket.SHUT_RDWR)
            with socket.create_connection(port.getsockname()):
                places[0].listener.accept()[0].close()


def test_after_a_crash_the_port_is_served(redis: RedisServer, tmp_path: Path) -> None:
    options = ("service", "--port", "0", "--workers", "2", "--backplane", redis.url)
    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (process, facts):
        gone = children_of(process.pid)[0]
        os.kill(gone, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while "signal SIGKILL" not in (tmp_path / "log").read_text():
            assert time.monotonic() < deadline
        assert [health(facts["service"]["url"]) for _ in range(20)] == ["ok"] * 20


def test_of_a_process_that_is_drained_the_others_take_all_clients(
    redis: RedisServer, tmp_path: Path
) -> None:
    options = ("service", "--port", "0", "--workers", "2", "--backplane", redis.url)
    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (_process, facts):
        url = facts["service"]["url"]
        chosen = nodes_of(redis)[0]["id"]
        assert run("drain", chosen, "--backplane", redis.url).returncode == 0
        deadline = time.monotonic() + PATIENCE
        while not any(each["is_draining"] for each in nodes_of(redis)):
            assert time.monotonic() < deadline
        assert [health(url) for _ in range(20)] == ["ok"] * 20

        # The last one stays, to say so.
        other = next(each["id"] for each in nodes_of(redis) if each["id"] != chosen)
        assert run("drain", other, "--backplane", redis.url).returncode == 0
        deadline = time.monotonic() + PATIENCE
        while not all(each["is_draining"] for each in nodes_of(redis)):
            assert time.monotonic() < deadline
        with pytest.raises(urllib.error.HTTPError, match="503"):
            health(url)


@pytest.mark.parametrize("command", [("service", "--port", "0"), ("start", "--service-port", "0")])
def test_on_a_hangup_processes_are_replaced_one_after_another_and_the_port_is_always_served(
    redis: RedisServer, tmp_path: Path, command: tuple[str, ...]
) -> None:
    options = (*command, "--workers", "2", "--backplane", redis.url)
    with running(*options, cwd=tmp_path, log=tmp_path / "log") as (process, facts):
        url = facts["service"]["url"]
        before = set(children_of(process.pid))
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while (children := set(children_of(process.pid))) & before or len(children) != 2:
            assert health(url) == "ok"
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
        log = (tmp_path / "log").read_text()
        assert log.count("is replaced") == 2
        assert "Traceback" not in log
