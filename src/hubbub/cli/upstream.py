"""`hubbub upstream`: the settings that say where events go, and tries of what they do."""

import json
import secrets
import sys
from pathlib import Path
from typing import Any, Final

import click
import uvloop

from hubbub.cli.calling import SETTING
from hubbub.cli.upstreamoptions import FILE_NAME, settings_path
from hubbub.errors import ConfigError
from hubbub.protocol.codec import JSON, MESSAGEPACK
from hubbub.protocol.endpoints import parse_connection_string
from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.protocol.upstreamtemplate import Template, mismatch
from hubbub.protocol.webhooks import CONNECTIONS, MESSAGES, Event
from hubbub.service.settings import EMULATOR_KEY
from hubbub.service.upstream.delivery import Courier
from hubbub.service.upstream.diagnosis import explain
from hubbub.service.upstream.probe import Probe, send_probe
from hubbub.service.upstream.source import read_upstream_file

__all__ = ["upstream"]

DEFAULT_URL: Final = "http://localhost:7071/runtime/webhooks/signalr"
_DEFAULT_SETTINGS: Final = {
    "UpstreamSettings": {
        "Templates": [
            {
                "UrlTemplate": DEFAULT_URL,
                "EventPattern": "*",
                "HubPattern": "*",
                "CategoryPattern": "*",
            }
        ]
    }
}
_config = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help=f"The settings file, or its folder. Default: {FILE_NAME} here.",
)
_keys = click.option(
    "--access-key",
    "access_keys",
    multiple=True,
    envvar="HUBBUB_ACCESS_KEY",
    help="What signs the event; twice for two keys. Default: the connection string's.",
)
_connection = click.option(
    "--connection-string",
    envvar=SETTING,
    help=f"Where the access key is. Default: the environment's {SETTING}, else the emulator's.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def upstream() -> None:
    """Where the app is that receives what clients say, and whether it answers."""


@upstream.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(), help="A folder.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(output: Path, force: bool) -> None:
    """Write a settings.json to start from: everything to a function app on this machine."""
    path = output / FILE_NAME
    if path.exists() and not force:
        question = f"Already contains '{path}', still want to override it with the default one?"
        if not sys.stdin.isatty():
            raise ConfigError(f"There is a {path} already. Pass --force to replace it.")
        click.confirm(question, abort=True)
    try:
        output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_DEFAULT_SETTINGS, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
    click.echo(f"Exported default settings to '{path}'.")


@upstream.command("list")
@_config
@_json
def list_templates(config: Path | None, as_json: bool) -> None:
    """List the templates in the order in which they are tried."""
    path, settings = _read(config)
    if as_json:
        templates = [_facts(number, item) for number, item in enumerate(settings.templates)]
        click.echo(json.dumps({"file": path, "templates": templates}))
        return
    click.echo(f"Loaded upstream settings from '{path}'")
    for number, template in enumerate(settings.templates):
        click.echo(f"\t{_line(number, template)}")
    if not settings.templates:
        click.echo("No upstream is set yet. Use 'upstream init' to create default upstreams.")


@upstream.command()
@click.argument("hub")
@click.argument("category", type=click.Choice([CONNECTIONS, MESSAGES]))
@click.argument("event")
@_config
@_keys
@_connection
@click.option("--probe", is_flag=True, help="Send the event too. The app runs what it runs for it.")
@_json
def check(
    hub: str,
    category: str,
    event: str,
    config: Path | None,
    access_keys: tuple[str, ...],
    connection_string: str | None,
    probe: bool,
    as_json: bool,
) -> None:
    """Explain which template takes EVENT of CATEGORY on HUB, and why the others do not.

    \b
      hubbub upstream check chat messages broadcast
      hubbub upstream check chat connections connected --probe
    """
    path, settings = _read(config)
    happened = _event(hub, category, event)
    reasons = [mismatch(item, happened.hub, category, event) for item in settings.templates]
    chosen = reasons.index(None) if None in reasons else None
    facts: dict[str, Any] = {
        "file": path,
        "templates": [
            {**_facts(number, item), "mismatch": reasons[number]}
            for number, item in enumerate(settings.templates)
        ],
        "chosen": chosen,
    }
    lines = _explain_choice(path, settings, reasons, happened)
    fine = chosen is not None
    if chosen is not None and probe:
        signing = access_keys or _keys_of(connection_string)
        sent = _send(settings, happened, signing, [], waits=category == MESSAGES)
        facts["probe"] = _probe_facts(sent, happened)
        lines += ["", *_probe_lines(sent, happened)]
        fine = sent.outcome.is_success
    click.echo(json.dumps(facts) if as_json else "\n".join(lines))
    sys.exit(0 if fine else 1)


@upstream.command()
@click.argument("hub")
@click.argument("category", type=click.Choice([CONNECTIONS, MESSAGES]))
@click.argument("event")
@click.argument("arguments", nargs=-1)
@_config
@_keys
@_connection
@click.option("--user", help="The user id of the client. Default: an anonymous one.")
@click.option("--claim", "claims", multiple=True, help="NAME=VALUE, a claim of the client.")
@click.option("--query", default="", help="The query of the client's address.")
@click.option("--connection-id", help="Default: a new one.")
@click.option("--messagepack", is_flag=True, help="Be a client that speaks MessagePack.")
@click.option("--send", is_flag=True, help="Do not wait for a result, as a client's send.")
@_json
def trigger(
    hub: str,
    category: str,
    event: str,
    arguments: tuple[str, ...],
    config: Path | None,
    access_keys: tuple[str, ...],
    connection_string: str | None,
    user: str | None,
    claims: tuple[str, ...],
    query: str,
    connection_id: str | None,
    messagepack: bool,
    send: bool,
    as_json: bool,
) -> None:
    """Send EVENT of CATEGORY on HUB to the app, as if a client had caused it.

    Each of ARGUMENTS is read as JSON, and as plain text where it is not JSON:

    \b
      hubbub upstream trigger chat messages broadcast alice '{"text": "hello"}'
    """
    _path, settings = _read(config)
    happened = _event(
        hub,
        category,
        event,
        user_id=user,
        claims=dict(_pair(claim) for claim in claims),
        query=query,
        connection_id=connection_id,
    )
    sent = _send(
        settings,
        happened,
        access_keys or _keys_of(connection_string),
        [_value(argument) for argument in arguments],
        waits=category == MESSAGES and not send,
        messagepack=messagepack,
    )
    facts = _probe_facts(sent, happened)
    click.echo(json.dumps(facts) if as_json else "\n".join(_probe_lines(sent, happened)))
    sys.exit(0 if sent.outcome.is_success and sent.error is None else 1)


def _read(config: Path | None) -> tuple[str, UpstreamSettings]:
    """The name of the file, and what is in it; without a file what `hubbub start` goes by."""
    path = settings_path(config)
    if path is None:
        name = f"the default, as there is no {FILE_NAME} here"
        return name, UpstreamSettings(templates=(Template(url_template=DEFAULT_URL),))
    settings = read_upstream_file(path)
    for warning in settings.warnings:
        click.echo(f"hubbub: {warning}", err=True)
    return str(path), settings


def _keys_of(connection_string: str | None) -> tuple[str, ...]:
    """The access key of a connection string; the emulator's where there is none."""
    if not connection_string:
        return (EMULATOR_KEY,)
    return (parse_connection_string(connection_string).access_key or EMULATOR_KEY,)


def _event(hub: str, category: str, event: str, **rest: Any) -> Event:
    connection_id = rest.pop("connection_id", None) or f"probe-{secrets.token_hex(8)}"
    return Event(
        hub=hub.lower(), category=category, event=event, connection_id=connection_id, **rest
    )


def _send(
    settings: UpstreamSettings,
    event: Event,
    access_keys: tuple[str, ...],
    arguments: list[Any],
    *,
    waits: bool,
    messagepack: bool = False,
) -> Probe:
    codec = MESSAGEPACK if messagepack else JSON

    async def run() -> Probe:
        courier = Courier(access_keys, settings)
        try:
            return await send_probe(courier, event, codec, arguments, waits=waits)
        finally:
            await courier.close()

    try:
        return uvloop.run(run())
    except (TypeError, OverflowError) as error:
        raise ConfigError(f"The arguments cannot be said in {codec.name}: {error}.") from None


def _explain_choice(
    path: str, settings: UpstreamSettings, reasons: list[str | None], event: Event
) -> list[str]:
    lines = [f"Upstream settings: {path}"]
    chosen: Template | None = None
    for number, (template, reason) in enumerate(zip(settings.templates, reasons, strict=True)):
        verdict = "does not match: " + reason if reason else "matches"
        if reason is None and chosen is not None:
            verdict = "would match, but the first that does is taken"
        lines.append(f"  {_line(number, template)}\n      {verdict}")
        chosen = chosen or (template if reason is None else None)
    if chosen is None:
        lines.append(
            f"No template takes {event.category}/{event.event!r} of hub {event.hub!r}: an invoke "
            "ends with an error, everything else is dropped. Add a template, or widen a pattern."
        )
    else:
        filled = chosen.url(event.hub, event.category, event.event)
        lines.append(f"It goes to {Template(url_template=filled).shown}")
    return lines


def _probe_lines(sent: Probe, event: Event) -> list[str]:
    outcome = sent.outcome
    if not outcome.is_success:
        return [f"Failed ({outcome.kind.value}): {explain(outcome, event)}"]
    lines = [f"{outcome.where} answered {outcome.status} after {outcome.seconds * 1000:.0f} ms."]
    if sent.error is not None:
        lines.append(f"The client gets the error: {sent.error}")
    elif event.category == MESSAGES:
        lines.append(f"The client gets: {json.dumps(sent.result, default=repr)}")
    return lines


def _probe_facts(sent: Probe, event: Event) -> dict[str, Any]:
    outcome = sent.outcome
    return {
        "kind": outcome.kind.value,
        "status": outcome.status or None,
        "explanation": None if outcome.is_success else explain(outcome, event),
        "result": json.loads(json.dumps(sent.result, default=repr)),
        "error": sent.error,
    }


def _line(number: int, template: Template) -> str:
    """A template as the official emulator lists it."""
    return (
        f"[{number}]{template.shown}(event:'{template.event_pattern}',"
        f"hub:'{template.hub_pattern}',category:'{template.category_pattern}')"
    )


def _facts(number: int, template: Template) -> dict[str, Any]:
    return {
        "number": number,
        "url": template.shown,
        "event": template.event_pattern,
        "hub": template.hub_pattern,
        "category": template.category_pattern,
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError(f"--claim is NAME=VALUE, as in --claim role=admin, not {text!r}.")
    return name, value
