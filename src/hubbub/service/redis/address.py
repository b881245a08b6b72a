"""Where Redis is and how to get in, read from one URL. It connects to nothing.

The password is never part of a `repr`, a log line or an error: `redacted` is what is shown.
"""

import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hubbub.errors import ConfigError

__all__ = ["Place", "RedisAddress", "parse_address"]

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_KINDS: Final = {
    "redis": "single",
    "rediss": "single",
    "unix": "single",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
}
_FORMS: Final = (
    "redis://[user:password@]host:port[/db], rediss:// for TLS, unix:///path, "
    "redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/name[/db]"
)
_TRUE: Final = {"true", "1", "yes"}
_FALSE: Final = {"false", "0", "no"}
_OPTIONS: Final = {"cluster", "db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}

# A host and a port, or the path of a socket and nothing.
Place = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What a URL says."""

    kind: str  # single, cluster or sentinel
    places: tuple[Place, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    sentinel_name: str = ""  # by which the sentinels know the primary
    tls: ssl.SSLContext | None = None
    redacted: str = ""  # the URL without its password

    def __str__(self) -> str:
        return self.redacted


def parse_address(url: str) -> RedisAddress:
    """Read the URL of a `--backplane` option. Raises `ConfigError`, without the password."""
    try:
        return _parse(_split(url))
    except ValueError as error:
        raise ConfigError(
            f"The URL of the backplane is wrong: {error}. Expected {_FORMS}."
        ) from None


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port if "," not in parts.netloc else None
    except ValueError:
        # The library's words quote what may be a part of a password that is not escaped.
        raise ValueError("it cannot be read (in a password, /?#@: are written %2F %3F …)") from None
    return parts


def _parse(parts: SplitResult) -> RedisAddress:
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise ValueError(f"it begins with {parts.scheme + '://' if parts.scheme else 'no scheme'}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options.keys() - _OPTIONS:
        raise ValueError(f"it has an option that is not one of {', '.join(sorted(_OPTIONS))}")
    if kind == "single" and _flag(options.get("cluster", "false")):
        kind = "cluster"
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    path = [unquote(each) for each in parts.path.split("/") if each]
    if parts.scheme == "unix":
        places: tuple[Place, ...] = ((unquote(parts.path), None),)
        if not path:
            raise ValueError("it has no path of a socket")
        path = []
    else:
        port = _SENTINEL_PORT if kind == "sentinel" else _PORT
        places = tuple(_place(each, port) for each in hosts.split(","))
    name = ""
    if kind == "sentinel":
        if not path:
            raise ValueError("it has no name of a primary for the sentinels")
        name = path.pop(0)
    db = _db(path, options)
    if db and kind == "cluster":
        raise ValueError("a cluster has no database but 0")
    return RedisAddress(
        kind,
        places,
        unquote(user) or None,
        unquote(password) or None,
        db,
        name,
        _tls(options) if parts.scheme.startswith("rediss") else None,
        _redacted(parts, user, password, hosts),
    )


def _place(text: str, default_port: int) -> Place:
    parts = _split(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, default_port if parts.port is None else parts.port


def _db(path: list[str], options: dict[str, str]) -> int:
    text = path[0] if path else options.get("db", "0")
    if len(path) > 1 or not text.isdecimal():
        raise ValueError("the database is not a number")
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError("cluster is neither true nor false")
    return text.lower() in _TRUE


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    """A context that checks the server's certificate and name."""
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"a certificate cannot be read: {error}") from None
    return context


def _redacted(parts: SplitResult, user: str, password: str, hosts: str) -> str:
    credentials = f"{user}:***@" if password else f"{user}@" if user else ""
    return f"{parts.scheme}://{credentials}{hosts}{parts.path}"
