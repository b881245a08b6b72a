"""A function app that is loaded and ready to answer requests.

`load_host` reads the app; `create_app` is the ASGI application in front of it. Listening on a
socket is `server`'s.
"""

import os
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.bindings import InputBinding, OutputBinding, Plan
from hubbub.functions.cors import CorsPolicy
from hubbub.functions.function import Binding, Function, FunctionError, Refusal
from hubbub.functions.request import BODY_LIMIT
from hubbub.functions.invoke import Invoker
from hubbub.functions.loader import load_app
from hubbub.functions.response import HttpOutput
from hubbub.functions.routes import RouteTable, build_routes
from hubbub.functions.settings import (
    AppSettings,
    HostSettings,
    LocalSettings,
    merge_local_settings,
    parse_origins,
    read_host_settings,
    read_local_settings,
)
from hubbub.functions.signalr import ConnectionInfo, Connections, SignalROutput, setting_name
from hubbub.functions.threads import ThreadPool

_INPUTS: dict[str, Callable[..., InputBinding]] = {"signalRConnectionInfo": ConnectionInfo}
_OUTPUTS: dict[str, Callable[..., OutputBinding]] = {"signalR": SignalROutput}
_NO_FUNCTIONS = "No job functions found. Decorate a function of the app with @app.route."


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One line of the function list."""

    name: str
    trigger: str  # its type, such as httpTrigger
    methods: tuple[str, ...]  # upper case, sorted; empty: every method
    url: str  # "" where the function is not called by HTTP


class Host:
    """The functions of one app, their routes, and what runs them. Close it when done."""

    def __init__(
        self,
        root: Path,
        host: HostSettings,
        settings: AppSettings,
        cors: CorsPolicy,
        warnings: Iterable[str] = (),
    ) -> None:
        self.root = root
        self.settings = host
        self.cors = cors
        self.body_limit = _number(settings, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", BODY_LIMIT)
        self.homepage = not settings.is_true("AzureWebJobsDisableHomepage")
        self.connections = Connections(settings)
        self._pool = ThreadPool(_number(settings, "PYTHON_THREADPOOL_THREAD_COUNT", _threads()))
        self.invoker = Invoker(self._pool, host.function_timeout)
        loaded = load_app(root, host, settings)
        routes, conflicts, order = build_routes(loaded.functions, host.route_prefix)
        self.plans, failed = _plans(loaded.functions, conflicts, settings, self.connections)
        self.refused = (*loaded.refused, *conflicts, *failed)
        self.routes = RouteTable(route for route in routes if route.name in self.plans)
        self.functions = tuple(plan.function for plan in self.plans.values())
        self.warnings = (
            *warnings,
            *cors.warnings(),
            *map(str, self.refused),
            *order,
            *_connection_warnings(self.functions, self.connections),
            *([] if self.functions else [_NO_FUNCTIONS]),
        )

    def __repr__(self) -> str:
        return f"<Host {self.root} {len(self.functions)} functions, {self.invoker!r}>"

    def listing(self, base_url: str) -> list[FunctionInfo]:
        """The functions that run, by name; `base_url` is where the host is reached."""
        infos = [
            FunctionInfo(
                name=route.name,
                trigger="httpTrigger",
                methods=tuple(sorted(route.methods or ())),
                url=f"{base_url.rstrip('/')}/{route.path}",
            )
            for route in self.routes.routes
        ]
        return sorted(infos, key=lambda info: info.name.lower())

    @property
    def sends(self) -> bool:
        """Whether a function talks to a service, so that the client for it is worth loading."""
        kinds = {binding.type for function in self.functions for binding in function.bindings}
        return bool(kinds & {*_INPUTS, *_OUTPUTS})

    async def close(self) -> None:
        """Give up threads and HTTP connections."""
        self._pool.close()
        await self.connections.close()


def load_host(
    root: Path,
    environ: MutableMapping[str, str] = os.environ,
    *,
    local: LocalSettings | None = None,
    cors: CorsPolicy | None = None,
) -> Host:
    """Load the app in the folder `root`. `local` None: read local.settings.json.

    Local settings are merged into `environ`, where the app's own code finds them. Raises
    ConfigError with the file and the line where the app or a settings file is broken.
    """
    root = root.absolute()
    local = read_local_settings(root) if local is None else local
    warnings = merge_local_settings(local, environ)
    settings = AppSettings(environ)
    return Host(
        root,
        read_host_settings(root, environ),
        settings,
        read_cors(local, settings) if cors is None else cors,
        warnings,
    )


def read_cors(local: LocalSettings, settings: AppSettings) -> CorsPolicy:
    """The policy of local.settings.json, else that of the app settings Azure uses on Linux."""
    if local.cors:
        return CorsPolicy(frozenset(local.cors), local.cors_credentials)
    text = settings.find("CORS_ALLOWED_ORIGINS") or ""
    plain = text.translate(str.maketrans("", "", '[]"'))  # a JSON array of origins
    origins = parse_origins(plain, "CORS_ALLOWED_ORIGINS")
    return CorsPolicy(frozenset(origins), settings.is_true("CORS_SUPPORT_CREDENTIALS"))


def _plans(
    functions: Iterable[Function],
    conflicts: Iterable[Refusal],
    settings: AppSettings,
    connections: Connections,
) -> tuple[dict[str, Plan], list[Refusal]]:
    """What each function needs to be called, and those whose bindings are wrong."""
    taken = {refusal.name for refusal in conflicts}
    plans: dict[str, Plan] = {}
    failed: list[Refusal] = []
    for function in functions:
        if function.name in taken:
            continue
        try:
            plans[function.name] = _plan(function, settings, connections)
        except FunctionError as error:
            failed.append(Refusal(function.name, str(error), function.location))
    return plans, failed


def _plan(function: Function, settings: AppSettings, connections: Connections) -> Plan:
    def build(table: dict[str, Callable[..., Any]], binding: Binding) -> Any:
        if binding.type not in table:
            raise FunctionError(
                f"the binding '{binding.name}' of type {binding.type} cannot have the direction "
                f"'{binding.direction}'."
            )
        return table[binding.type](binding, function, settings, connections)

    outputs: dict[str, Callable[..., OutputBinding]] = {**_OUTPUTS, "http": lambda *_: HttpOutput()}
    return Plan(
        function=function,
        trigger=function.trigger.name,
        inputs={binding.name: build(_INPUTS, binding) for binding in function.inputs},
        outputs={binding.name: build(outputs, binding) for binding in function.outputs},
    )


def _connection_warnings(functions: Iterable[Function], connections: Connections) -> list[str]:
    """One for each connection setting that is missing or wrong, naming who needs it."""
    users: dict[str, list[str]] = {}
    for function in functions:
        for binding in function.bindings:
            if binding.type in _INPUTS or binding.type in _OUTPUTS:
                names = users.setdefault(setting_name(binding), [])
                names += [] if function.name in names else [function.name]
    return [
        f"{problem} Needed by: {', '.join(names)}."
        for setting, names in users.items()
        if (problem := connections.problem(setting)) is not None
    ]


def _threads() -> int:
    return min(32, (os.cpu_count() or 1) + 4)  # what Python's own pool takes


def _number(settings: AppSettings, name: str, default: int) -> int:
    text = settings.find(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"The setting {name} is '{text}'; it must be a whole number above 0.")
    return int(text)


def with_overrides(
    local: LocalSettings, *, cors: str | None, cors_credentials: bool | None
) -> LocalSettings:
    """Local settings with what was given on the command line instead."""
    if cors is not None:
        local = replace(local, cors=parse_origins(cors, "--cors"))
    if cors_credentials is not None:
        local = replace(local, cors_credentials=cors_credentials)
    return local
