"""The app that docs/upstream.md shows is run as it stands there."""

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import uvicorn
from tests.service.running import PATIENCE
from tests.service.upstream_app import result, running_service

from hubbub.protocol.upstreamtemplate import Template

PAGE = Path(__file__).parents[2] / "docs/upstream.md"


def shown_app() -> Any:
    """The app in the page's only block of Python."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["app"]


async def test_the_app_in_the_documentation_works() -> None:
    config = uvicorn.Config(shown_app(), lifespan="off", log_config=None, access_log=False)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[listener])
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
    try:
        async with running_service(Template(url_template=url)) as service:
            client = await service.connect(user="bob")

            assert await result(client, "greet", "there") == "Hello there, bob"
            assert await result(client, "other") == "There is no such method."
        async with running_service(
            Template(url_template=url), access_keys=("another-key-" * 4,)
        ) as service:
            client = await service.connect()

            assert await result(client, "greet", "there") == "Invocation failed, status code 401"
    finally:
        async with asyncio.timeout(PATIENCE):
            await server.shutdown(sockets=[listener])
