"""`--metrics`: where the pages are, with one process or several, and where they are refused."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.programs import run

from hubbub.cli.metricsoption import KeptPlaces, MetricsPlace, listen_for_metrics, parse_place
from hubbub.cli.network import bind
from hubbub.errors import ConfigError


@pytest.mark.parametrize("place", ["x", "70000", "127.0.0.1:", ":", "1" * 5000])
def test_what_is_no_port_is_an_error(place: str) -> None:
    with pytest.raises(ConfigError, match="expected a port"):
        parse_place(place)


@pytest.mark.parametrize("place", ["0.0.0.0:9100", "[::]:9100", "10.0.0.5:9100", "a.example:9100"])
def test_where_others_could_read_them_they_are_only_for_who_insists(place: str) -> None:
    with pytest.raises(ConfigError, match="Pass --insecure-metrics"):
        parse_place(place).check(insist=False)
    assert str(parse_place(place).check(insist=True)) == place


@pytest.mark.parametrize("place", ["9100", "localhost:9100", "[::1]:9100", "127.0.0.2:9100"])
def test_on_this_machine_nobody_has_to_insist(place: str) -> None:
    assert parse_place(place).check(insist=False).port == 9100


@pytest.mark.parametrize(
    "command",
    [("service", "--workers", "2", "--backplane", "redis://x"), ("start", "--service-port", "0")],
    ids=["service", "start"],
)
def test_commands_refuse_to_serve_metrics_to_others(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(*command, "--metrics", "0.0.0.0:0", cwd=tmp_path)
    assert done.returncode == 2
    assert "Pass --insecure-metrics" in done.stderr


def test_a_port_of_another_program_is_not_shared_with_it() -> None:
    with bind("127.0.0.1", 0, option="--port") as other:  # which would share it
        other.listen()
        other.setblocking(True)
        threading.Thread(target=lambda: other.accept()[0].close()).start()  # who asks what it is
        place = MetricsPlace("127.0.0.1", other.getsockname()[1])
        with pytest.raises(ConfigError, match="in use"):
            KeptPlaces(place, 1)


def test_an_address_that_is_not_here_is_said_with_the_option_that_has_it() -> None:
    with pytest.raises(ConfigError, match="Pass --metrics with one that is"):
        KeptPlaces(MetricsPlace("192.0.2.1", 0), 2)


def test_a_kept_port_is_for_one_process_after_another() -> None:
    with KeptPlaces(MetricsPlace("127.0.0.1", 0), 1) as kept:
        (argument,) = kept.arguments(0)
        port = int(argument.rpartition(":")[2])
        for _ in range(2):
            place = MetricsPlace("127.0.0.1", port)
            with closing(listen_for_metrics(place, is_child=True)) as listener:
                listener.listen()
                assert kept.pages == [f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"]


def test_there_has_to_be_a_port_for_each_process() -> None:
    with pytest.raises(ConfigError, match="no port for each"):
        KeptPlaces(MetricsPlace("127.0.0.1", 65535), 2)


def test_without_the_option_there_is_no_page() -> None:
    with KeptPlaces(None, 4) as kept:
        assert (kept.pages, kept.arguments(3)) == ([], [])
