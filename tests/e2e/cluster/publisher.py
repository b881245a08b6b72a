"""An app that sends without end: numbered messages to many audiences, several on their way at once.

It writes down what each was answered with.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final
from urllib.parse import quote

from tests.e2e.cluster.clients import HUB, TARGET, Rest
from tests.e2e.cluster.history import History, Send, Stream

__all__ = ["Publisher"]

_ANSWERED: Final = 3.0  # seconds; a node that hangs does not answer
_BATCH: Final = 6


class Publisher:
    """Sends one batch after another as long as `run` runs, each over one connection to one node."""

    def __init__(
        self,
        number: int,
        *,
        history: History,
        rest: Rest,
        nodes: Callable[[], dict[int, int]],
        audiences: Callable[[Random], str],
        random: Random,
        pause: float,
    ) -> None:
        """`nodes` are ports, `ANY_NODE` the balancer's. `pause` is seconds between batches."""
        self._number = number
        self._history = history
        self._rest = rest
        self._nodes = nodes
        self._audiences = audiences
        self._random = random
        self._pause = pause
        self._numbers: Counter[Stream] = Counter()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            nodes = self._nodes()
            node = self._random.choice(sorted(nodes))
            await self.send(node, nodes[node], self._random.randint(1, _BATCH))
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * self._pause)

    async def send(self, node: int, port: int, count: int) -> None:
        """Send so many messages at once, each to an audience of its own."""
        now = asyncio.get_running_loop().time()
        sends = []
        for _ in range(count):
            stream = Stream(self._number, node, self._audiences(self._random))
            number = self._numbers[stream]
            self._numbers[stream] += 1
            sends.append(Send(stream, number, now, now, 0))
        self._history.sends += sends
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_ANSWERED):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"".join(map(self._request, sends)))
                    for send in sends:
                        send.status = await _status(reader)
                        send.ended = asyncio.get_running_loop().time()
                finally:
                    writer.transport.abort()

    def _request(self, send: Send) -> bytes:
        stream = send.stream
        resource = f"/api/hubs/{HUB}{_place(stream.audience)}/:send"
        arguments = [stream.publisher, stream.node, stream.audience, send.number]
        body = json.dumps({"target": TARGET, "arguments": arguments}).encode()
        head = (
            f"POST {resource} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._rest.token(resource)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of the next answer, which is read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = 0
    for line in head.split("\r\n"):
        if line.startswith("content-length:"):
            length = int(line.partition(":")[2])
    await reader.readexactly(length)
    return int(head.split(" ", 2)[1])


def _place(audience: str) -> str:
    """Where an audience is in the REST API."""
    kind, _, name = audience.partition(":")
    places = {
        "all": "",
        "user": "/users/",
        "group": "/groups/",
        "users": "/groups/",
        "connection": "/connections/",
    }
    return places[kind] + quote(name, safe="")
