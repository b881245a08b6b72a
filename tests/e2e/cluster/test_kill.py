"""A node of `hubbub service --backplane` is killed, with the times that it has by itself."""

from pathlib import Path

from tests.e2e.cluster.fleet import fleet
from tests.e2e.cluster.listening_app import ListeningApp
from tests.e2e.interop.service import COMMAND
from websockets.sync.client import connect

NOTICED = 15.0  # seconds; what is promised


def test_the_end_of_a_killed_nodes_client_is_told_within_15_seconds_and_listings_know_at_once(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with ListeningApp() as app, fleet(tmp_path, log, 2, *COMMAND, "--upstream", app.url) as running:
        killed, other = running.nodes
        token = killed.client_token("chat", "ann")
        url = f"ws://127.0.0.1:{killed.port}/client/?hub=chat&access_token={token}"
        with connect(url) as client:
            client.send('{"protocol":"json","version":1}\x1e')
            assert client.recv() == "{}\x1e"
            connection = other.connection_id("chat", "ann")
            app.wait_for("connected", connection)

            killed.kill()

            assert other.call("GET", "chat", "/connections").json["value"] == []
            assert other.call("HEAD", "chat", "/users/ann").status == 404
            assert app.heard("disconnected") == {}
            app.wait_for("disconnected", connection, NOTICED)
            assert app.heard("disconnected") == {connection: 1}
