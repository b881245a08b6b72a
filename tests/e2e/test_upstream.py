"""The official JavaScript client calls an app that knows nothing of this package, and is answered.

The app reads and writes the wire by hand: JSON and MessagePack as the documentation describes them.
"""

import hashlib
import hmac
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import msgspec
import pytest
from tests.e2e.running import Start, clean_environment, end, first_line, missing
from websockets.sync.client import ClientConnection, connect

from hubbub.protocol.endpoints import parse_connection_string
from hubbub.protocol.tokens import issue_client_token

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "node_modules/@microsoft/signalr-protocol-msgpack"
PATIENCE = 60  # seconds, for a machine that is busy with something else
ACCESS_KEY = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGH"

SCRIPT = """
const { HubConnectionBuilder, HttpTransportType, LogLevel } = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");
const [url, token, transport, protocol] = process.argv.slice(1);

async function main() {
  let builder = new HubConnectionBuilder()
    .withUrl(url, { accessTokenFactory: () => token, transport: HttpTransportType[transport] })
    .configureLogging(LogLevel.Error);
  if (protocol === "messagepack") builder = builder.withHubProtocol(new MessagePackHubProtocol());
  const connection = builder.build();
  await connection.start();
  const said = { connectionId: connection.connectionId };
  said.sum = await connection.invoke("add", 1, 2.5);
  said.echo = await connection.invoke("echo", { text: "häl\\u1e9elo", list: [null, true, -7] });
  said.nothing = await connection.invoke("nothing");
  said.error = await connection.invoke("fail").catch((error) => error.message);
  said.unknown = await connection.invoke("unknown").catch((error) => error.message);
  const stream = (target, items = []) => new Promise((resolve) => {
    connection.stream(target, 3).subscribe({
      next: (item) => items.push(item),
      complete: () => resolve(items),
      error: (error) => resolve(error.message),
    });
  });
  said.stream = await stream("count");
  said.noStream = await stream("add");
  for (let number = 0; number < 20; number++) await connection.send("note", number);
  said.after = await connection.invoke("notes");
  await connection.stop();
  console.log(JSON.stringify(said));
}
main().catch((error) => { console.error(error); process.exit(1); });
"""


def answer(target: str, arguments: list[Any], notes: list[Any]) -> tuple[str, Any]:
    """What the app does: the member of a completion, and its value."""
    match target:
        case "add":
            return "result", sum(arguments)
        case "echo":
            return "result", arguments[0]
        case "note":
            notes.append(arguments[0])
            return "result", None
        case "notes":
            return "result", notes
        case "fail":
            return "error", "It did not work."
    return "", None


def completion(invocation: str, member: str, value: Any, *, binary: bool) -> bytes:
    """A framed completion, made by hand."""
    if not binary:
        members = {member: value} if member else {}
        return json.dumps({"type": 3, "invocationId": invocation, **members}).encode() + b"\x1e"
    kind = {"error": 1, "": 2, "result": 3}[member]
    return packed([3, {}, invocation, kind, *([value] if member else [])])


def items(invocation: str, values: Iterable[Any], *, binary: bool) -> bytes:
    """Framed items of a stream."""
    if binary:
        return b"".join(packed([2, {}, invocation, value]) for value in values)
    records = ({"type": 2, "invocationId": invocation, "item": value} for value in values)
    return b"".join(json.dumps(record).encode() + b"\x1e" for record in records)


def packed(record: list[Any]) -> bytes:
    """A record in MessagePack with its length before it."""
    body = msgspec.msgpack.encode(record)
    assert len(body) < 128, "the length is one byte here"
    return bytes((len(body),)) + body


