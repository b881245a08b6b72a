"""Starts one node that declares others dead after seconds. Run with `--port` and `--backplane`.

It is `hubbub service` but for its times, which a test cannot wait for.
"""

import argparse
import json

import uvloop

from hubbub.cli.child import raise_file_limit, set_up_logging
from hubbub.cli.network import listen, named_localhost, origin
from hubbub.protocol.endpoints import format_connection_string
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.backplane.engine import redis_engine
from hubbub.service.server import serve
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings


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
    text = format_connection_string(settings.url, EMULATOR_KEY)
    facts = {"service": {"url": origin(listener), "connectionString": text}}
    uvloop.run(
        serve(
            settings,
            listener,
            ready=lambda _: print(json.dumps(facts), flush=True),
            engine=redis_engine(options.backplane, lease=options.lease),
            lease=options.lease,
        )
    )


if __name__ == "__main__":
    main()
