"""`hubbub token`: makes access tokens, and says what is wrong with one. It calls no service."""

import base64
import json
import sys
import time
from typing import Any, Final

import click

from hubbub.cli.calling import json_option, show
from hubbub.cli.chosen import Chosen, connection_option
from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import Endpoint, client_url
from hubbub.protocol.tokens import (
    MAX_TOKEN_LENGTH,
    TokenError,
    check_client_audience,
    check_rest_audience,
    decode_token,
    issue_client_token,
    issue_rest_token,
)

__all__ = ["token"]

_MAX_LIFETIME: Final = 365 * 24 * 3600  # seconds
_lifetime: Final = click.option(
    "--lifetime", default=3600, show_default=True, type=click.IntRange(1, _MAX_LIFETIME),
    help="Seconds that the token is good for.",
)  # fmt: skip


@click.group()
def token() -> None:
    """Make access tokens, and say what is wrong with one."""


@token.command()
@click.argument("hub")
@click.option("--user", help="The user id of who connects.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="Repeatable.")
@_lifetime
@connection_option
@json_option
def client(
    hub: str,
    user: str | None,
    claims: tuple[str, ...],
    lifetime: int,
    chosen: Chosen,
    as_json: bool,
) -> None:
    """Make the token with which a client connects to HUB."""
    endpoint = chosen.endpoint()
    made = issue_client_token(
        endpoint,
        hub,
        now=int(time.time()),
        lifetime=lifetime,
        user_id=user,
        claims=[_claim(text) for text in claims],
    )
    show({"url": client_url(endpoint, hub), "accessToken": made}, made, as_json=as_json)


@token.command()
@click.argument("path")
@_lifetime
@connection_option
@json_option
def rest(path: str, lifetime: int, chosen: Chosen, as_json: bool) -> None:
    """Make the token for the REST call at PATH.

    \b
      hubbub token rest /api/hubs/chat/:send
    """
    endpoint = chosen.endpoint()
    url = f"{endpoint.server_base}{path.lstrip('/')}"
    made = issue_rest_token(endpoint, url, now=int(time.time()), lifetime=lifetime)
    show({"url": url, "accessToken": made}, made, as_json=as_json)


@token.command()
@click.argument("text", metavar="TOKEN")
@click.option("--hub", help="Whether a client may connect to this hub with it.")
@click.option("--path", help="Whether the REST call at this path may be made with it.")
@connection_option
@json_option
def verify(text: str, hub: str | None, path: str | None, chosen: Chosen, as_json: bool) -> None:
    """Say whether TOKEN is good, else what is wrong and what was expected.

    The exit status is 1 where it is not. The key is the one of the connection string.
    """
    endpoint = chosen.endpoint()
    text = text.strip().removeprefix("Bearer ").strip()
    facts: dict[str, Any] = {"valid": True, "claims": _claims_unchecked(text)}
    try:
        _check(text, endpoint, hub, path)
    except TokenError as error:
        facts |= {"valid": False, "problem": str(error), "expected": error.advice}
    show(facts, "\n".join(_lines(facts)), as_json=as_json)
    if not facts["valid"]:
        sys.exit(1)


def _check(text: str, endpoint: Endpoint, hub: str | None, path: str | None) -> None:
    if len(text) > MAX_TOKEN_LENGTH:
        raise TokenError(
            f"The token has {len(text)} characters",
            f"At most {MAX_TOKEN_LENGTH}: a service refuses longer ones. Put less into its claims.",
        )
    if endpoint.access_key is None:
        raise ConfigError("The connection string has no AccessKey to check a signature with.")
    claims = decode_token(text, [endpoint.access_key], now=int(time.time()))
    if hub is not None:
        check_client_audience(claims, hub)
    if path is not None:
        check_rest_audience(claims, path)


def _claims_unchecked(text: str) -> dict[str, Any] | None:
    """What the token says, whoever has signed it; `None` where it says nothing."""
    try:
        payload = text.split(".")[1]
        padding = "=" * (-len(payload) % 4)
        claims = json.loads(base64.urlsafe_b64decode(payload + padding))
    except (IndexError, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _lines(facts: dict[str, Any]) -> list[str]:
    if facts["valid"]:
        lines = ["The token is good."]
    else:
        lines = [f"The token is refused: {facts['problem']}."]
    if facts.get("expected"):
        lines.append(f"Expected: {facts['expected']}")
    for name, value in (facts["claims"] or {}).items():
        shown = value if isinstance(value, str) else json.dumps(value)
        lines.append(f"  {name}: {shown}{_moment(name, value)}")
    return lines


def _moment(name: str, value: Any) -> str:
    """The claims of time once more, for people."""
    if name not in {"exp", "nbf", "iat"} or not isinstance(value, int):
        return ""
    try:
        return time.strftime(" (%Y-%m-%d %H:%M:%S UTC)", time.gmtime(value))
    except (ValueError, OverflowError, OSError):
        return ""


def _claim(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r} is no NAME=VALUE.", param_hint="--claim")
    return name, value
