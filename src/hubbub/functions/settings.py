"""What host.json, local.settings.json and the environment say to the host.

Only reading and checking. Two functions write, into the mapping that they are given:
`merge_local_settings` and `set_connection_string`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.hsts import Hsts, parse_hsts
from hubbub.functions.jsonfile import read_json_object
from hubbub.functions.timespan import parse_time_span
from hubbub.protocol.jsontext import parse_json_object

HOST_FILE = "host.json"
LOCAL_FILE = "local.settings.json"
_OVERRIDE = "azurefunctionsjobhost:"  # AzureFunctionsJobHost__a__b overrides a.b of host.json
DEFAULT_TIMEOUT = 1800.0  # seconds; the original's outside its Consumption plan
_TRUE = {"1", "true", "t", "yes", "y"}
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What host.json says, with the environment's overrides applied."""

    route_prefix: str = "api"  # before every route; "" means none
    function_timeout: float | None = DEFAULT_TIMEOUT  # seconds for one invocation; None: no limit
    functions: frozenset[str] | None = None  # lower-case names to load; None: all of them
    custom_headers: tuple[tuple[str, str], ...] = ()  # added to each response that lacks them
    max_outstanding_requests: int | None = None  # more at once are answered 429; None: no limit
    max_concurrent_requests: int | None = None  # more wait; None: no limit
    hsts: Hsts | None = None  # None: no such header
    retry: Mapping[str, Any] = field(default_factory=dict)  # of functions without their own
    watched_directories: tuple[str, ...] = ()  # whose changes reload the app as well
    watched_files: tuple[str, ...] = ()  # further names of files whose changes reload the app
    log_levels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)  # category to level


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What local.settings.json says; it exists on the developer's machine only."""

    values: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    connection_strings: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    port: int | None = None  # Host.LocalHttpPort
    address: str | None = None  # Host.LocalHttpAddress
    cors: tuple[str, ...] = ()  # Host.CORS: origins, or "*"
    cors_credentials: bool = False  # Host.CORSCredentials


class AppSettings:
    """App settings by name, ignoring case, with `__` and `:` meaning the same."""

    def __init__(self, environ: Mapping[str, str], local: Mapping[str, str] = _NOTHING) -> None:
        """`local` is what local.settings.json has, which is in `environ` where nothing else was."""
        self._environ = environ
        self._local = local

    def find(self, name: str) -> str | None:
        """The value of the setting, or None if it is not set."""
        if name in self._environ:
            return self._environ[name]
        wanted = _path(name)
        for key, value in self._environ.items():
            if _path(key) == wanted:
                return value
        return None

    def place(self, name: str) -> str:
        """Where the setting stands, for whoever has to change it."""
        return LOCAL_FILE if self._local.get(name) == self.find(name) else "the environment"

    def connection_string(self, name: str) -> str | None:
        """`ConnectionStrings:<name>`, else `<name>`; an empty value counts as not set."""
        return self.find(f"ConnectionStrings:{name}") or self.find(name) or None

    def below(self, path: str) -> dict[str, str]:
        """The settings whose names begin with `path`, by the rest of the name."""
        start = _path(path) + ":"
        return {
            key.replace("__", ":")[len(start) :]: value
            for key, value in self._environ.items()
            if _path(key).startswith(start)
        }

    def is_true(self, name: str) -> bool:
        """Whether the setting is one of the words that mean yes."""
        return (self.find(name) or "").lower() in _TRUE


def _path(name: str) -> str:
    return name.replace("__", ":").lower()


