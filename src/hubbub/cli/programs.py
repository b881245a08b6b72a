"""What `hubbub start` starts: the service and an app's host, on sockets that are bound here.

It decides how the two find and trust each other. It starts and stops neither: that is the
supervisor's.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hubbub.cli.chosen import SETTING
from hubbub.cli.keptkey import new_key
from hubbub.cli.metricsoption import KeptPlaces, MetricsPlace, parse_place
from hubbub.cli.network import Place, listen, origin
from hubbub.cli.reload import HostChildren, worker_count
from hubbub.cli.service import check_cluster, worker_environment
from hubbub.cli.supervisor import Child, Supervised
from hubbub.cli.upstreamoptions import settings_path
from hubbub.cli.workers import Workers, listen_for
from hubbub.errors import ConfigError
from hubbub.functions.settings import HOST_FILE, LocalSettings, read_local_settings, with_overrides
from hubbub.protocol.endpoints import parse_connection_string
from hubbub.service.settings import EMULATOR_KEY, ServiceSettings

__all__ = ["Programs", "StartOptions"]

_WEBHOOKS: Final = "/runtime/webhooks/signalr"  # where a function host takes events
_SCRIPT: Final = "function_app.py"  # which most apps have
_SYSTEM_KEY: Final = "HUBBUB_SYSTEM_KEY"  # the variable that tells the service the host's key


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What the command line says; None: local.settings.json, else the default."""

    app: Path | None
    port: int | None
    service_port: int
    address: str | None
    access_key: str | None
    origins: tuple[str, ...]
    cors: str | None
    cors_credentials: bool | None
    data: Path | None
    settings_file: Path | None
    workers: int
    backplane: str | None
    metrics: str | None
    insecure_metrics: bool
    insecure: bool
    enable_auth: bool
    no_reload: bool
    log_level: str


