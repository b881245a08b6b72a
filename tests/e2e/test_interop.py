"""Clients that others wrote, each over every transport and encoding it has, against the service.

One cell of the matrix is one client over one transport in one encoding. What comes of each feature
in each cell is compared with `docs/compatibility.md`, or written to it.
"""

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.e2e.interop.app import App
from tests.e2e.interop.cells import CELLS, Cell, cells_with, note_on
from tests.e2e.interop.driver import PATIENCE, Peer
from tests.e2e.interop.hasty_service import CLIENT_TIMEOUT
from tests.e2e.interop.matrix import Matrix, Outcomes
from tests.e2e.interop.proxy import Proxy
from tests.e2e.interop.service import RunningService
from tests.e2e.interop.table import PAGE, REWRITE, complete_rows, render
from websockets.sync.client import connect

# Lines end, records end, events end, strings end: all of it is text to a client.
STRANGE = "né 日本語 👩‍👩‍👧 עברית e\u0301 \r\n\n \x1e \x00 \u2028 \ufeff \\ \" ' < > & + data: \x7f"
HASTY_SERVICE = str(Path(__file__).with_name("interop") / "hasty_service.py")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    log = tmp_path_factory.mktemp("interop") / "log"
    yield log
    print(log.read_text() if log.exists() else "")  # pytest shows it where a test failed


@pytest.fixture(scope="module")
def start(log: Path) -> Iterator[Callable[..., RunningService]]:
    """Start services with `start(*arguments of Python)`."""
    running = []

    def start_service(*arguments: str) -> RunningService:
        service = RunningService(log, arguments) if arguments else RunningService(log)
        running.append(service)
        service.start()
        return service

    yield start_service
    for service in running:
        service.end()


@pytest.fixture(scope="module")
def matrix(
    request: pytest.FixtureRequest, start: Callable[..., RunningService], log: Path
) -> Iterator[Matrix]:
    def open_page(url: str) -> None:
        request.getfixturevalue("browser").new_page().goto(url)

    with App() as app:
        matrix = Matrix(app, start(), log, open_page)
        yield matrix
        matrix.close()


