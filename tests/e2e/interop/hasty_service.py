"""Starts a service that gives up on silent clients after seconds. Run with `--port`."""

import json
import sys

import uvloop

from hubbub.cli.network import listen, named_localhost, origin
from hubbub.protocol.endpoints import format_connection_string
from hubbub.service.server import serve
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings

KEEP_ALIVE = 1.0  # seconds; a node looks at each connection once a second
CLIENT_TIMEOUT = 4.0


def main(port: int) -> None:
    """Serve until a signal, and print the ready line of `hubbub service --json`."""
    listener = listen("127.0.0.1", port, option="--port")
    url = origin(listener)
    text = format_connection_string(named_localhost(url), EMULATOR_KEY)
    facts = {"service": {"url": url, "connectionString": text}}
    settings = ServiceSettings(keep_alive_interval=KEEP_ALIVE, client_timeout=CLIENT_TIMEOUT)
    uvloop.run(serve(settings, listener, ready=lambda _: print(json.dumps(facts), flush=True)))


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--port") + 1]))
