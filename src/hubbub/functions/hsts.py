"""`extensions.http.hsts` of host.json: the header that makes browsers come back by https only.

It is sent over https and to no name of this machine, as in the original.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.timespan import parse_time_span

_DAY = 86_400
_DEFAULT = 30 * _DAY  # seconds
_OWN = frozenset({"localhost", "127.0.0.1", "[::1]"})
_WHERE = "host.json: 'extensions.http.hsts"


@dataclass(frozen=True, slots=True)
class Hsts:
    """The header's value, and the hosts that do not get it."""

    value: bytes
    excluded: frozenset[str] = _OWN

    def header(self, scheme: str, host: str) -> tuple[bytes, bytes] | None:
        """The header for a request to `host`, port included; None where there is none."""
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if scheme != "https" or name.lower() in self.excluded:
            return None
        return b"strict-transport-security", self.value


def parse_hsts(members: Mapping[str, Any]) -> Hsts | None:
    """The policy of the object's leaves by lower-case path; None where it is not switched on."""
    if not _flag(members, "isEnabled"):
        return None
    parts = [f"max-age={_seconds(members.get('maxage'))}"]
    parts += ["includeSubDomains"] if _flag(members, "includeSubDomains") else []
    parts += ["preload"] if _flag(members, "preload") else []
    hosts = (str(value).lower() for key, value in members.items() if key.startswith("excludedh"))
    return Hsts("; ".join(parts).encode(), _OWN.union(hosts))


def _flag(members: Mapping[str, Any], name: str) -> bool:
    text = str(members.get(name.lower(), "false")).lower()
    if text not in {"true", "false"}:
        raise ConfigError(f"{_WHERE}.{name}' is '{text}'; write true or false.")
    return text == "true"


def _seconds(value: Any) -> int:
    """A time span; a number alone is days, as .NET reads it."""
    if value is None:
        return _DEFAULT
    text = str(value)
    seconds = int(text) * _DAY if text.isdecimal() else parse_time_span(text)
    if seconds is None:
        raise ConfigError(
            f"{_WHERE}.maxAge' is '{value}'; write days, or days.hours:minutes:seconds, such as "
            '"30.00:00:00".'
        )
    return int(seconds)
