"""Starts one node that declares others dead after seconds. Run with `--port` and `--backplane`.

It is `hubbub service` but for its times, which a test cannot wait for.
"""

import argparse
import json
import socket

import uvloop

from hubbub.cli.child import raise_file_limit, set_up_logging
from hubbub.cli.network import listen, named_localhost, origin
from hubbub.protocol.endpoints import format_connection_string
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.backplane.engine import redis_engine
from hubbub.service.cluster.cluster import Cluster
from hubbub.service.node import Node
from hubbub.service.server import _Server
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings

RENEWALS = 4  # of a lease in its time


async def _serve(
    settings: ServiceSettings, listener: socket.socket, backplane: str, lease: float
) -> None:
    engine = redis_engine(backplane, lease=lease)
    node = Node(settings, engine.store)
    cluster = Cluster(node, engine, lease=lease, renewal=lease / RENEWALS)
    await cluster.open()
    await engine.store.open()
    node.open()
    text = format_connection_string(settings.url, EMULATOR_KEY)
    facts = {"service": {"url": origin(listener), "connectionString": text}}
    server = _Server(node, lambda: print(json.dumps(facts), flush=True))
    try:
        await server.serve(sockets=[listener])
    finally:
        node.close()
        await node.upstream.close(settings.upstream_grace)
        await cluster.close()
        await engine.store.close()


def main() -> None:
    """Serve until a signal, and print the ready line of `hubbub service --json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--backplane", required=True)
    parser.add_argument("--lease", type=float, required=True, help="seconds")
    parser.add_argument("--upstream")
    options = parser.parse_args()
    set_up_logging("info")
    raise_file_limit()
    listener = listen("127.0.0.1", options.port, option="--port")
    template = Template(url_template=options.upstream) if options.upstream else None
    settings = ServiceSettings(
        url=named_localhost(origin(listener)),
        upstream_templates=(template,) if template is not None else (),
        answer_timeout=2.0,
        drain_window=2.0,
        close_timeout=2.0,
    )
    uvloop.run(_serve(settings, listener, options.backplane, options.lease))


if __name__ == "__main__":
    main()
