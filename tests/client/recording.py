"""A server that records requests as they come over the wire, and answers what a test wants."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from hubbub.protocol.endpoints import format_connection_string

KEY = "recorded-" * 5


@dataclass
class Asked:
    """One request. `target` is its path and query, undecoded; `peer` is whose socket it came by."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    peer: Any


@dataclass
class Recorder:
    """Keeps each request in `asked`; answers with `status`, `headers` and `body`."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    @property
    def connection_string(self) -> str:
        return format_connection_string(self.url, KEY)

    @property
    def only(self) -> Asked:
        """The only request."""
        (asked,) = self.asked
        return asked

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        peer = request.transport.get_extra_info("peername") if request.transport else None
        asked = Asked(request.method, request.raw_path, dict(request.headers), body, peer)
        self.asked.append(asked)
        return web.Response(status=self.status, headers=self.headers, body=self.body)

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
