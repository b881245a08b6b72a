"""Upstream templates: which of them takes an event, why the others do not, and the URL it gives.

It knows no network and no secrets: references to secrets stay in the URL for others to fill in.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

from msgspec import Struct

from hubbub.errors import ConfigError

__all__ = [
    "SECRET",
    "Template",
    "check_absolute",
    "check_secrets",
    "check_url",
    "choose",
    "mismatch",
]

# A reference to a secret, as in {@Microsoft.KeyVault(SecretUri=https://…)}.
SECRET: Final = re.compile(r"\{@(?P<source>[\w.]+)\((?P<name>\w+)=(?P<value>[^)}]*)\)\}")
# Who is asked, and what names the secret there.
_SOURCES: Final = {
    "microsoft.keyvault": "secreturi",
    "hubbub.file": "path",
    "hubbub.environment": "name",
}
_PLACEHOLDERS: Final = ("{hub}", "{category}", "{event}")
_PLACEHOLDER: Final = re.compile(r"\{(hub|category|event)\}")
_BRACES: Final = re.compile(r"\{[^{}]*\}?|\}")
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_FIT_HOST: Final = re.compile(r"[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\]")


class Template(Struct, frozen=True, kw_only=True):
    """Where events that match the patterns go, and how."""

    url_template: str
    # Each is *, a name, or names with commas between; an empty one matches nothing.
    hub_pattern: str = "*"
    category_pattern: str = "*"
    event_pattern: str = "*"
    # The audience of a bearer token that proves who calls; None sends no token.
    resource: str | None = None
    # Seconds for the whole answer; the original's HTTP client waits as long.
    timeout: float = 100.0
    # Whether 401 or 403 for `connected` closes the connection. The emulator only logs them.
    reject_connections: bool = False
    # How often more an event is sent that is safe to repeat.
    retries: int = 0
    # Whether a signature over time and body goes along.
    sign_body: bool = False
    # Whether 404 for `connected` and `disconnected` is no news: the app need not listen to them.
    is_optional: bool = False

    @property
    def shown(self) -> str:
        """The URL for people: without user, query and secrets."""
        url = SECRET.sub("{secret}", self.url_template).partition("?")[0].partition("#")[0]
        authority = _AUTHORITY.match(url)
        if authority is None or "@" not in authority[1]:
            return url
        return url.replace(authority[1], authority[1].rpartition("@")[2], 1)

    @property
    def literal_host(self) -> str | None:
        """The host that the operator has written; `None` where a placeholder or secret is in it."""
        authority = _AUTHORITY.match(self.url_template)
        if authority is None or "{" in authority[1]:
            return None
        return urlsplit(self.url_template).hostname

    def matches(self, hub: str, category: str, event: str) -> bool:
        """Whether this template takes the event. Hubs are compared ignoring case."""
        return (
            _accepts(self.hub_pattern.lower(), hub.lower())
            and _accepts(self.category_pattern, category)
            and _accepts(self.event_pattern, event)
        )

    def url(self, hub: str, category: str, event: str) -> str:
        """The URL for an event; names are percent-encoded, secrets stay references."""
        if "{" not in self.url_template:
            return self.url_template
        values = {"hub": hub, "category": category, "event": event}
        return _PLACEHOLDER.sub(
            lambda match: quote(values[match[1]], safe="", errors="replace"), self.url_template
        )


def choose(templates: Sequence[Template], hub: str, category: str, event: str) -> Template | None:
    """The first template that takes the event; the later ones are not asked, even if it fails."""
    for template in templates:
        if template.matches(hub, category, event):
            return template
    return None


def mismatch(template: Template, hub: str, category: str, event: str) -> str | None:
    """Why `template` does not take the event, `None` where it does."""
    reasons = []
    for what, pattern, name in (
        ("hub", template.hub_pattern.lower(), hub.lower()),
        ("category", template.category_pattern, category),
        ("event", template.event_pattern, event),
    ):
        if _accepts(pattern, name):
            continue
        reason = f"its {what} pattern {pattern!r} does not hold {name!r}"
        if not pattern:
            reason = f"its {what} pattern is empty and matches nothing; write * to match all"
        elif _accepts(pattern.lower(), name.lower()):
            reason += ": they differ in case"
        reasons.append(reason)
    return " and ".join(reasons) or None


def check_url(text: str, where: str) -> None:
    """Check a URL template. Raises `ConfigError` that names `where` and what to write."""
    if text.startswith("@Microsoft.") or re.search(r"[^{]@Microsoft\.KeyVault\(", text):
        raise ConfigError(
            f"{where}: a reference to a secret stands in braces, "
            "as in {@Microsoft.KeyVault(SecretUri=https://…)}."
        )
    check_secrets(text, where)
    plain = SECRET.sub("secret", text)
    for braces in _BRACES.findall(plain):
        if braces.startswith("{@"):
            raise ConfigError(
                f"{where}: a reference to a secret is not complete. It is written "
                "{@Microsoft.KeyVault(SecretUri=https://…)}."
            )
        if braces not in _PLACEHOLDERS:
            lower = braces.lower()
            hint = f" Did you mean {lower}?" if lower in _PLACEHOLDERS else ""
            raise ConfigError(
                f"{where}: {braces} is no placeholder; {', '.join(_PLACEHOLDERS)} are.{hint}"
            )
    if SECRET.fullmatch(text) is None:
        check_absolute(_PLACEHOLDER.sub("name", plain), where, text)


def check_secrets(text: str, where: str) -> None:
    """Check the references to secrets in `text`. Raises `ConfigError`."""
    for found in SECRET.finditer(text):
        if _SOURCES.get(found["source"].lower()) != found["name"].lower():
            raise ConfigError(
                f"{where}: {{@{found['source']}({found['name']}=…)}} is no reference to a secret. "
                "Those are {@Microsoft.KeyVault(SecretUri=https://…)}, {@Hubbub.File(Path=…)} and "
                "{@Hubbub.Environment(Name=…)}."
            )


def check_absolute(url: str, where: str, shown: str) -> None:
    """Check that `url` can be called. Raises `ConfigError`, in which `shown` stands for it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # reading it is what checks it
    except ValueError:
        host = ""
    bracketed = f"[{host}]" if ":" in host else host
    if (
        not url.lower().startswith(("http://", "https://"))
        or not _FIT_HOST.fullmatch(bracketed)
        or any(not "!" <= character <= "~" for character in url)
    ):
        raise ConfigError(
            f"{where}: the URL {shown} is not a valid absolute URI. "
            "It is http:// or https://, a host, and a path, with everything else percent-encoded."
        )


@lru_cache(maxsize=1024)
def _names(pattern: str) -> frozenset[str] | None:
    """The names in a pattern, `None` where it matches all."""
    names = frozenset(name for item in pattern.split(",") if (name := item.strip()))
    return None if "*" in names else names


def _accepts(pattern: str, name: str) -> bool:
    names = _names(pattern)
    return names is None or name in names
