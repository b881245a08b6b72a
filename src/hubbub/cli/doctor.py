"""`hubbub doctor`: says what is wrong here, and what to change. It changes nothing itself."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hubbub.cli import checkrunning
from hubbub.cli.asking import HOST, SERVICE
from hubbub.cli.checkinstall import installation
from hubbub.cli.checksettings import connection_strings, local_settings, upstream_settings
from hubbub.cli.finding import Finding
from hubbub.cli.upstreamoptions import settings_path

__all__ = ["doctor"]


@click.command()
@click.argument("app", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--port", type=int, help="The host's. Default: local.settings.json's, else 7071.")
@click.option(
    "--service-port",
    type=int,
    help="The service's. Default: that of a connection string for this machine, else 8888.",
)
@click.option(
    "--address", help="Where both listen. Default: local.settings.json's, else 127.0.0.1."
)
@click.option(
    "--connection-string", help="The service to look at. Default: what the app would use."
)
@click.option(
    "-c",
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path),
    help="The upstream settings. Default: settings.json here, if there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(
    app: Path,
    port: int | None,
    service_port: int | None,
    address: str | None,
    connection_string: str | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Look at this installation, the settings and what runs: what is wrong, and what to change.

    APP is the folder of a function app, by default this one. The exit status is 1 where there is a
    problem.
    """
    findings = list(_look(app, port, service_port, address, connection_string, settings_file))
    problems = [finding for finding in findings if finding.is_problem]
    if as_json:
        checks = [_facts(finding) for finding in findings]
        click.echo(json.dumps({"ok": not problems, "checks": checks}))
    else:
        click.echo("\n".join(_lines(findings)))
        count = len(problems)
        click.echo(f"\n{count} problem{'' if count == 1 else 's'}." if count else "\nAll is well.")
    sys.exit(1 if problems else 0)


def _look(
    app: Path,
    port: int | None,
    service_port: int | None,
    address: str | None,
    connection_string: str | None,
    settings_file: Path | None,
) -> Iterator[Finding]:
    yield from installation()
    local, found = local_settings(app)
    yield from found
    named, found = connection_strings(connection_string, os.environ, local)
    yield from found
    address = address or local.address or "127.0.0.1"
    host_port = _first(port, local.port, 7071)
    own_port = _first(service_port, named.port_here if named is not None else None, 8888)
    wrong = checkrunning.address(address)
    if wrong is not None:
        yield wrong
    else:
        if own_port:
            yield checkrunning.port(address, own_port, SERVICE, "--service-port")
        if host_port:
            yield checkrunning.port(address, host_port, HOST, "--port")
            yield from checkrunning.host(address, host_port)
    if named is not None:
        yield from checkrunning.service(named)
    settings, found = upstream_settings(settings_path(settings_file))
    yield from found
    yield from filter(None, map(checkrunning.upstream, settings.templates))


def _first(*numbers: int | None) -> int:
    return next(number for number in numbers if number is not None)


def _facts(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "ok": not finding.is_problem,
        "text": finding.text,
        "change": finding.change,
    }


def _lines(findings: list[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"{'problem' if finding.is_problem else 'ok':8} {finding.check}: {finding.text}"
        if finding.change is not None:
            yield f"{'':8} {finding.change}"