class _Tree:
    """The leaves of a JSON document by their path, as .NET's configuration sees them."""

    def __init__(self, document: Mapping[str, Any], overrides: Mapping[str, str]) -> None:
        self._leaves: dict[str, tuple[str, Any]] = {}
        for path, value in _leaves(document):
            self._leaves[path.lower()] = (path, value)
        for path, text in overrides.items():
            self._leaves[path.lower()] = (path, text)

    def leaf(self, path: str) -> Any:
        """The value at `path`, or None. An object where a plain value belongs is refused."""
        if self.below(path):
            raise ConfigError(f"{HOST_FILE}: '{_dotted(path)}' must be one plain value.")
        return self._leaves.get(path.lower(), (path, None))[1]

    def below(self, path: str) -> list[tuple[str, Any]]:
        """The members of the object or array at `path`: the rest of the path, and the value."""
        start = path.lower() + ":"
        return [
            (name[len(start) :], value)
            for key, (name, value) in self._leaves.items()
            if key.startswith(start)
        ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        members = ((str(key), member) for key, member in value.items())
    elif isinstance(value, list):
        members = ((str(index), member) for index, member in enumerate(value))
    else:
        yield path, value
        return
    for key, member in members:
        yield from _leaves(member, f"{path}:{key}" if path else key)


def _dotted(path: str) -> str:
    return path.replace(":", ".")


def _overrides(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        key.replace("__", ":")[len(_OVERRIDE) :]: value
        for key, value in environ.items()
        if _path(key).startswith(_OVERRIDE)
    }


def read_host_settings(root: Path, environ: Mapping[str, str]) -> HostSettings:
    """Read `root`/host.json; a missing file means the defaults (facts: a host.json is optional)."""
    document = read_json_object(root / HOST_FILE)
    return _host_settings({"version": "2.0"} if document is None else document, environ)


def parse_host_settings(text: str, environ: Mapping[str, str]) -> HostSettings:
    """The settings in the text of a host.json."""
    return _host_settings(parse_json_object(text, HOST_FILE), environ)


def _host_settings(document: Mapping[str, Any], environ: Mapping[str, str]) -> HostSettings:
    tree = _Tree(document, _overrides(environ))
    _check_version(tree.leaf("version"))
    prefix = tree.leaf("extensions:http:routePrefix")
    names = [str(value).lower() for _, value in tree.below("functions")]
    return HostSettings(
        route_prefix="api" if prefix is None else str(prefix).strip("/"),
        function_timeout=_timeout(tree.leaf("functionTimeout")),
        functions=frozenset(names) if names else None,
        custom_headers=_custom_headers(tree.below("extensions:http:customHeaders")),
        max_outstanding_requests=_limit(tree, "extensions:http:maxOutstandingRequests"),
        max_concurrent_requests=_limit(tree, "extensions:http:maxConcurrentRequests"),
        hsts=parse_hsts(
            {name.lower(): value for name, value in tree.below("extensions:http:hsts")}
        ),
        retry=dict(tree.below("retry")),
        watched_directories=tuple(str(value) for _, value in tree.below("watchDirectories")),
        watched_files=tuple(str(value) for _, value in tree.below("watchFiles")),
        log_levels=MappingProxyType(
            {name.replace(":", "."): str(level) for name, level in tree.below("logging:logLevel")}
        ),
    )


def _check_version(version: Any) -> None:
    if version is None:
        raise ConfigError(
            "The host.json file is missing the required 'version' property. "
            'Add "version": "2.0" at its top.'
        )
    if str(version) != "2.0":
        raise ConfigError(
            f"'{version}' is an invalid value for host.json 'version' property. Write \"2.0\"."
        )


def _limit(tree: _Tree, path: str) -> int | None:
    value = tree.leaf(path)
    if value is None:
        return None
    try:
        number = int(str(value))
    except ValueError:
        raise ConfigError(
            f"{HOST_FILE}: '{_dotted(path)}' is '{value}'; it must be a whole number, -1 for none."
        ) from None
    return None if number < 0 else number


def _custom_headers(members: Iterable[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    headers = tuple((name, str(value)) for name, value in members)
    for name, text in headers:
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) or not re.fullmatch(
            r"[\t\x20-\x7e\xa0-\xff]*", text
        ):
            raise ConfigError(
                f"{HOST_FILE}: 'extensions.http.customHeaders.{name}' is {text!r}; a header has "
                "a name of letters, digits and '-', and a value in one line of Latin letters."
            )
    return headers


def _timeout(value: Any) -> float | None:
    if value is None:
        return DEFAULT_TIMEOUT
    if str(value) == "-1":
        return None
    seconds = parse_time_span(str(value))
    if seconds is None or seconds < 1:
        raise ConfigError(
            f"{HOST_FILE}: 'functionTimeout' is '{value}'. Write hours:minutes:seconds of at "
            'least one second, such as "00:05:00", or "-1" for no limit.'
        )
    return seconds


def read_local_settings(root: Path) -> LocalSettings:
    """Read `root`/local.settings.json; a missing file means nothing is set."""
    document = read_json_object(root / LOCAL_FILE)
    return LocalSettings() if document is None else _local_settings(document)


def parse_local_settings(text: str) -> LocalSettings:
    """The settings in the text of a local.settings.json."""
    return _local_settings(parse_json_object(text, LOCAL_FILE))


def _local_settings(document: Mapping[str, Any]) -> LocalSettings:
    top = _members(document, "")
    if _boolean(top.get("isencrypted"), "IsEncrypted"):
        raise ConfigError(
            f"{LOCAL_FILE} is encrypted. Run `func settings decrypt` on the machine that "
            'encrypted it, or write plain values and "IsEncrypted": false.'
        )
    host = _members(top.get("host"), "Host")
    address = host.get("localhttpaddress")
    return LocalSettings(
        values=_texts(top.get("values"), "Values"),
        connection_strings=_connection_strings(top.get("connectionstrings")),
        port=_port(host.get("localhttpport")),
        address=None if address is None else str(address),
        cors=parse_origins(host.get("cors"), f"{LOCAL_FILE}: 'Host.CORS'"),
        cors_credentials=_boolean(host.get("corscredentials"), "Host.CORSCredentials"),
    )


def _members(value: Any, path: str) -> dict[str, Any]:
    """The members of an object by lower-case name; None has none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{LOCAL_FILE}: '{path}' must be an object, from '{{' to '}}'.")
    return {key.lower(): member for key, member in value.items()}


def _texts(value: Any, path: str) -> Mapping[str, str]:
    """An object of texts. A null is left out, as in the original."""
    if value is None:
        return _NOTHING
    if not isinstance(value, dict):
        raise ConfigError(f"{LOCAL_FILE}: '{path}' must be an object of texts.")
    for name, text in value.items():
        if text is not None and not isinstance(text, str):
            raise ConfigError(
                f"{LOCAL_FILE}: the value of '{path}.{name}' must be a text in quotes; "
                f"{type(text).__name__} is not allowed there. Write it as one string."
            )
    return MappingProxyType({name: text for name, text in value.items() if text is not None})


def _connection_strings(value: Any) -> Mapping[str, str]:
    """Texts, or objects `{"ConnectionString": …, "ProviderName": …}`."""
    if not isinstance(value, dict):
        return _texts(value, "ConnectionStrings")
    plain = {
        name: _members(entry, name).get("connectionstring") if isinstance(entry, dict) else entry
        for name, entry in value.items()
    }
    return _texts(plain, "ConnectionStrings")


def _boolean(value: Any, path: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ConfigError(f"{LOCAL_FILE}: '{path}' must be true or false.")


def _port(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, bool) and re.fullmatch(r"\d{1,5}", str(value)) and int(value) < 65536:
        return int(value)
    raise ConfigError(
        f"{LOCAL_FILE}: 'Host.LocalHttpPort' is {value!r}; it must be a number from 0 to 65535."
    )


def parse_origins(value: Any, where: str) -> tuple[str, ...]:
    """A comma list of origins. Spaces and a trailing slash are no part of one: dropped."""
    if value is None:
        return ()
    if not isinstance(value, str):
        raise ConfigError(f'{where} must be one text: origins joined by commas, or "*".')
    return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())


def with_overrides(
    local: LocalSettings, *, cors: str | None, cors_credentials: bool | None
) -> LocalSettings:
    """Local settings with what was given on the command line instead."""
    if cors is not None:
        local = replace(local, cors=parse_origins(cors, "--cors"))
    if cors_credentials is not None:
        local = replace(local, cors_credentials=cors_credentials)
    return local


def set_connection_string(
    local: LocalSettings, environ: MutableMapping[str, str], name: str, text: str
) -> LocalSettings:
    """Make `text` the connection string `name`, whatever file or environment say.

    Returns the local settings without it.
    """
    paths = {name.lower(), f"connectionstrings:{name.lower()}"}
    for key in [key for key in environ if _path(key) in paths]:
        del environ[key]
    environ[name] = text
    strings = local.connection_strings.items()
    return replace(
        local,
        values={key: value for key, value in local.values.items() if _path(key) not in paths},
        connection_strings={key: value for key, value in strings if _path(key) not in paths},
    )


def merge_local_settings(local: LocalSettings, environ: MutableMapping[str, str]) -> list[str]:
    """Put the local values into `environ`, where a value that is set already wins.

    Returns the warnings, in the words of the original's command line.
    """
    warnings = []
    entries = dict(local.values)
    entries |= {
        f"ConnectionStrings:{name}": text for name, text in local.connection_strings.items()
    }
    for name, text in entries.items():
        if not name or "=" in name or "\0" in name + text:
            warnings.append(f"Skipping {name!r} from local settings: this is not a usable name.")
        elif environ.get(name):
            warnings.append(
                f"Skipping '{name}' from local settings as it's already defined in current "
                "environment variables."
            )
        else:
            environ[name] = text
    return warnings
