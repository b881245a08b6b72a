"""Each benchmark runs and gives figures. What the figures are is no matter of the tests."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.figure import Budget, Figure, table, verdict
from benchmarks.load import Callers, clients
from benchmarks.native import MissingCompilerError, Programs, compiled
from benchmarks.process import BenchmarkError
from benchmarks.server import service
from benchmarks.size import Size


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    """Compile the load clients once."""
    try:
        with compiled() as made:
            yield made
    except MissingCompilerError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_gives_figures(programs: Programs, name: str) -> None:
    figures = BENCHMARKS[name](programs, Size.TINY)

    assert figures != []
    for figure in figures:
        assert all(value > 0 for value in figure.values), figure
        assert len(figure.reference) == len(figure.values), figure


def test_a_run_prints_a_table_and_writes_every_value(
    programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["ingress", "--tiny", "--json", str(tmp_path / "results.json")])

    results = json.loads((tmp_path / "results.json").read_text())
    (figure,) = results["benchmarks"]["ingress"]["figures"]
    assert status == 0
    assert f"| {figure['what']} " in capsys.readouterr().out
    assert len(figure["values"]) == len(figure["reference"]["values"]) == 2
    assert results["machine"]["cores"] >= 1


def test_without_a_compiler_a_run_says_so_and_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["idle", "--tiny"]) == 0
    assert "no C compiler" in capsys.readouterr().err


def test_a_benchmark_that_cannot_run_fails_the_run(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(programs: Programs, size: Size) -> list[Figure]:
        raise BenchmarkError("The server ended.")

    monkeypatch.setitem(BENCHMARKS, "idle", broken)

    assert main(["idle", "--tiny"]) == 1
    assert "The server ended." in capsys.readouterr().err


def test_clients_that_are_not_let_in_fail_the_benchmark(programs: Programs) -> None:
    with service() as server:
        endpoint = msgspec.structs.replace(server.endpoint, access_key="k" * 44)
        stranger = dataclasses.replace(server, endpoint=endpoint)

        with (
            pytest.raises(BenchmarkError, match="401 Unauthorized"),
            clients(programs, stranger, 1),
        ):
            pass


def test_a_rest_call_that_is_refused_fails_the_benchmark() -> None:
    with service() as server, Callers(server, 1) as callers:
        callers.send(server.sends(1, b"{}"))

        with pytest.raises(BenchmarkError, match="400"):
            callers.check_answers()


def test_bytes_that_nobody_expected_fail_the_benchmark(programs: Programs) -> None:
    with (
        service() as server,
        clients(programs, server, 2) as listeners,
        Callers(server, 1) as callers,
    ):
        listeners.expect(20)
        callers.send(server.sends(1, b'{"target": "a", "arguments": ["more than twenty bytes"]}'))

        with pytest.raises(BenchmarkError, match="20 bytes were expected on each of 2"):
            listeners.wait(20)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(100), "met"),
        (Budget(80), "MISSED by 25%"),
        (Budget(80, at_least=True), "met"),
        (Budget(200, at_least=True), "MISSED by 50%"),
        (Budget(2, of_ratio=True), "met"),
        (Budget(1.6, of_ratio=True), "MISSED by 25%"),
    ],
)
def test_a_budget_is_of_the_median_or_of_the_ratio(budget: Budget, expected: str) -> None:
    figure = Figure("w", "ns", (90, 100, 130), (45, 50, 60), "loop", (budget,))

    assert verdict(figure) == expected


def test_the_table_shows_figure_reference_ratio_and_spread() -> None:
    figure = Figure("a message", "ns", (1800, 2000, 2200), (1000, 1000, 1000), "loop")

    assert table([figure]).splitlines()[-1] == (
        "| a message | 2,000 ±10% ns | loop: 1,000 ±0% | 2 ±10% |        |         |"
    )
