"""Upstream settings as people write them: the emulator's settings.json, and ARM's properties.

It reads a document that somebody else has read from a file, and says in one sentence what is
wrong with it. Names are compared ignoring case, as .NET's configuration does.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from hubbub.errors import ConfigError
from hubbub.protocol.jsontext import parse_json
from hubbub.protocol.upstreamtemplate import Template, check_absolute, check_secrets, check_url

__all__ = ["Identity", "SecretSource", "UpstreamSettings", "parse_upstream_settings"]

_MAX_RETRIES: Final = 10
_MAX_TIMEOUT: Final = 3600.0  # seconds
_IDENTITIES: Final = ("service", "tokenendpoint", "azure")
_PROVIDERS: Final = ("keyvault", "files", "environment")


class Identity(Struct, frozen=True, kw_only=True):
    """Where bearer tokens for apps come from."""

    kind: str | None = None  # one of _IDENTITIES; None: Azure where it runs there, else the service
    url: str | None = None  # of the token endpoint
    client_id: str | None = None
    client_secret: str | None = None  # it may be a reference to a secret
    issuer: str | None = None  # the address by which apps reach this service
    key_file: str | None = None  # where the service's own key is kept, PEM

    def __repr__(self) -> str:
        return f"Identity({self.kind!r})"  # never the secret


class SecretSource(Struct, frozen=True, kw_only=True):
    """Who is asked for what `{@Microsoft.KeyVault(SecretUri=…)}` names."""

    provider: str = "keyvault"  # one of _PROVIDERS
    folder: str | None = None  # where Files finds a file with the secret's name
    prefix: str = ""  # what Environment puts before the secret's name


class UpstreamSettings(Struct, frozen=True, kw_only=True):
    """Everything about upstreams that can change while the service runs."""

    templates: tuple[Template, ...] = ()
    identity: Identity = Identity()
    secrets: SecretSource = SecretSource()
    warnings: tuple[str, ...] = ()  # what was understood and ignored


def parse_upstream_settings(
    text: str, name: str, environment: Mapping[str, str] | None = None
) -> UpstreamSettings:
    """Read the document `text` of a file `name`. Raises `ConfigError`.

    `environment` holds settings that win, such as UpstreamSettings__Templates__0__UrlTemplate.
    """
    section = _Section(parse_json(text, name), name)
    found = section.section("UpstreamSettings")
    if found is None:
        properties = section.section("properties") or section
        found = properties.section("upstream") or _Section({}, name)
    entries = found.take("Templates")
    entries = [] if entries is None else entries
    if not isinstance(entries, list):
        raise ConfigError(f'{name}: Templates is a list, as in [{{"UrlTemplate": "http://…"}}].')
    entries = _with_environment(entries, environment or {})
    warnings: list[str] = []
    templates = tuple(
        _template(_Section(entry, f"{name}: template {number}"), warnings)
        for number, entry in enumerate(entries)
    )
    identity = found.section("Identity") or _Section({}, name)
    secrets = found.section("Secrets") or _Section({}, name)
    parsed_identity, parsed_secrets = _identity(identity), _secrets(secrets)
    warnings += [text for part in (identity, secrets) for text in part.leftovers()]
    return UpstreamSettings(
        templates=templates,
        identity=parsed_identity,
        secrets=parsed_secrets,
        warnings=tuple(warnings),
    )


class _Section:
    """One JSON object: its members by name in lower case, and which of them nobody has taken."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} is an object, from '{{' to '}}', not {json.dumps(value)}.")
        self.where = where
        self._members = {key.lower(): (key, member) for key, member in value.items()}

    def take(self, name: str, default: Any = None) -> Any:
        return self._members.pop(name.lower(), (name, default))[1]

    def section(self, name: str) -> "_Section | None":
        value = self.take(name)
        return None if value is None else _Section(value, f"{self.where}: {name}")

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.take(name, default)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{self.where}: {name} is a text, not {json.dumps(value)}.")
        return value

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        value = self.take(name, default)
        try:
            number = float(value) if not isinstance(value, bool) else float("nan")
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not low <= number <= high:
            raise ConfigError(
                f"{self.where}: {name} is a number from {low:g} to {high:g}, "
                f"not {json.dumps(value)}."
            )
        return number

    def flag(self, name: str) -> bool:
        value = self.take(name, False)
        if str(value).lower() not in {"true", "false"}:
            raise ConfigError(f"{self.where}: {name} is true or false, not {json.dumps(value)}.")
        return str(value).lower() == "true"

    def leftovers(self) -> Iterator[str]:
        for name, _ in self._members.values():
            yield f"{self.where}: {name} is not known and has no effect."