class App(ThreadingHTTPServer):
    """The app, and what it has been told of connections."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.notes: list[Any] = []
        self.connections: Queue[tuple[str, str]] = Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/webhook"


class Handler(BaseHTTPRequestHandler):
    """Answers one request of the service."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        connection_id = self.headers["X-ASRS-Connection-Id"]
        mac = hmac.digest(ACCESS_KEY.encode(), connection_id.encode(), hashlib.sha256).hex()
        if self.headers["X-ASRS-Signature"] != f"sha256={mac}":
            self.say(401)
        elif self.headers["X-ASRS-Category"] == "connections":
            self.server.connections.put((self.headers["X-ASRS-Event"], connection_id))
            self.say(200)
        else:
            self.call(body)

    def call(self, body: bytes) -> None:
        binary = self.headers["Content-Type"] == "application/x-msgpack"
        if binary:
            _type, _headers, invocation, target, arguments, *_ = msgspec.msgpack.decode(body)
        else:
            message = json.loads(body)
            invocation, target = message.get("invocationId"), message["target"]
            arguments = message["arguments"]
        if target == "unknown":
            self.say(404)
            return
        member, value = answer(target, arguments, self.server.notes)
        if invocation is None or target == "nothing":
            self.say(200)
        elif target == "count":
            assert self.headers["X-Hubbub-Stream-Id"] == invocation
            counted = items(invocation, range(arguments[0]), binary=binary)
            self.say(200, counted + completion(invocation, "", None, binary=binary))
        else:
            self.say(200, completion(invocation, member, value, binary=binary))

    def say(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    server: App

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


@pytest.fixture
def app() -> Iterator[App]:
    """A running app."""
    with App() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def service(*options: str, log: Path) -> Iterator[str]:
    """`hubbub service` with these options; yields its connection string."""
    command = [sys.executable, "-m", "hubbub", "service", "--port", "0", "--json", *options]
    with log.open("a") as stderr:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        line = first_line(process)
        assert line, log.read_text()
        yield str(json.loads(line)["service"]["connectionString"])
    finally:
        end(process)
        print(log.read_text())  # pytest shows it where a test failed


def run_client(connection_string: str, transport: str, protocol: str) -> dict[str, Any]:
    """What the official client has to say after its calls."""
    node = shutil.which("node")
    if node is None:
        missing("Node is not installed")
    if not CLIENT.is_dir():
        missing("the official client is not in node_modules (npm ci)")
    endpoint = parse_connection_string(connection_string)
    token = issue_client_token(endpoint, "chat", now=int(time.time()), user_id="Jürgen")
    url = f"{endpoint.url}/client/?hub=chat"
    done = subprocess.run(
        [node, "-e", SCRIPT, "--", url, token, transport, protocol],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [
        ("WebSockets", "json"),
        ("WebSockets", "messagepack"),
        ("ServerSentEvents", "json"),
        ("LongPolling", "json"),
        ("LongPolling", "messagepack"),
    ],
)
def test_invoke_and_send_reach_the_app_and_its_answers_come_back(
    app: App, transport: str, protocol: str, tmp_path: Path
) -> None:
    with service("--upstream", app.url, log=tmp_path / "log") as connection_string:
        said = run_client(connection_string, transport, protocol)
        heard = [app.connections.get(timeout=PATIENCE) for _ in range(2)]

    connection_id = said.pop("connectionId")
    assert heard == [("connected", connection_id), ("disconnected", connection_id)]
    assert said["after"] == list(range(20))
    assert said["sum"] == 3.5
    assert said["echo"] == {"text": "hälẞlo", "list": [None, True, -7]}
    assert said.get("nothing") is None
    assert said["error"] == "It did not work."
    assert said["unknown"] == "Invocation failed, status code 404"
    assert said["stream"] == [0, 1, 2]
    assert "attempted to invoke the non-streaming 'add' method" in said["noStream"]


def test_the_emulators_settings_file_says_where_the_app_is(app: App, tmp_path: Path) -> None:
    template = {"UrlTemplate": app.url, "HubPattern": "chat"}
    (tmp_path / "settings.json").write_text(
        json.dumps({"UpstreamSettings": {"Templates": [template]}})
    )

    # It is found in the folder that the service is started in.
    with service(log=tmp_path / "log") as connection_string:
        said = run_client(connection_string, "WebSockets", "json")

    assert said["sum"] == 3.5


@contextmanager
def raw_client(connection_string: str) -> Iterator[ClientConnection]:
    """A WebSocket that has done its handshake."""
    endpoint = parse_connection_string(connection_string)
    token = issue_client_token(endpoint, "chat", now=int(time.time()))
    address = endpoint.url.replace("http", "ws", 1)
    with connect(f"{address}/client/?hub=chat&access_token={token}", proxy=None) as socket:
        socket.send('{"protocol":"json","version":1}\x1e')
        assert socket.recv(PATIENCE) == "{}\x1e"
        yield socket


def invoke(socket: ClientConnection, target: str) -> Any:
    """The completion of a call, as it came."""
    call = {"type": 1, "invocationId": "1", "target": target, "arguments": []}
    socket.send(json.dumps(call) + "\x1e")
    return json.loads(str(socket.recv(PATIENCE)).removesuffix("\x1e"))


def test_a_service_that_stops_tells_the_app_that_its_clients_are_gone(
    app: App, tmp_path: Path
) -> None:
    clients = ExitStack()
    with clients, service("--upstream", app.url, log=tmp_path / "log") as connection_string:
        clients.enter_context(raw_client(connection_string))
        assert app.connections.get(timeout=PATIENCE)[0] == "connected"
        # The service ends before its client does.

    assert app.connections.get(timeout=PATIENCE)[0] == "disconnected"


def test_a_settings_file_is_taken_up_while_a_client_is_connected(app: App, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")
    with service("--settings", str(tmp_path), log=tmp_path / "log") as connection_string:
        endpoint = parse_connection_string(connection_string)
        deadline = time.monotonic() + PATIENCE
        template = {"UrlTemplate": app.url}
        path.write_text(json.dumps({"UpstreamSettings": {"Templates": [template]}}))
        answered: Any = {}
        while answered.get("result") != 0:
            assert time.monotonic() < deadline, endpoint
            # Until it is taken up, a client that calls is told that there is no upstream.
            with raw_client(connection_string) as socket:
                answered = invoke(socket, "add")


def test_hubbub_start_sends_events_to_the_host_of_its_app(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0"}')
    (folder / "function_app.py").write_text(
        "import azure.functions as func\napp = func.FunctionApp()\n"
    )
    hubbub = start(folder)

    with raw_client(hubbub.facts["service"]["connectionString"]) as socket:
        # The host answers, and has no such function.
        assert invoke(socket, "anything")["error"] == "Invocation failed, status code 404"
