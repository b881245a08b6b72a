"""Clients that know which node they are at, and write down all that comes: WebSockets and JSON.

They come back by themselves, go now and then, and join their groups anew each time.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from tests.e2e.cluster.history import NEVER, History, Stay, Stream

from hubbub.protocol.endpoints import Endpoint
from hubbub.protocol.tokens import issue_client_token, issue_rest_token

__all__ = ["HUB", "TARGET", "Client", "Rest"]

HUB: Final = "chaos"
TARGET: Final = "news"  # of all that is sent
_SEPARATOR: Final = "\x1e"
_HANDSHAKE: Final = '{"protocol":"json","version":1}' + _SEPARATOR
_PING: Final = '{"type":6}' + _SEPARATOR
_KEEP_ALIVE: Final = 5.0  # seconds
_TURN: Final = 0.5  # seconds after which a client that hears nothing looks at the time
_PATIENCE: Final = 5.0  # seconds for what a node that is well does at once
_PAUSE: Final = 0.1  # seconds between attempts
_AWAY: Final = (aiohttp.ClientError, OSError, TimeoutError)


class Rest:
    """Calls to the REST API of any node."""

    def __init__(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        self.http = http
        self.endpoint = endpoint

    async def call(self, method: str, port: int, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and the body where it is JSON; 0 where no answer comes."""
        headers = {"Authorization": f"Bearer {self.token(path)}"}
        url = f"http://127.0.0.1:{port}{path}"
        timeout = aiohttp.ClientTimeout(_PATIENCE)
        try:
            async with self.http.request(
                method, url, json=body, headers=headers, timeout=timeout
            ) as response:
                text = await response.text()
                is_json = text and "json" in response.headers.get("content-type", "")
                count = response.headers.get("x-total-count")
                return response.status, json.loads(text) if is_json else count
        except _AWAY:
            return 0, None

    def client_token(self, user: str) -> str:
        """What a client connects with."""
        return issue_client_token(self.endpoint, HUB, now=int(time.time()), user_id=user)

    def token(self, path: str) -> str:
        """What a call of `path` is made with."""
        return issue_rest_token(
            self.endpoint, f"http://127.0.0.1{path.partition('?')[0]}", now=int(time.time())
        )


class Client:
    """One client, which is connected as long as `run` runs."""

    def __init__(
        self,
        name: str,
        user: str,
        groups: Sequence[str],
        *,
        history: History,
        rest: Rest,
        nodes: Callable[[], dict[int, int]],
        random: Random,
        seconds: float,
    ) -> None:
        """`nodes` are the ports of those that can be reached; it goes after about `seconds`."""
        self.name = name
        self.stay: Stay | None = None
        self._user = user
        self._groups = groups
        self._history = history
        self._rest = rest
        self._nodes = nodes
        self._random = random
        self._seconds = seconds
        self.goes = True

    async def run(self) -> None:
        """Be there, again and again, until cancelled."""
        while True:
            nodes = self._nodes()
            negotiating, opening = self._random.choices(sorted(nodes), k=2)
            with suppress(*_AWAY, _RefusedError):
                await self._connect(nodes[negotiating], opening, nodes[opening])
            await asyncio.sleep(_PAUSE)

    async def _connect(self, negotiating: int, node: int, port: int) -> None:
        token = self._rest.client_token(self._user)
        query = {"hub": HUB, "access_token": token}
        timeout = aiohttp.ClientTimeout(_PATIENCE)
        async with self._rest.http.post(
            f"http://127.0.0.1:{negotiating}/client/negotiate?hub={HUB}&negotiateVersion=1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
        ) as response:
            if response.status != 200:
                raise _RefusedError
            facts = await response.json(content_type=None)
        query["id"] = facts["connectionToken"]
        url = f"ws://127.0.0.1:{port}/client/?{urlencode(query)}"
        async with asyncio.timeout(_PATIENCE):
            socket = await self._rest.http.ws_connect(url, compress=0, max_msg_size=0)
        try:
            await self._be_there(socket, node, facts["connectionId"])
        finally:
            await _abort(socket)

    async def _be_there(
        self, socket: aiohttp.ClientWebSocketResponse, node: int, connection: str
    ) -> None:
        await socket.send_str(_HANDSHAKE)
        first = await socket.receive(_PATIENCE)
        if first.type is not aiohttp.WSMsgType.TEXT or not first.data.startswith("{}"):
            raise _RefusedError
        loop = asyncio.get_running_loop()
        stay = self.stay = Stay(self.name, self._user, connection, node, loop.time())
        self._history.stays.append(stay)
        self._take(stay, first.data.partition(_SEPARATOR)[2])
        joining = asyncio.ensure_future(self._join(stay))
        try:
            await self._receive(stay, socket)
        finally:
            joining.cancel()
            stay.ended = loop.time()
            self.stay = None

    async def _receive(self, stay: Stay, socket: aiohttp.ClientWebSocketResponse) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._random.uniform(0.5, 1.5) * self._seconds
        pinged = loop.time()
        while not self.goes or loop.time() < end:
            if loop.time() - pinged > _KEEP_ALIVE:
                pinged = loop.time()
                await socket.send_str(_PING)
            try:
                message = await socket.receive(_TURN)
            except TimeoutError:
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            self._take(stay, message.data)

    def _take(self, stay: Stay, text: str) -> None:
        for record in text.split(_SEPARATOR)[:-1]:
            document = json.loads(record)
            if document["type"] == 1:
                publisher, node, audience, number = document["arguments"]
                stay.received.append((Stream(publisher, node, audience), number))

    async def _join(self, stay: Stay) -> None:
        """Join all groups, through any node that does it."""
        loop = asyncio.get_running_loop()
        for group in self._groups:
            stay.groups[group] = NEVER
            connection = quote(stay.connection, safe="")
            path = f"/api/hubs/{HUB}/groups/{group}/connections/{connection}"
            while True:
                port = self._random.choice(list(self._nodes().values()))
                if (await self._rest.call("PUT", port, path))[0] == 200:
                    break
                await asyncio.sleep(_PAUSE)
            stay.groups[group] = loop.time()


class _RefusedError(Exception):
    """The node does not let the client in, which may try another."""


async def _abort(socket: aiohttp.ClientWebSocketResponse) -> None:
    """End a socket, without waiting for a node that may hang."""
    with suppress(*_AWAY):
        async with asyncio.timeout(0.5):
            await socket.close()