def _with_environment(entries: list[Any], environment: Mapping[str, str]) -> list[Any]:
    """Lay `UpstreamSettings__Templates__N__Name` over the templates of the file."""
    merged = list(entries)
    for key, parts in sorted(_template_variables(environment), key=_numerically):
        if not parts[2].isdecimal() or int(parts[2]) > len(merged):
            raise ConfigError(
                f"{key}: templates are numbered from 0 without gaps, and there are {len(merged)}."
            )
        number = int(parts[2])
        if number == len(merged):
            merged.append({})
        merged[number] = _laid_over(merged[number], parts[3:], environment[key])
    return merged


def _template_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The names of variables about templates, as they are and in parts."""
    for key in environment:
        parts = key.lower().split("__")
        if parts[:2] == ["upstreamsettings", "templates"] and len(parts) > 3:
            yield key, parts


def _numerically(variable: tuple[str, list[str]]) -> tuple[int, str]:
    key, parts = variable
    return len(parts[2]), key  # as texts, 10 comes before 2


def _laid_over(value: Any, path: list[str], leaf: str) -> Any:
    members = (
        {name.lower(): member for name, member in value.items()} if isinstance(value, dict) else {}
    )
    inner = leaf if len(path) == 1 else _laid_over(members.get(path[0]), path[1:], leaf)
    return {**members, path[0]: inner}


def _template(section: _Section, warnings: list[str]) -> Template:
    url = section.text("UrlTemplate")
    if not url:
        raise ConfigError(
            f"{section.where} has no UrlTemplate. Write where its events go, as in "
            '"UrlTemplate": "http://localhost:7071/runtime/webhooks/signalr".'
        )
    check_url(url, section.where)
    template = Template(
        url_template=url,
        hub_pattern=section.text("HubPattern", "*") or "",
        category_pattern=section.text("CategoryPattern", "*") or "",
        event_pattern=section.text("EventPattern", "*") or "",
        resource=_resource(section, warnings),
        timeout=section.number("Timeout", 100.0, low=0.1, high=_MAX_TIMEOUT),
        reject_connections=section.flag("RejectConnections"),
        retries=int(section.number("Retries", 0, low=0, high=_MAX_RETRIES)),
        sign_body=section.flag("SignBody"),
    )
    warnings += section.leftovers()
    return template


def _resource(section: _Section, warnings: list[str]) -> str | None:
    auth = section.section("Auth")
    if auth is None:
        return None
    kind = (auth.text("Type") or "None").lower()
    managed = auth.section("ManagedIdentity")
    resource = managed.text("Resource") if managed is not None else auth.text("Resource")
    warnings += auth.leftovers()
    if kind == "none":
        return None
    if kind != "managedidentity":
        raise ConfigError(f"{auth.where}: Type is None or ManagedIdentity, not {kind!r}.")
    if not resource:
        raise ConfigError(
            f"{auth.where}: ManagedIdentity needs a Resource: the audience that the app expects "
            'in the token, as in {"Resource": "api://my-app"}.'
        )
    return resource


def _identity(section: _Section) -> Identity:
    kind = section.text("Type")
    if kind is not None and kind.lower() not in _IDENTITIES:
        raise ConfigError(
            f"{section.where}: Type is Service, TokenEndpoint or Azure, not {kind!r}."
        )
    identity = Identity(
        kind=kind.lower() if kind is not None else None,
        url=section.text("Url"),
        client_id=section.text("ClientId"),
        client_secret=section.text("ClientSecret"),
        issuer=section.text("Issuer"),
        key_file=section.text("KeyFile"),
    )
    if identity.kind == "tokenendpoint" and not (identity.url and identity.client_id):
        raise ConfigError(f"{section.where}: TokenEndpoint needs Url, ClientId and ClientSecret.")
    if identity.url is not None:
        check_absolute(identity.url, f"{section.where}: Url", identity.url.partition("?")[0])
    check_secrets(identity.client_secret or "", f"{section.where}: ClientSecret")
    return identity


def _secrets(section: _Section) -> SecretSource:
    provider = section.text("Provider") or "KeyVault"
    if provider.lower() not in _PROVIDERS:
        raise ConfigError(
            f"{section.where}: Provider is KeyVault, Files or Environment, not {provider!r}."
        )
    source = SecretSource(
        provider=provider.lower(),
        folder=section.text("Folder"),
        prefix=section.text("Prefix") or "",
    )
    if source.provider == "files" and not source.folder:
        raise ConfigError(f"{section.where}: Files needs a Folder, as in /run/secrets.")
    return source
