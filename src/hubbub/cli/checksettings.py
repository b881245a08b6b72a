"""`hubbub doctor` on what is set: connection strings of environment and app, upstream settings.

It reads files and calls nobody. Keys are never shown.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hubbub.cli.chosen import SETTING
from hubbub.cli.finding import Finding, fine, problem
from hubbub.errors import ConfigError
from hubbub.functions.settings import LOCAL_FILE, LocalSettings, read_local_settings
from hubbub.protocol.endpoints import Endpoint, parse_connection_string
from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.service.settings import EMULATOR_KEY, is_loopback
from hubbub.service.upstream.source import read_upstream_file

__all__ = ["Named", "connection_strings", "local_settings", "upstream_settings"]


@dataclass(frozen=True, slots=True)
class Named:
    """A service and the setting that names it."""

    endpoint: Endpoint
    where: str

    @property
    def is_emulator(self) -> bool:
        """Whether it is whichever service `hubbub start` would start on this machine."""
        return self.endpoint.access_key == EMULATOR_KEY

    @property
    def port_here(self) -> int | None:
        """The port of a service on this machine, `None` where it is on another."""
        address = urlsplit(self.endpoint.url)
        return address.port if is_loopback(address.hostname or "") else None


def local_settings(app: Path) -> tuple[LocalSettings, list[Finding]]:
    """What the app's settings say, and what is wrong with them."""
    if not (app / LOCAL_FILE).exists():
        return LocalSettings(), []
    try:
        settings = read_local_settings(app)
    except ConfigError as error:
        return LocalSettings(), [problem("local settings", str(error), f"Correct {LOCAL_FILE}.")]
    return settings, [fine("local settings", f"{app / LOCAL_FILE} can be read.")]


def connection_strings(
    given: str | None, environ: Mapping[str, str], local: LocalSettings
) -> tuple[Named | None, list[Finding]]:
    """The service that counts, which is the first that is named, and what is wrong with each."""
    texts = {
        "--connection-string": given,
        f"{SETTING} in the environment": environ.get(SETTING),
        f"{SETTING} in {LOCAL_FILE}": local.values.get(SETTING),
    }
    named: list[Named] = []
    findings: list[Finding] = []
    for where, text in texts.items():
        if not text:
            continue
        try:
            named.append(Named(parse_connection_string(text), where))
        except ConfigError as error:
            findings.append(problem("connection string", f"{where}: {error}", f"Correct {where}."))
        else:
            url = named[-1].endpoint.url
            hidden = f", but {named[0].where} goes before it" if len(named) > 1 else ""
            findings.append(fine("connection string", f"{where} names {url}{hidden}."))
    if not findings:
        text = f"{SETTING} is not set; `hubbub start` gives its own to the app."
        findings.append(fine("connection string", text))
    return (named[0] if named else None), findings


def upstream_settings(path: Path | None) -> tuple[UpstreamSettings, list[Finding]]:
    """The upstream settings in the file, and what is wrong with them."""
    if path is None:
        text = "There is no settings.json here; `hubbub start APP` sends all events to APP."
        return UpstreamSettings(), [fine("upstream", text)]
    try:
        settings = read_upstream_file(path, os.environ)
    except ConfigError as error:
        return UpstreamSettings(), [problem("upstream", str(error), f"Correct {path}.")]
    return settings, list(_templates(path, settings))


def _templates(path: Path, settings: UpstreamSettings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield problem("upstream", warning, f"Correct {path}.")
    if settings.templates:
        count = len(settings.templates)
        yield fine("upstream", f"{path} has {count} template{'' if count == 1 else 's'}.")
    else:
        yield problem(
            "upstream",
            f"{path} has no template, so what clients send is refused.",
            "Add one, or let `hubbub upstream init --force` write the default.",
        )
