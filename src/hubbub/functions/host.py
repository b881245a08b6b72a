"""A function app that is loaded and ready to answer requests.

`load_host` reads the app; `create_app` is the ASGI application in front of it. Listening on a
socket is `server`'s.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.access import Access
from hubbub.functions.bindings import Plan
from hubbub.functions.connections import Connections
from hubbub.functions.cors import CorsPolicy
from hubbub.functions.expressions import BindingData, Values
from hubbub.functions.function import Function, FunctionError, Refusal
from hubbub.functions.identity import Login, build_credential
from hubbub.functions.invoke import Invoker, Outcome
from hubbub.functions.keys import KeyStore, default_folder
from hubbub.functions.loader import load_app
from hubbub.functions.offline import Offline
from hubbub.functions.plans import build_plans, connection_warnings, talks_to_a_service
from hubbub.functions.principal import TRUST_SETTING
from hubbub.functions.request import BODY_LIMIT
from hubbub.functions.routes import RouteTable, build_routes
from hubbub.functions.settings import (
    HOST_FILE,
    AppSettings,
    HostSettings,
    LocalSettings,
    merge_local_settings,
    parse_origins,
    read_host_settings,
    read_local_settings,
)
from hubbub.functions.spelling import unknown_options
from hubbub.functions.state import MemoryStore, SqliteStore
from hubbub.functions.threads import SETTING as THREADS
from hubbub.functions.threads import ThreadPool
from hubbub.functions.timers import Timer, Timers, build_timer, local_zone
from hubbub.functions.warmup import warmup_context
from hubbub.functions.webhook import SignalRTriggers, unchecked

_WARMUP = 30.0  # seconds that the start waits for an app to warm up
_MOMENT = 0.2  # seconds in which an answer is on its way


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One line of the function list."""

    name: str
    trigger: str  # its type, such as httpTrigger
    methods: tuple[str, ...]  # upper case, sorted; empty: every method
    url: str  # "" where the function is not called by HTTP
    detail: str = ""  # what else starts it: a schedule, or hub, category and event


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How a host runs, beyond what the app says."""

    data: Path | None = None  # the folder for schedules and keys; None: schedules in memory
    handover: Path | None = None  # without `data`, a folder for schedules that does not last
    checks_keys: bool = False  # False: everybody may call everything, as on a developer's machine
    fires_timers: bool = True  # False in all but one of several processes
    grace: float = 10.0  # seconds for what runs when the host is closed
    limit_logs: Callable[[Mapping[str, str]], None] | None = None  # told host.json's levels
    restart: Callable[[], None] | None = None  # starts all its processes again; None: nobody does
    credential: Callable[[Login], Any] = build_credential  # for connections without an access key


class Host:
    """The functions of one app, their routes, and what runs them. Close it when done."""

    def __init__(
        self,
        root: Path,
        host: HostSettings,
        settings: AppSettings,
        cors: CorsPolicy,
        warnings: Iterable[str] = (),
        options: HostOptions = HostOptions(),
    ) -> None:
        if options.limit_logs is not None:
            options.limit_logs(host.log_levels)
        self.root = root
        self._options = options
        self.offline = Offline(root)
        self._app_settings = settings
        self.settings = host
        self.cors = cors
        self.body_limit = _number(settings, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", BODY_LIMIT)
        self.homepage = not settings.is_true("AzureWebJobsDisableHomepage")
        self.trusts_principal = settings.is_true(TRUST_SETTING)
        self.connections = Connections(settings, options.credential)
        self._pool = ThreadPool(_number(settings, THREADS, _threads()), self.restart)
        self.invoker = Invoker(self._pool, host.function_timeout)
        self.signalr = SignalRTriggers(settings, self.connections)
        self.access = Access(self.keys() if options.checks_keys else None)
        if options.checks_keys:
            self.keys().host()  # what is wrong with the files of keys is said at the start
        self._timers: list[Timer] = []
        self._warmup: Plan | None = None
        self._watch: asyncio.Task[None] | None = None
        loaded = load_app(root, host, settings)
        routes, conflicts, order = build_routes(loaded.functions, host.route_prefix)
        self.plans, failed = build_plans(
            loaded.functions, conflicts, settings, self.connections, self._listen
        )
        self.refused = (*loaded.refused, *conflicts, *failed)
        self.routes = RouteTable(route for route in routes if route.name in self.plans)
        self.functions = tuple(plan.function for plan in self.plans.values())
        self.web = {
            function.name: function.inner.build(self._pool)
            for function in self.functions
            if function.inner is not None
        }
        self.timers = self._build_timers()
        self._background: set[asyncio.Task[Outcome]] = set()
        self._drained_by: float | None = None  # the loop's time at which the grace ends
        self.warnings = (
            *warnings,
            *cors.warnings(),
            *loaded.warnings,
            *map(str, self.refused),
            *order,
            *connection_warnings(self.functions, self.connections),
            *unchecked(self._of("signalRTrigger"), self.connections),
            *unknown_options(self.functions),
            *([] if self.functions else [_no_functions(self.refused)]),
        )

    def __repr__(self) -> str:
        return f"<Host {self.root} {len(self.functions)} functions, {self.invoker!r}>"

    def _listen(self, plan: Plan) -> None:
        """Take up a function whose trigger is not HTTP."""
        kind = plan.function.trigger.type
        if kind == "signalRTrigger":
            self.signalr.add(plan)
        elif kind == "timerTrigger":
            self._timers.append(build_timer(plan, self._app_settings))
        elif kind == "warmupTrigger":
            if self._warmup is not None:
                raise FunctionError(
                    "an app has one warmup function, and "
                    f"'{self._warmup.function.name}' is it. Remove one of them."
                )
            self._warmup = plan

    def _build_timers(self) -> Timers:
        """The timers, with a file for their schedules if there is a folder for it."""
        settings, data = self._app_settings, self._options.data or self._options.handover
        store = SqliteStore(data) if data is not None and self._timers else MemoryStore()
        app = settings.find("AzureFunctionsWebHost__hostid") or self.root.name
        timers = Timers(store, self.invoker.run_again, local_zone(settings), app)
        for timer in self._timers:
            timers.add(timer)
        return timers

    def keys(self) -> KeyStore:
        """Where the keys of this app are."""
        return KeyStore(self._options.data or default_folder(self.root))

    def _of(self, kind: str) -> list[Function]:
        return [function for function in self.functions if function.trigger.type == kind]

    def listing(self, base_url: str) -> list[FunctionInfo]:
        """The functions that run, by name; `base_url` is where the host is reached."""
        routes = {route.name: route for route in self.routes.routes}
        infos = []
        for function in self.functions:
            route, kind = routes.get(function.name), function.trigger.type
            infos.append(
                FunctionInfo(
                    name=function.name,
                    trigger=kind,
                    methods=tuple(sorted(route.methods or ())) if route else (),
                    url=f"{base_url.rstrip('/')}/{route.path}" if route else "",
                    detail=self._detail(function),
                )
            )
        return sorted(infos, key=lambda info: info.name.lower())

    def _detail(self, function: Function) -> str:
        if function.trigger.type == "signalRTrigger":
            return " ".join(self.signalr.event_of(function))
        if function.trigger.type == "timerTrigger":
            return self.timers.schedule_of(function)
        return ""

    @property
    def sends(self) -> bool:
        """Whether a function talks to a service, so that the client for it is worth loading."""
        return talks_to_a_service(self.functions)

    async def start(self) -> None:
        """Warm the app up, then begin to fire timers, unless another process of this host does."""
        await self.warm_up()
        if self._options.fires_timers and self.offline.answer is None:
            self.timers.start()
        self._watch = asyncio.create_task(self.offline.watch(self.pause, self.resume))

    async def warm_up(self) -> None:
        """Run the app's warmup function, if it has one, and wait for it a while."""
        if self._warmup is not None:
            task = self.run_in_background(self._warmup, warmup_context(), Values({}))
            await asyncio.wait([task], timeout=_WARMUP)

    async def pause(self) -> None:
        """Fire nothing until `resume`; requests are answered."""
        self.invoker.is_draining = True
        await self.timers.stop()

    async def resume(self) -> None:
        """Go on after `pause`."""
        if self._drained_by is None:
            self.invoker.is_draining = False
            if self._options.fires_timers:
                self.timers.start()

    @property
    def drain_state(self) -> str:
        """Whether something still runs after `pause`, in the original's words."""
        if not self.invoker.is_draining:
            return "Disabled"
        return "InProgress" if self.invoker.running else "Completed"

    def restart(self) -> bool:
        """Start all processes of this host again; what runs may end. False where nobody would."""
        if self._options.restart is None:
            return False
        # After the answer has been sent.
        asyncio.get_running_loop().call_later(_MOMENT, self._options.restart)
        return True

    def run_in_background(
        self, plan: Plan, value: Any, data: BindingData
    ) -> "asyncio.Task[Outcome]":
        """Invoke a function that nobody need wait for."""
        task = asyncio.ensure_future(self.invoker.run_again(plan, value, data))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def drain(self) -> None:
        """Start nothing any more that no request asks for; what runs goes on."""
        if self._drained_by is None:
            self._drained_by = asyncio.get_running_loop().time() + self._options.grace
        if self._watch is not None:
            self._watch.cancel()
        await self.pause()

    @property
    def grace_left(self) -> float:
        """Seconds that what runs still has, after `drain`."""
        return max(0.0, (self._drained_by or 0.0) - asyncio.get_running_loop().time())

    @property
    def is_busy(self) -> bool:
        """Whether something runs that no request has asked for."""
        return bool(self._background) or self.timers.is_running

    async def close(self) -> None:
        """Wait for what runs, as long as it is granted, and give up threads and connections."""
        await self.drain()
        left = self.grace_left
        if self._background:
            await asyncio.wait(self._background, timeout=left)
        await self.timers.drain(left)
        for web in self.web.values():
            await web.close()
        self.invoker.close()
        self._pool.close()
        await self.connections.close()


