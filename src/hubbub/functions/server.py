"""Serves a host on a socket until it is told to stop, and lets running functions finish.

It owns the process: the working folder, the environment and the signals. It chooses no event loop
and sets up no logging; who calls it does.
"""

import asyncio
import importlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server

from hubbub.errors import ConfigError
from hubbub.functions.app import HostApp, create_app
from hubbub.functions.connections import DEFAULT_SETTING
from hubbub.functions.host import FunctionInfo, Host, HostOptions, load_host
from hubbub.functions.limitedhttp import LimitedHttp
from hubbub.functions.loglevels import limit_logs
from hubbub.functions.settings import (
    LocalSettings,
    read_local_settings,
    set_connection_string,
    with_overrides,
)
from hubbub.functions.watchdog import Watchdog

_NEWCOMER_PAUSE = 0.02  # seconds between two looks at connections without a request
_NEWCOMER_LOOKS = 25  # so that one which says nothing holds the end up for half a second
DEFAULT_PORT = 7071
DEFAULT_ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line says; None: local.settings.json, else the default."""

    root: Path
    address: str | None = None  # default 127.0.0.1
    port: int | None = None  # default 7071; 0: a free one
    cors: str | None = None  # origins joined by commas, or "*"
    cors_credentials: bool | None = None
    connection_string: str | None = None  # goes before what AzureSignalRConnectionString says
    data: Path | None = None  # the folder for schedules and keys
    handover: Path | None = None  # the folder for schedules where they need not outlive a reload
    enable_auth: bool = False  # whether keys are asked for
    fires_timers: bool = True  # False in all but one of the processes on one socket
    restart: Callable[[], None] | None = None  # starts this host again; None: nobody does
    grace: float = 10.0  # seconds for running invocations when the host is stopped


@dataclass(frozen=True, slots=True)
class Ready:
    """What is known once the host answers requests."""

    address: str
    port: int
    url: str  # how a browser on this machine reaches it
    functions: tuple[FunctionInfo, ...]
    warnings: tuple[str, ...]
    rest: Callable[[], Awaitable[None]]  # answer services alone; it returns when all else has ended
    keys: str | None = None  # the folder with the keys, where they are asked for


async def serve_host(
    options: ServeOptions,
    sock: socket.socket | None = None,
    ready: Callable[[Ready], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve the app in `options.root` until SIGINT, SIGTERM or `stop`.

    `sock` is a socket that listens already, and is closed at the end; without one the options'
    address and port are bound.
    `ready` is called once, when requests are answered. Raises ConfigError before that where the
    app, a setting or the port is at fault.
    """
    root = options.root.absolute()
    local = with_overrides(
        read_local_settings(root), cors=options.cors, cors_credentials=options.cors_credentials
    )
    if options.connection_string is not None:
        local = set_connection_string(local, os.environ, DEFAULT_SETTING, options.connection_string)
    sock = sock or bind(
        options.address or local.address or DEFAULT_ADDRESS,
        next(port for port in (options.port, local.port, DEFAULT_PORT) if port is not None),
    )
    with closing(sock):
        how = HostOptions(
            data=options.data,
            handover=options.handover,
            checks_keys=options.enable_auth,
            fires_timers=options.fires_timers,
            grace=options.grace,
            limit_logs=limit_logs,
            restart=options.restart,
        )
        host = prepare_host(root, local, sock.getsockname()[1], how)
        server = _Server(host, sock, ready)
        watch = asyncio.create_task(_stop(server, stop)) if stop is not None else None
        watchdog = Watchdog(limit=host.settings.function_timeout)
        watchdog.start()
        try:
            await server.serve(sockets=[sock])
        finally:
            watchdog.stop()
            if watch is not None:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch
            await host.close()


def bind(address: str, port: int) -> socket.socket:
    """A listening socket, or a ConfigError that says why there is none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"Port {port} on {address} is unavailable ({error.strerror}). Close the process using "
            "that port, or specify another port using --port."
        ) from error
    return sock


def prepare_host(root: Path, local: LocalSettings, port: int, options: HostOptions) -> Host:
    """Load the app in this process, with the folder and the environment that apps rely on."""
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Name the folder of a function app.")
    os.chdir(root)
    environ = os.environ
    environ["AZURE_FUNCTIONS_ENVIRONMENT"] = "Development"
    environ["AzureWebJobsScriptRoot"] = str(root)
    defaults = {"WEBSITE_HOSTNAME": f"localhost:{port}", "FUNCTIONS_WORKER_RUNTIME": "python"}
    for name, value in defaults.items():
        if name not in local.values:
            environ.setdefault(name, value)
    return load_host(root, environ, local=local, options=options)


async def _stop(server: "_Server", stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


class _Server(Server):
    """uvicorn's server, which tells when it answers and ends without raising the signal again."""

    def __init__(
        self,
        host: Host,
        sock: socket.socket,
        ready: Callable[[Ready], None] | None,
    ) -> None:
        self._app = create_app(host)
        super().__init__(
            Config(
                self._app,
                http=LimitedHttp,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
            )
        )
        self._host = host
        self._listening = sock
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then say so."""
        await super().startup(sockets=sockets)
        if self._ready is not None and self.started:
            self._ready(_facts(self._host, self._app, self._listening))
        if self._host.sends:
            # The first invocation that talks to a service would wait for this import.
            await asyncio.to_thread(importlib.import_module, "hubbub.client.management")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Fire no timer any more, then end as uvicorn does: what runs may finish."""
        await self._host.drain()
        self.config.timeout_graceful_shutdown = max(1, round(self._host.grace_left))
        for server in self.servers:
            server.close()
        await self._hear_newcomers()
        await super().shutdown(sockets=sockets)

    async def _hear_newcomers(self) -> None:
        """Let a connection that was just taken say what it wants; uvicorn would close it."""
        for _ in range(_NEWCOMER_LOOKS):
            await asyncio.sleep(_NEWCOMER_PAUSE)
            connections: Iterable[Any] = tuple(self.server_state.connections)
            if all(connection.cycle is not None for connection in connections):
                return

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order; a second Ctrl+C stops at once."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def _facts(host: Host, app: HostApp, sock: socket.socket) -> Ready:
    address, port = sock.getsockname()[:2]
    local = address in {"127.0.0.1", "0.0.0.0", "::", "::1"}  # noqa: S104 - compared, not bound
    name = "localhost" if local else f"[{address}]" if ":" in address else address
    url = f"http://{name}:{port}"
    keys = str(host.keys().folder) if host.access.is_checked else None
    functions = tuple(host.listing(url))
    return Ready(address, port, url, functions, host.warnings, app.rest, keys)