class Programs:
    """The service and, where there is an app, its function host: `children`, in this order."""

    def __init__(self, options: StartOptions) -> None:
        """Bind the sockets. Raises `ConfigError` with what is wrong."""
        check_cluster(options.workers, options.backplane)
        self._options = options
        self._app = app = _folder(options.app)
        local = read_local_settings(app) if app is not None else LocalSettings()
        self._local = with_overrides(
            local, cors=options.cors, cors_credentials=options.cors_credentials
        )
        self._address = options.address or local.address or "127.0.0.1"
        self._place = Place(self._address)
        self._key = options.access_key or self._default_key()
        if options.backplane is not None:
            from hubbub.cli.cluster import shared_key  # which few need

            self._key = shared_key(options.backplane, self._key)
        self._listener = listen_for(
            options.workers, self._address, options.service_port, option="--service-port"
        )
        self._port = self._listener.getsockname()[1]
        self.connection_string = self._place.connection_string(
            origin(self._listener), self._key, self._port
        )
        self._metrics = KeptPlaces(_metrics(options), options.workers)
        self._environment = worker_environment((self._key,), options.backplane)
        self._upstream: list[str] = []
        self._origins = list(options.origins)
        self._host = self._new_host(app) if app is not None else None
        self.children: list[Supervised] = [self._new_service()]
        if self._host is not None:
            self.children.append(self._host)

    def renew(self) -> None:
        """Have the processes of the service replaced one after another, where it has several."""
        for child in self.children:
            if isinstance(child, Workers):
                child.renew()

    def facts(self) -> dict[str, Any]:
        """What a person or a program may want to know, once the children are ready."""
        place = self._place
        name = None if place.is_loopback else place.name
        facts: dict[str, Any] = {
            "service": {
                "url": origin(self._listener, name),
                "connectionString": self.connection_string,
                "remoteConnectionString": place.remote_connection_string(self._key, self._port),
                "hasPassingKey": self._has_passing_key,
                "hasUpstream": bool(self._upstream),
                "metrics": self._metrics.pages,
            }
        }
        if self._host is not None:
            facts["host"] = _at(self._host.facts, origin(self._host.listener, name))
        return facts

    def rest(self) -> None:
        """Let the app finish what it has begun, before the service goes."""
        if self._host is not None:
            self._host.rest()

    def _default_key(self) -> str:
        if self._place.is_loopback:
            return EMULATOR_KEY
        return new_key(self._options.data)

    def _new_service(self) -> Supervised:
        options = self._options
        origins = self._origins
        if self._place.is_loopback and not options.origins:
            origins = ["*"]
        settings = ServiceSettings(access_keys=(self._key,), allowed_origins=tuple(origins))
        settings.check_address(self._address, insist=options.insecure)
        # An app gets the events itself, unless a file is asked for by name.
        file = None
        if options.settings_file is not None or self._app is None:
            file = settings_path(options.settings_file)
        if file is not None:
            self._upstream.append(f"--settings={file.resolve()}")
        allowed = [f"--allow-origin={entry}" for entry in origins]
        # With others, what outlives the service is kept where they find it too.
        shared = self._shared if options.backplane is None else self._logging
        arguments = ["service", *shared, *self._upstream, *allowed]
        metrics, listener = self._metrics, self._listener
        if options.workers > 1:
            count, own = options.workers, metrics.arguments
            return Workers("service", arguments, listener, self._environment, count, own)
        return Child("service", [*arguments, *metrics.arguments(0)], listener, self._environment)

    def _new_host(self, app: Path) -> HostChildren:
        options, local = self._options, self._local
        port = next(number for number in (options.port, local.port, 7071) if number is not None)
        listener = listen(self._address, port, option="--port")
        self._origins += self._place.page_origins(listener.getsockname()[1])
        self._origins += [entry for entry in local.cors if entry != "*"]
        upstream = f"{origin(listener)}{_WEBHOOKS}"
        if options.enable_auth:
            self._environment[_SYSTEM_KEY] = _system_key(app, options.data)
            upstream += f"?code={{@Hubbub.Environment(Name={_SYSTEM_KEY})}}"
        self._upstream.append(f"--upstream={upstream}")
        arguments = ["host", str(app), *self._shared]
        arguments += ["--enable-auth"] if options.enable_auth else []
        arguments += [f"--cors={options.cors}"] if options.cors is not None else []
        arguments += ["--cors-credentials"] if options.cors_credentials else []
        return HostChildren(
            app,
            arguments,
            listener,
            self._app_environment(),
            workers=worker_count(local, os.environ),
            reloads=not options.no_reload,
        )

    @property
    def _has_passing_key(self) -> bool:
        """Whether nobody knows the access key at the next start."""
        options = self._options
        return not (options.access_key or options.data or self._place.is_loopback)

    @property
    def _shared(self) -> list[str]:
        data = self._options.data
        return [*self._logging, f"--data={data.resolve()}"] if data is not None else self._logging

    @property
    def _logging(self) -> list[str]:
        return ["--log-level", self._options.log_level]

    def _app_environment(self) -> Mapping[str, str]:
        """What the app finds in its environment: this service, unless it wants another."""
        environment = {}
        if not self._place.is_loopback:
            environment["HUBBUB_LAN_ADDRESS"] = self._place.lan
        configured, where = os.environ.get(SETTING), "in the environment"
        if not configured:
            configured, where = self._local.values.get(SETTING), "in local.settings.json"
        relation = self._relation(configured) if configured else "ours"
        if relation != "other":
            environment["HUBBUB_CONNECTION_STRING"] = self.connection_string
        if relation == "stale":
            _say(
                f"{SETTING} {where} names this service with another access key than it has by "
                "now, so the app gets the one that is printed here. Change the setting or remove "
                "it: other commands that go by it are refused."
            )
        elif relation == "broken":
            _say(
                f"{SETTING} {where} is no connection string, so the app gets the one that is "
                "printed here. Remove the setting: `hubbub start` makes its own."
            )
        elif relation == "other":
            _say(
                f"{SETTING} {where} names another service, so the app uses that one and not the "
                "one started here. Remove the setting to use this one."
            )
        return environment

    def _relation(self, text: str) -> str:
        """Whether a connection string is `ours`, `stale`, `broken`, or names an `other` service."""
        try:
            found = parse_connection_string(text)
        except ConfigError:
            return "broken"  # as the placeholder that quickstarts have there
        ours = parse_connection_string(self.connection_string)
        if found.access_key in {EMULATOR_KEY, ours.access_key}:
            return "ours"  # the emulator's key means whichever runs on this machine
        here = {f"http://{name}:{self._port}" for name in self._place.names}
        return "stale" if found.url in here else "other"


def _metrics(options: StartOptions) -> MetricsPlace | None:
    if options.metrics is None:
        return None
    return parse_place(options.metrics).check(insist=options.insecure_metrics)


def _folder(app: Path | None) -> Path | None:
    """The app's folder; without one the current folder where it is an app, else none."""
    if app is None:
        here = Path()
        if (here / HOST_FILE).is_file():
            return here
        if (here / _SCRIPT).is_file():
            _say(
                f"{_SCRIPT} is here, but no {HOST_FILE}, so this folder is not taken for an app. "
                'Make one, with {"version": "2.0"} in it, or name the folder: `hubbub start .`.'
            )
        return None
    if not app.is_dir():
        raise ConfigError(f"{app} is not a folder. Name the folder of a function app.")
    return app


def _system_key(app: Path, data: Path | None) -> str:
    """The key that the host asks for when the service tells it something, made where it is not."""
    from hubbub.functions.keys import SIGNALR, KeyStore, default_folder  # which few need

    folder = default_folder(app.absolute()) if data is None else data.resolve()
    return KeyStore(folder).system(SIGNALR)


def _at(facts: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The host's facts with the address that people use."""
    base = facts["url"]
    functions = [
        {**function, "url": function["url"].replace(base, url, 1)}
        for function in facts["functions"]
    ]
    return {
        "url": url,
        "functions": functions,
        "keys": facts["keys"],
        "warnings": facts["warnings"],
    }


def _say(text: str) -> None:
    print(f"hubbub: {text}", file=sys.stderr)