def load_host(
    root: Path,
    environ: MutableMapping[str, str] = os.environ,
    *,
    local: LocalSettings | None = None,
    cors: CorsPolicy | None = None,
    options: HostOptions = HostOptions(),
) -> Host:
    """Load the app in the folder `root`. `local` None: read local.settings.json.

    Local settings are merged into `environ`, where the app's own code finds them. Raises
    ConfigError with the file and the line where the app or a settings file is broken.
    """
    root = root.absolute()
    local = read_local_settings(root) if local is None else local
    warnings = [*_no_host_file(root), *merge_local_settings(local, environ)]
    settings = AppSettings(environ, local.values)
    return Host(
        root,
        read_host_settings(root, environ),
        settings,
        read_cors(local, settings) if cors is None else cors,
        warnings,
        options,
    )


def read_cors(local: LocalSettings, settings: AppSettings) -> CorsPolicy:
    """The policy of local.settings.json, else that of the app settings Azure uses on Linux."""
    if local.cors:
        return CorsPolicy(frozenset(local.cors), local.cors_credentials)
    text = settings.find("CORS_ALLOWED_ORIGINS") or ""
    plain = text.translate(str.maketrans("", "", '[]"'))  # a JSON array of origins
    origins = parse_origins(plain, "CORS_ALLOWED_ORIGINS")
    return CorsPolicy(frozenset(origins), settings.is_true("CORS_SUPPORT_CREDENTIALS"))


def _no_host_file(root: Path) -> list[str]:
    if (root / HOST_FILE).is_file():
        return []
    warning = (
        f"There is no {HOST_FILE} in {root}, so the defaults hold. Azure's tools take no folder "
        'without one for an app. Make one, with {"version": "2.0"} in it.'
    )
    return [warning]


def _no_functions(refused: Sequence[Refusal]) -> str:
    if not refused:
        return "No job functions found. Decorate a function of the app with @app.route."
    return (
        f"No job functions found that can be run: all {len(refused)} that the app has are refused, "
        "for the reasons above."
    )


def _threads() -> int:
    return min(32, (os.cpu_count() or 1) + 4)  # what Python's own pool takes


def _number(settings: AppSettings, name: str, default: int) -> int:
    text = settings.find(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"The setting {name} is '{text}'; it must be a whole number above 0.")
    return int(text)
