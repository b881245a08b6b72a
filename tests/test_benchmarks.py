"""Each benchmark runs and gives figures. What the figures are is no matter of the tests."""

import dataclasses
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import benchmarks.catalogue
import msgspec
import pytest
from benchmarks.__main__ import main
from benchmarks.catalogue import BENCHMARKS, QUICK
from benchmarks.figure import Budget, Figure, verdict
from benchmarks.load import Callers, clients, scripted
from benchmarks.message import Kind, message
from benchmarks.native import MissingCompilerError, Programs, compiled
from benchmarks.peers import peer
from benchmarks.process import LOAD_CORES, BenchmarkError, Process, SkippedError, python
from benchmarks.report import budget_table, markdown, table, write
from benchmarks.server import bare_server, service
from benchmarks.size import Size

CALL = '{"type":1,"invocationId":"1","target":"echo","arguments":["a"]}'
ANSWER = b'\x81\x30{"type":3,"invocationId":"1","result":"a"}\x1e'
LOOP = "C send() loop"


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    """Compile the load clients once."""
    try:
        with compiled() as made:
            yield made
    except MissingCompilerError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_gives_figures(
    programs: Programs, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(command: Sequence[str], **options: object) -> None:
        raise SkippedError("tests install no peers; a full run of the benchmarks does")

    monkeypatch.setattr(peer, "install", install)
    try:
        figures = BENCHMARKS[name](programs, Size.TINY)
    except SkippedError as reason:
        pytest.skip(str(reason))

    assert figures != []
    for figure in figures:
        assert figure.values != (), figure
        assert len(figure.reference) in {0, len(figure.values)}, figure
        assert verdict(figure) != "" or not figure.budgets, figure


def test_a_quick_run_has_benchmarks_that_there_are() -> None:
    assert set(QUICK) < set(BENCHMARKS)


def test_a_run_prints_tables_and_writes_every_value(
    programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["ingress", "--tiny", "--json", str(tmp_path / "results.json")])

    results = json.loads((tmp_path / "results.json").read_text())
    figure, *_ = results["benchmarks"]["ingress"]["figures"]
    printed = capsys.readouterr().out
    assert status == 0
    assert f"| {figure['what']} " in printed
    assert "| rounds in it |" in printed
    assert len(figure["values"]) == len(figure["reference"]) == 2
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
    captured = capsys.readouterr()
    assert "The server ended." in captured.err
    assert "failed: The server ended." in captured.out


def test_whatever_ends_a_benchmark_is_one_line_and_the_next_is_run(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(programs: Programs, size: Size) -> list[Figure]:
        raise subprocess.CalledProcessError(1, ["redis-cli", "shutdown"])

    def ends(programs: Programs, size: Size) -> list[Figure]:
        with Process(python("-c", "raise ValueError('no such option')"), LOAD_CORES) as process:
            process.hear()
        return []

    monkeypatch.setitem(BENCHMARKS, "idle", broken)
    monkeypatch.setitem(BENCHMARKS, "pings", ends)

    assert main(["idle", "pings", "ingress", "--tiny"]) == 1
    captured = capsys.readouterr()
    unforeseen, foreseen, done = captured.err.splitlines()
    assert unforeseen.startswith("idle … failed: CalledProcessError: Command '['redis-cli'")
    assert (foreseen.split("failed: ")[1], done[:9]) == (
        "python ended: ValueError: no such option",
        "ingress …",
    )
    assert "failed: python ended: ValueError: no such option" in captured.out
    assert "| ingress: sends to a connection" in captured.out


def test_a_benchmark_that_is_skipped_is_in_the_results_with_its_reason(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(programs: Programs, size: Size) -> list[Figure]:
        raise SkippedError("nginx is not installed")

    monkeypatch.setitem(BENCHMARKS, "peer-nchan", missing)

    assert main(["peer-nchan", "--tiny", "--results", str(tmp_path)]) == 0
    assert "skipped: nginx is not installed" in (tmp_path / "RESULTS.md").read_text()


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
    with service() as server, Callers(server.address, 1) as callers:
        callers.send(server.sends(1, b"{}"))

        with pytest.raises(BenchmarkError, match="400"):
            callers.check_answers()


@pytest.mark.parametrize("kind", [Kind.JSON, Kind.MESSAGEPACK])
@pytest.mark.parametrize("payload", [128, 2048, 16_384])
def test_a_message_has_the_size_that_is_expected(
    programs: Programs, kind: Kind, payload: int
) -> None:
    sent = message(payload, kind)

    with (
        service() as server,
        clients(programs, server, 2, kind=kind) as listeners,
        Callers(server.address, 1) as callers,
    ):
        listeners.expect(sent.sizes[kind])
        callers.send(server.sends(1, sent.body))
        listeners.wait(sent.sizes[kind])
        callers.check_answers()

        assert sent.sizes[kind] == payload + 4
        assert listeners.total() == 2 * sent.sizes[kind]


def test_bytes_that_nobody_expected_fail_the_benchmark(programs: Programs) -> None:
    with (
        service() as server,
        clients(programs, server, 2) as listeners,
        Callers(server.address, 1) as callers,
    ):
        listeners.expect(20)
        callers.send(server.sends(1, b'{"target": "a", "arguments": ["more than twenty bytes"]}'))

        with pytest.raises(BenchmarkError, match="20 bytes were expected on each of 2"):
            listeners.wait(20)


def test_some_of_the_clients_can_be_waited_for(programs: Programs) -> None:
    sent = message(128)
    size = sent.sizes[Kind.JSON]

    with (
        service() as server,
        clients(programs, server, 4) as listeners,
        Callers(server.address, 1) as callers,
    ):
        for user in (2, 3):
            listeners.expect(size, first=user, count=1)
            callers.send(server.sends(1, sent.body, below=[f"/users/user-{user}"]))
            listeners.wait(size, count=1)
            callers.check_answers()
        listeners.record(0)

        assert listeners.latency().deliveries == 1


@pytest.mark.parametrize("rate", [0, 1000])
def test_every_call_is_answered_and_timed(programs: Programs, rate: float) -> None:
    with bare_server() as server, clients(programs, server, 3) as callers:
        callers.expect(0)
        taken, latency = callers.invoke(CALL, calls=20, answer=len(ANSWER), rate=rate)

        assert callers.total() == 20 * len(ANSWER)
        assert latency.deliveries == 20
        assert 0 < latency.p50 <= latency.longest <= taken


def test_clients_that_are_cut_come_back(programs: Programs) -> None:
    sent = message(128)

    with (
        service() as server,
        clients(programs, server, 3) as listeners,
        Callers(server.address, 1) as callers,
    ):
        listeners.reconnect()
        listeners.expect(sent.sizes[Kind.JSON])
        callers.send(server.sends(1, sent.body))
        listeners.wait(sent.sizes[Kind.JSON])


def test_clients_of_another_server_say_and_await_what_their_script_has(programs: Programs) -> None:
    with (
        bare_server() as server,
        scripted(programs, server.address[1], ["/client/", "say x", "await {}"], 2) as opened,
    ):
        assert opened.count == 2


def test_clients_of_another_server_that_are_not_let_in_fail_the_benchmark(
    programs: Programs,
) -> None:
    with (
        bare_server() as server,
        pytest.raises(BenchmarkError, match=r"upgrade: HTTP/1\.1 403"),
        scripted(programs, server.address[1], ["/nothing"], 1),
    ):
        pass


def test_the_cpu_of_a_process_is_that_of_its_children_too() -> None:
    burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burn + 'print(1, flush=True)'!r} + "
        "'; input()'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline(), flush=True)\ninput()"
    )
    with Process(python("-c", code), frozenset({0})) as parent:
        parent.hear()

        assert len(parent.family) == 2
        assert parent.cpu() > 0.2e9


def test_what_a_process_has_started_ends_with_it() -> None:
    code = (
        "import socket, subprocess\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "subprocess.Popen(['sleep', '600'], pass_fds=[listener.fileno()])\n"
        "print(listener.getsockname()[1], flush=True)\ninput()"
    )
    with Process(python("-c", code), frozenset({0})) as parent:
        port = int(parent.hear())
        assert listens(port)

    deadline = time.monotonic() + 30
    while listens(port):
        assert time.monotonic() < deadline, "what it has started still listens"


def listens(port: int) -> bool:
    """Whether somebody listens there; one that does not accept does so too."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return True


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


def results() -> dict[str, Any]:
    """What `--json` writes of a run that met one budget, missed another and skipped a peer."""
    cost = Figure(
        "broadcast: CPU",
        "ns",
        (1800, 2000, 2400),
        (1000, 1000, 1000),
        LOOP,
        (Budget(1.1, of_ratio=True), Budget(2100)),
        plot="Cost of a <message>",
        label="to 5,000",
        note="With the REST call.",
    )
    return {
        "machine": {"processor": "A processor", "cores": 2},
        "size": "full",
        "benchmarks": {
            "broadcast": {"figures": [cost.as_json()]},
            "peer": {"skipped": "nginx is not installed"},
        },
    }


def test_each_budget_has_a_row_with_figure_and_verdict() -> None:
    _, _, ratio, figure, skipped = budget_table(results()).splitlines()

    assert [cell.strip() for cell in ratio.split("|")[1:-1]] == [
        "broadcast: CPU",
        "at most 1.1 of it",
        f"2 ±15% times {LOOP}",
        "0 of 3",
        "MISSED by 82%",
    ]
    assert [cell.strip() for cell in figure.split("|")[2:-1]] == [
        "at most 2,100",
        "2,000 ±15% ns",
        "2 of 3",
        "met",
    ]
    assert "skipped: nginx is not installed" in skipped


def test_the_page_names_the_machine_and_shows_budgets_figures_notes_and_plots() -> None:
    page = markdown(json.loads(json.dumps(results())))

    assert "- processor: A processor" in page
    assert budget_table(results()) in page
    assert "| broadcast: CPU | 2,000 ±15% ns |" in page
    assert "- broadcast: CPU: With the REST call." in page
    assert "- broadcast: CPU: MISSED by 82%. With the REST call." in page
    assert "](plots/cost-of-a-message.svg)" in page


def test_writing_the_page_replaces_the_plots(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "old.svg").write_text("")

    write(results(), tmp_path)

    (plot,) = (tmp_path / "plots").iterdir()
    root = ElementTree.fromstring(plot.read_text())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert (tmp_path / "RESULTS.md").is_file()
    assert root.get("aria-label") == "Cost of a <message>"
    assert {"to 5,000", "2,000", "1,000", LOOP} <= set(texts)


def test_the_catalogue_is_what_the_readme_describes() -> None:
    readme = (Path(benchmarks.catalogue.__file__).parent / "README.md").read_text()

    assert [name for name in BENCHMARKS if f"| `{name}` |" not in readme] == []