def in_cells_with(feature: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cell", cells_with(feature), ids=str)


@in_cells_with("addresses")
def test_a_message_reaches_whom_it_is_sent_to_and_nobody_else(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "addresses"):
        service, hub = matrix.service, matrix.new_hub()
        one, other = matrix.open(cell, hub, "one"), matrix.open(cell, hub, "other")
        service.join(hub, "one", "some")

        service.send(hub, "news", 1, "to all")
        service.send(hub, "news", 2, "to a user", to="/users/one")
        service.send(hub, "news", 3, "to a group", to="/groups/some")
        connection = service.connection_id(hub, "one")
        service.send(hub, "news", 4, "to a connection", to=f"/connections/{connection}")
        service.send(hub, "news", 5, "to all again")

        assert one.news(5) == [
            [1, "to all"],
            [2, "to a user"],
            [3, "to a group"],
            [4, "to a connection"],
            [5, "to all again"],
        ]
        assert other.news(2) == [[1, "to all"], [5, "to all again"]]


@in_cells_with("order")
def test_messages_arrive_in_the_order_of_their_acceptance(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "order"):
        service, hub = matrix.service, matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        service.join(hub, "one", "some")
        connection = service.connection_id(hub, "one")
        addresses = ("", "/users/one", "/groups/some", f"/connections/{connection}")

        mixed = random.Random(str(cell)).choices(addresses, k=200)
        service.send_at_once(
            hub, [(address, "news", [number, address]) for number, address in enumerate(mixed)]
        )

        assert peer.news(200) == [[number, address] for number, address in enumerate(mixed)]


@in_cells_with("text")
def test_any_text_arrives_as_it_was_sent_and_so_do_200_kilobytes(
    matrix: Matrix, cell: Cell
) -> None:
    with matrix.trying(cell, "text"):
        hub = matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        size = 200_000 if note_on(cell, "text") is None else 30_000
        large = "0123456789é日👩" * (size // len("0123456789é日👩".encode()))

        matrix.service.send(hub, "news", 1, STRANGE)
        matrix.service.send(hub, "news", 2, large)
        matrix.service.send(hub, "news", 3, {STRANGE: [STRANGE, None, True, -1, 0.5]})

        assert peer.news(3) == [
            [1, STRANGE],
            [2, large],
            [3, {STRANGE: [STRANGE, None, True, -1, 0.5]}],
        ]


@in_cells_with("result")
def test_a_client_answers_what_it_is_asked(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "result"), ThreadPoolExecutor(1) as pool:
        service, hub = matrix.service, matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        path = f"/connections/{service.connection_id(hub, 'one')}/:invoke"
        question = {"target": "ask", "arguments": ["How many?"]}

        call = pool.submit(service.call, "POST", hub, path, question)
        assert peer.expect("ask")["arguments"] == ["How many?"]
        peer.do("answer", value={"number": 5, "text": STRANGE})

        answer = call.result(PATIENCE)
        assert answer.status == 200, answer
        assert answer.json["result"] == {"number": 5, "text": STRANGE}


@in_cells_with("invoke")
def test_calling_a_service_without_an_upstream_gets_the_reason(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "invoke"):
        peer = matrix.open(cell, matrix.new_hub(), "one")

        peer.do("invoke", target="say", arguments=["hello"])

        assert "no upstream configured" in peer.skip_to("answered")["error"]


@in_cells_with("close")
def test_a_client_learns_why_it_was_closed(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "close"):
        service, hub = matrix.service, matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        path = f"/connections/{service.connection_id(hub, 'one')}"

        assert service.call("DELETE", hub, path, reason="It is late.").status == 200

        error = peer.expect("closed")["error"]
        if note_on(cell, "close") is None:
            assert "It is late." in error


@in_cells_with("cut")
def test_a_connection_that_is_cut_comes_back(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "cut"), Proxy(matrix.service.port) as proxy:
        hub = matrix.new_hub()
        peer = matrix.open(cell, hub, "one", port=proxy.port, reconnects=True)
        if cell.stateful:
            nothing_is_lost_or_repeated_that_is_sent(matrix, hub, peer, proxy)
            nothing_is_lost_that_is_answered(matrix, hub, peer, proxy)
        else:
            matrix.service.send(hub, "news", 1, "before")
            assert peer.news(1) == [[1, "before"]]

            proxy.cut()

            if cell.transport != "LongPolling":
                peer.skip_to("reconnected")
            matrix.service.send(hub, "news", 2, "after")
            if (event := peer.next())["event"] == "reconnecting":
                peer.skip_to("reconnected")
                matrix.service.send(hub, "news", 3, "after")
                event = peer.skip_to("news")
            # An HTTP client may repeat a poll that was cut, and then the connection goes on.
            assert event["arguments"][1] == "after"


def nothing_is_lost_or_repeated_that_is_sent(
    matrix: Matrix, hub: str, peer: Peer, proxy: Proxy
) -> None:
    """Cut the connection twice while messages flow to the client."""

    def send(first: int, last: int) -> None:
        for number in range(first, last):
            matrix.service.send(hub, "news", number, "flows")

    send(0, 20)
    proxy.hold("down")
    send(20, 40)
    proxy.wait_held("down")
    proxy.cut()  # loses what the service has sent and the client has not got
    send(40, 60)
    assert peer.news(60) == [[number, "flows"] for number in range(60)]

    send(60, 70)
    assert peer.news(10) == [[number, "flows"] for number in range(60, 70)]
    proxy.cut(service_notices=False)  # what follows is sent into the void at first
    send(70, 90)
    assert peer.news(20) == [[number, "flows"] for number in range(70, 90)]


def nothing_is_lost_that_is_answered(matrix: Matrix, hub: str, peer: Peer, proxy: Proxy) -> None:
    """Lose the client's answer on its way; it has to say it again."""
    path = f"/connections/{matrix.service.connection_id(hub, 'one')}/:invoke"
    question = {"target": "ask", "arguments": ["How many?"]}
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(matrix.service.call, "POST", hub, path, question)
        peer.expect("ask")
        proxy.hold("up")
        peer.do("answer", value="five")
        proxy.wait_held("up")
        proxy.cut()

        answer = call.result(PATIENCE)
        assert answer.status == 200, answer
        assert answer.json["result"] == "five"
    matrix.service.send(hub, "news", 90, "ends")
    assert peer.news(1) == [[90, "ends"]]


@pytest.fixture(scope="module")
def quiet(matrix: Matrix, start: Callable[..., RunningService]) -> Outcomes:
    """Connections of all cells, on which nothing is said for longer than any timeout."""
    service, hub = start(HASTY_SERVICE), matrix.new_hub()
    peers: dict[Cell, Peer] = {}

    def open_cell(cell: Cell) -> None:
        peers[cell] = matrix.open(
            cell,
            hub,
            str(cell),
            service=service,
            reconnects=True,
            server_timeout=CLIENT_TIMEOUT * 2 / 3,
            keep_alive=1,
        )

    def is_there_still(cell: Cell) -> None:
        assert peers[cell].news(1) == [[1, "at last"]]

    opened = matrix.for_each(cells_with("quiet"), open_cell)
    wait_for_the_timeout(service, hub)
    service.send(hub, "news", 1, "at last")
    return {**opened, **matrix.for_each(peers, is_there_still)}


def wait_for_the_timeout(service: RunningService, hub: str) -> None:
    """Wait until the service has given up on a client that came now and says nothing."""
    url = f"ws://127.0.0.1:{service.port}/client/?hub={hub}"
    token = service.client_token(hub, "witness")
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as witness:
        witness.send('{"protocol":"json","version":1}\x1e')
        heard = "".join(str(frame) for frame in witness)
    assert "ClientTimeoutInterval" in heard


@in_cells_with("quiet")
def test_pings_keep_a_quiet_connection(matrix: Matrix, quiet: Outcomes, cell: Cell) -> None:
    matrix.require(cell.client)
    with matrix.trying(cell, "quiet"):
        error = quiet[cell]
        if error is not None:
            raise error


@pytest.fixture(scope="module")
def restart(matrix: Matrix, start: Callable[..., RunningService]) -> Outcomes:
    """Connections of all cells to a service that is stopped and started again."""
    service, hub = start(), matrix.new_hub()
    peers: dict[Cell, Peer] = {}

    def open_cell(cell: Cell) -> None:
        peers[cell] = matrix.open(cell, hub, str(cell), service=service, reconnects=True)

    def is_back(cell: Cell) -> None:
        peers[cell].skip_to("reconnected")
        service.send(hub, "news", 1, "again", to=f"/users/{cell}")
        assert peers[cell].news(1) == [[1, "again"]]

    opened = matrix.for_each(cells_with("restart"), open_cell)
    assert service.end() == 0
    service.start()
    return {**opened, **matrix.for_each(peers, is_back)}


@in_cells_with("restart")
def test_a_client_comes_back_after_a_restart(matrix: Matrix, restart: Outcomes, cell: Cell) -> None:
    matrix.require(cell.client)
    with matrix.trying(cell, "restart"):
        error = restart[cell]
        if error is not None:
            raise error


def test_the_page_on_compatibility_says_what_this_run_saw(matrix: Matrix) -> None:
    rows = complete_rows(matrix.outcomes)
    previous = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    page = render(rows, previous)
    if os.environ.get("HUBBUB_WRITE_COMPATIBILITY") == "1":
        assert set(rows) == set(CELLS), f"not tried: {[str(c) for c in CELLS if c not in rows]}"
        PAGE.write_text(page, encoding="utf-8")
        return
    if not rows:
        pytest.skip("no cell has been tried completely")
    assert previous == page, f"docs/compatibility.md is not what was seen. To write it: {REWRITE}"
