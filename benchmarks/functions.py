"""The function host: requests to a function for a second of CPU, and the time from start to ready.

`python -m benchmarks.functions host FOLDER` is the process that `hubbub host` starts for an app;
`... bare` is the reference, a Starlette route that answers the same; `... imports FOLDER` does
nothing but import the app.
"""

import gc
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.figure import Budget, Figure
from benchmarks.load import run_requests
from benchmarks.native import Programs
from benchmarks.process import LOAD_CORES, SERVER_CORES, Process, python
from benchmarks.size import Size

__all__ = ["functions"]

_CALLERS: Final = 16  # connections that requests come on
_FUNCTIONS: Final = 20  # of the app whose start is timed
_REQUEST: Final = (
    b"GET /api/hello HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
)
_HEAD: Final = """\
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
_ASYNC: Final = """

@app.route(route="{name}")
async def {name}(req: func.HttpRequest) -> str:
    return "hello"
"""
_SYNC: Final = _ASYNC.replace("async def", "def")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: how many requests in a round, how often; and how many starts."""

    requests: int
    rounds: int
    starts: int


FUNCTIONS: Final = {
    Size.FULL: Plan(requests=10_000, rounds=9, starts=7),
    Size.QUICK: Plan(requests=4_000, rounds=5, starts=3),
    Size.TINY: Plan(requests=40, rounds=2, starts=1),
}


def functions(programs: Programs, size: Size) -> list[Figure]:
    """An async and a sync function that return a short text, and the start of a larger app."""
    plan = FUNCTIONS[size]
    with tempfile.TemporaryDirectory(prefix="hubbub-bench-") as name:
        folder = Path(name)
        figures = []
        for kind, source, budgets in (
            ("an async", _ASYNC, (Budget(0.6, at_least=True, of_ratio=True),)),
            ("a sync", _SYNC, ()),
        ):
            app = _write(folder / kind.split()[1], _HEAD + source.format(name="hello"))
            ours, bare = _rounds(programs, plan, app, folder)
            what = f"functions: requests to {kind} function, a second of CPU"
            figures.append(Figure(what, "/s", ours, bare, "bare uvicorn + Starlette", budgets))
        return [*figures, _start(plan, folder)]


def _rounds(
    programs: Programs, plan: Plan, app: Path, folder: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ours, bare = [], []
    with (
        Process(_role("host", str(app)), SERVER_CORES) as host,
        Process(_role("bare"), SERVER_CORES) as reference,
        _requester(programs, host) as to_host,
        _requester(programs, reference) as to_reference,
    ):
        for number in range(plan.rounds + 1):
            mine = _requests_a_second(host, to_host, plan.requests, folder)
            theirs = _requests_a_second(reference, to_reference, plan.requests, folder)
            if number:  # the first round warms up
                ours.append(mine)
                bare.append(theirs)
    return tuple(ours), tuple(bare)


def _start(plan: Plan, folder: Path) -> Figure:
    """Time on the wall from starting `hubbub host` to its ready line, less the app's imports."""
    names = [f"function_{number}" for number in range(_FUNCTIONS)]
    app = _write(folder / "many", _HEAD + "".join(_ASYNC.format(name=name) for name in names))
    command = python("-m", "hubbub", "host", str(app), "--port", "0", "--json")
    _until_first_line(command)  # writes what Python keeps of compiled modules
    values = [
        _until_first_line(command) - _until_first_line(_role("imports", str(app)))
        for _ in range(plan.starts)
    ]
    what = f"functions: start to ready with {_FUNCTIONS} functions, beyond the app's imports"
    return Figure(what, "s", tuple(values), budgets=(Budget(1.0),))


def _write(folder: Path, source: str) -> Path:
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0"}')
    (folder / "function_app.py").write_text(source)
    return folder


def _role(name: str, *arguments: str) -> list[str]:
    return python("-m", "benchmarks.functions", name, *arguments)


def _requester(programs: Programs, server: Process) -> Process:
    command = [str(programs.requests), "127.0.0.1", server.hear(), str(_CALLERS)]
    return Process(command, LOAD_CORES)


def _requests_a_second(server: Process, requester: Process, count: int, folder: Path) -> float:
    before = server.cpu()
    run_requests(requester, [_REQUEST] * count, folder)
    return count / (server.cpu() - before) * 1e9


def _until_first_line(command: list[str]) -> float:
    """Seconds from starting a program to its first line."""
    start = time.perf_counter()
    with Process(command, SERVER_CORES | LOAD_CORES) as process:
        process.hear()
        return time.perf_counter() - start


def _run_host(app: str) -> None:
    """Serve an app as the process does that `hubbub host` starts, log included."""
    from hubbub.cli.child import set_up_logging
    from hubbub.functions.context import InvocationFilter
    from hubbub.functions.server import Ready, ServeOptions, serve_host

    def ready(facts: Ready) -> None:
        gc.freeze()
        print(facts.port, flush=True)

    set_up_logging("info", invocations=InvocationFilter())
    uvloop.run(serve_host(ServeOptions(Path(app), port=0), ready=ready))


async def _hello(_: Request) -> Response:
    return PlainTextResponse("hello")


def _run_bare() -> None:
    """Serve the reference on a free port and print which."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        Starlette(routes=[Route("/api/hello", _hello)]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level=logging.WARNING,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _run_imports(app: str) -> None:
    sys.path.insert(0, app)
    __import__("function_app")
    print("imported", flush=True)


_ROLES: Final[dict[str, Callable[..., None]]] = {
    "host": _run_host,
    "bare": _run_bare,
    "imports": _run_imports,
}

if __name__ == "__main__":
    _ROLES[sys.argv[1]](*sys.argv[2:])
