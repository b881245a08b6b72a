"""The official JavaScript client behind nginx with plain round robin: three nodes are one service.

Negotiation, the connection, each poll and post, and every REST call land on whichever node is next.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from tests.e2e.cluster.fleet import QUICK_NODE, Fleet, fleet
from tests.e2e.cluster.listening_app import ListeningApp
from tests.e2e.interop.app import App
from tests.e2e.interop.cells import CELLS, Cell
from tests.e2e.interop.driver import PATIENCE, Peer
from tests.e2e.interop.matrix import Matrix
from tests.e2e.interop.proxy import Proxy

NODES = 3
ROUNDS = 2 * NODES  # of calls, so that each kind lands on every node
TRIED = tuple(cell for cell in CELLS if cell.client in {"node", "hubbub"})


@pytest.fixture(scope="module")
def app() -> Iterator[ListeningApp]:
    with ListeningApp() as app:
        yield app


@pytest.fixture(scope="module")
def running(app: ListeningApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("round_robin")
    log = folder / "log"
    with fleet(folder, log, NODES, *QUICK_NODE, "--lease", "5", "--upstream", app.url) as running:
        yield running
    print(log.read_text())  # pytest shows it where a test failed


@pytest.fixture(scope="module")
def matrix(running: Fleet) -> Iterator[Matrix]:
    def open_page(url: str) -> None:
        raise AssertionError(f"no browser is wanted for {url}")

    with App() as app:
        matrix = Matrix(app, running.service, running.service.log, open_page)
        yield matrix
        matrix.close()


every_cell = pytest.mark.parametrize("cell", TRIED, ids=str)


def news(peer: Peer, count: int) -> list[list[object]]:
    """What the next invocations bring, in an order of its own: nodes do not wait for each other."""
    return sorted(peer.news(count), key=str)


@every_cell
def test_what_is_sent_through_any_node_reaches_whom_it_is_for(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "addresses"):
        service, hub = matrix.service, matrix.new_hub()
        one, other = matrix.open(cell, hub, "one"), matrix.open(cell, hub, "other")
        service.join(hub, "one", "some")
        assert service.call("PUT", hub, "/users/one/groups/users").status == 200
        connection = quote(service.connection_id(hub, "one"), safe="")

        for number in range(ROUNDS):
            service.send(hub, "news", number, "all")
            service.send(hub, "news", number, "user", to="/users/one")
            service.send(hub, "news", number, "group", to="/groups/some")
            service.send(hub, "news", number, "group of users", to="/groups/users")
            service.send(hub, "news", number, "connection", to=f"/connections/{connection}")

        kinds = ("all", "user", "group", "group of users", "connection")
        expected = [[number, kind] for number in range(ROUNDS) for kind in kinds]
        assert news(one, len(expected)) == sorted(expected, key=str)
        assert news(other, ROUNDS) == [[number, "all"] for number in range(ROUNDS)]


@every_cell
def test_a_call_of_a_client_reaches_the_app_and_the_answer_comes_back(
    matrix: Matrix, app: ListeningApp, cell: Cell
) -> None:
    with matrix.trying(cell, "invoke"):
        hub = matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        connection = matrix.service.connection_id(hub, "one")
        app.wait_for("connected", connection)

        for number in range(ROUNDS):
            peer.do("invoke", target="echo", arguments=[number, "né"])
            assert peer.expect("answered").get("result") == [number, "né"]
        peer.do("invoke", target="whoami", arguments=[])

        assert peer.expect("answered")["result"] == [connection, "one", hub]


@every_cell
def test_a_client_answers_whichever_node_is_asked(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "result"), ThreadPoolExecutor(1) as pool:
        service, hub = matrix.service, matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        path = f"/connections/{quote(service.connection_id(hub, 'one'), safe='')}/:invoke"

        for number in range(NODES + 1):
            question = {"target": "ask", "arguments": [number]}
            call = pool.submit(service.call, "POST", hub, path, question)
            assert peer.expect("ask")["arguments"] == [number]
            peer.do("answer", value=number)
            answer = call.result(PATIENCE)
            assert answer.status == 200, answer
            assert answer.json["result"] == number


@every_cell
def test_groups_are_joined_and_left_through_any_node(matrix: Matrix, cell: Cell) -> None:
    with matrix.trying(cell, "groups"):
        service, hub = matrix.service, matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        connection = quote(service.connection_id(hub, "one"), safe="")

        for number in range(NODES + 1):
            group = f"g{number}"
            member = f"/groups/{group}/connections/{connection}"
            assert service.call("HEAD", hub, f"/groups/{group}").status == 404
            assert service.call("PUT", hub, member).status == 200
            assert service.call("HEAD", hub, f"/groups/{group}").status == 200
            service.send(hub, "news", number, "in", to=f"/groups/{group}")
            assert peer.news(1) == [[number, "in"]]
            assert service.call("DELETE", hub, member).status == 200
            service.send(hub, "news", number, "out", to=f"/groups/{group}")
        service.send(hub, "news", "end")

        assert peer.news(1) == [["end"]]


@every_cell
def test_a_closed_client_learns_why_and_is_gone_at_every_node(
    matrix: Matrix, app: ListeningApp, cell: Cell
) -> None:
    with matrix.trying(cell, "close"):
        service, hub = matrix.service, matrix.new_hub()
        peer = matrix.open(cell, hub, "one")
        connection = service.connection_id(hub, "one")
        path = f"/connections/{quote(connection, safe='')}"
        for _ in range(NODES):
            assert service.call("HEAD", hub, path).status == 200
            assert service.call("HEAD", hub, "/users/one").status == 200

        assert service.call("DELETE", hub, path, reason="It is late.").status == 200

        assert "It is late." in peer.expect("closed")["error"]
        app.wait_for("disconnected", connection)
        for _ in range(NODES):
            assert service.call("HEAD", hub, path).status == 404
            assert service.call("HEAD", hub, "/users/one").status == 404
            assert service.call("GET", hub, "/connections").json["value"] == []
        assert app.heard("disconnected")[connection] == 1


@pytest.mark.parametrize("cell", [cell for cell in TRIED if cell.stateful], ids=str)
def test_a_stateful_client_that_is_cut_goes_on_at_another_node(
    matrix: Matrix, running: Fleet, cell: Cell
) -> None:
    first, *others = running.nodes
    with matrix.trying(cell, "cut"), Proxy(first.port) as proxy:
        service, hub = matrix.service, matrix.new_hub()
        peer = matrix.open(cell, hub, "one", port=proxy.port, reconnects=True)
        connection = service.connection_id(hub, "one")
        service.join(hub, "one", "some")

        for turn, node in enumerate((*others, first)):
            number = turn * 40
            for each in range(number, number + 20):
                service.send(hub, "news", each, to="/users/one")
            proxy.hold("down")
            service.send(hub, "news", number + 20, to="/groups/some")
            proxy.wait_held("down")
            proxy.lead_to(node.port)
            proxy.cut()
            for each in range(number + 21, number + 40):
                service.send(hub, "news", each, to="/groups/some")
            expected = [[each] for each in range(number, number + 40)]
            assert sorted(peer.news(40)) == expected
            assert service.connection_id(hub, "one") == connection
