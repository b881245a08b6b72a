"""A browser-shaped round trip: a client's invoke, the webhook, a trivial app, the completion.

`python -m benchmarks.upstream ROLE` is a process of its own: the app, the least that speaks HTTP;
the clients; or the reference, aiohttp callers that post straight to the app.
"""

import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import aiohttp
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.figure import Budget, Figure
from benchmarks.native import Programs
from benchmarks.process import LOAD_CORES, SERVER_CORES, Process, python
from benchmarks.server import HUB, Server
from benchmarks.size import Size
from hubbub.protocol.endpoints import parse_connection_string

__all__ = ["upstream"]

_CLIENTS: Final = 100
_PAUSE: Final = 0.1  # seconds between a client's answer and its next call
_CALL: Final = b'{"type":1,"invocationId":"1","target":"hello","arguments":["a",1]}'
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: how many calls of each client in a round, how often."""

    calls: int
    rounds: int


UPSTREAM: Final = {
    Size.FULL: Plan(calls=20, rounds=7),
    Size.QUICK: Plan(calls=15, rounds=3),
    Size.TINY: Plan(calls=1, rounds=1),
}


def upstream(programs: Programs, size: Size) -> list[Figure]:
    """Time from invoke to completion, and the service's CPU for one of them."""
    plan = UPSTREAM[size]
    ours, bare = [], []
    with Process(_role("app"), LOAD_CORES) as app:
        url = f"http://127.0.0.1:{app.hear()}/webhook"
        with (
            Process(_service(url), SERVER_CORES) as process,
            Process(_role("clients"), LOAD_CORES) as clients,
            Process(_role("callers"), SERVER_CORES) as callers,
        ):
            text = json.loads(process.hear())["service"]["connectionString"]
            server = Server(process, parse_connection_string(text))
            clients.say(json.dumps([server.endpoint.url, *server.client_tokens(_CLIENTS)]))
            callers.say(json.dumps([url]))
            clients.hear_word("open")
            callers.hear_word("open")
            for number in range(plan.rounds + 1):
                round_ = _round(clients, process, plan), _round(callers, callers, plan)
                if number:  # the first round warms up
                    ours.append(round_[0])
                    bare.append(round_[1])
    return [
        _figure(f"upstream: invoke to completion, {_CLIENTS} clients", "ms", 3, 0, ours, bare),
        _figure("upstream: CPU of the service for one of them", "µs", 400, 1, ours, bare),
    ]


def _role(name: str) -> list[str]:
    return python("-m", "benchmarks.upstream", name)


def _service(url: str) -> list[str]:
    return python("-m", "hubbub", "service", "--port", "0", "--json", "--upstream", url)


def _round(load: Process, measured: Process, plan: Plan) -> tuple[float, float]:
    """Milliseconds that the median call took, and microseconds of CPU for each."""
    before = measured.cpu()
    median = float(load.ask(str(plan.calls), "median")[0])
    return median * 1e3, (measured.cpu() - before) / (plan.calls * _CLIENTS) / 1e3


def _figure(
    what: str,
    unit: str,
    bound: float,
    column: int,
    ours: list[tuple[float, float]],
    bare: list[tuple[float, float]],
) -> Figure:
    return Figure(
        what,
        unit,
        tuple(values[column] for values in ours),
        tuple(values[column] for values in bare),
        "aiohttp POST to the app",
        (Budget(bound),),
    )


class _App(asyncio.Protocol):
    """Answers every webhook that waits for an answer with the result `"ok"`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_HEAD_END)) >= 0:
            head = self._received[:end].lower()
            length = int(head[head.index(_LENGTH) + len(_LENGTH) :].split(None, 1)[0])
            start = end + len(_HEAD_END)
            if len(self._received) < start + length:
                return
            body = self._received[start : start + length]
            self._received = self._received[start + length :]
            self._transport.write(_answer(body))


def _answer(body: bytes) -> bytes:
    invocation_id = json.loads(body).get("invocationId")
    record = b""
    if invocation_id is not None:
        record = b'{"type":3,"invocationId":"%b","result":"ok"}\x1e' % invocation_id.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(record), record)


async def _run_app() -> None:
    server = await asyncio.get_running_loop().create_server(_App, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _run_clients() -> None:
    url, *tokens = json.loads(await _line())
    sockets = [await _open(url, token) for token in tokens]
    await _serve([partial(_invoke, socket) for socket in sockets])


async def _run_callers() -> None:
    (url,) = json.loads(await _line())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await _serve([partial(_post, session, url)] * _CLIENTS)


async def _serve(calls: list[Callable[[], Awaitable[None]]]) -> None:
    """Make as many calls as each line says, each of `calls` one after another."""
    print("open", flush=True)
    while line := await _line():
        times = await asyncio.gather(
            *(_timed(call, int(line), number) for number, call in enumerate(calls))
        )
        print("median", statistics.median(itertools.chain(*times)), flush=True)


async def _timed(call: Callable[[], Awaitable[None]], count: int, number: int) -> list[float]:
    """Seconds that each of so many calls took; callers begin one after another, as people do."""
    times = []
    await asyncio.sleep(_PAUSE * number / _CLIENTS)
    for _ in range(count):
        await asyncio.sleep(_PAUSE)
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    return times


async def _line() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def _open(url: str, token: str) -> ClientConnection:
    address = f"{url.replace('http', 'ws', 1)}/client/?hub={HUB}&access_token={token}"
    socket = await connect(address, compression=None, proxy=None, ping_interval=None)
    await socket.send('{"protocol":"json","version":1}\x1e')
    await socket.recv()
    return socket


async def _invoke(socket: ClientConnection) -> None:
    await socket.send(_CALL.decode() + "\x1e")
    while '"type":3' not in str(await socket.recv()):
        pass  # a keep-alive


async def _post(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(url, data=_CALL) as response:
        await response.read()


_ROLES: Final = {"app": _run_app, "clients": _run_clients, "callers": _run_callers}

if __name__ == "__main__":
    uvloop.run(_ROLES[sys.argv[1]]())
