"""Which service a command calls: by option, environment or app, or the one that runs here.

It also says what went wrong in a call, with the place of the setting that is to be changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from hubbub.cli.asking import is_service
from hubbub.errors import ConfigError, ServiceError
from hubbub.functions.settings import LOCAL_FILE, AppSettings, read_local_settings
from hubbub.protocol.endpoints import Endpoint, format_connection_string, parse_connection_string
from hubbub.service.settings import EMULATOR_KEY

__all__ = ["SETTING", "Chosen", "connection_option"]

SETTING: Final = "AzureSignalRConnectionString"
_EMULATOR_URL: Final = "http://localhost:8888"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A connection string as it was given, and where; `text` is `None` where none was."""

    text: str | None
    where: str

    def endpoint(self, *, otherwise: str = "pass --connection-string") -> Endpoint:
        """The service that is meant: without a connection string the emulator's, if it runs here.

        Raises `ConfigError` where there is none, or where it cannot be read.
        """
        named = self._named()
        if named.text:
            try:
                endpoint = parse_connection_string(named.text)
            except ConfigError as error:
                raise ConfigError(f"{named.where} cannot be used: {error}") from None
            if not self.text:
                click.echo(
                    f"hubbub: this is the service on {endpoint.url}, of {named.where}.", err=True
                )
            return endpoint
        url = _EMULATOR_URL
        if not is_service(url):
            raise ConfigError(
                f"Which service? Set {SETTING}, or {otherwise}. `hubbub start` starts one here, "
                "which is taken without."
            )
        click.echo(f"hubbub: no {SETTING} is set, so this is the service on {url}.", err=True)
        return parse_connection_string(format_connection_string(url, EMULATOR_KEY))

    def _named(self) -> "Chosen":
        """What was given, else what the app in the current folder would use."""
        if self.text:
            return self
        local = read_local_settings(Path())
        text = local.connection_strings.get(SETTING) or AppSettings(local.values).find(SETTING)
        return Chosen(text, f"{SETTING} in {LOCAL_FILE}") if text else self

    @contextmanager
    def explained(self, url: str) -> Iterator[None]:
        """Let what a service at `url` answers be told in one sentence that says what to change."""
        try:
            yield
        except ServiceError as error:
            raise ServiceError(
                self._explain(error, url), status=error.status, code=error.code
            ) from error

    def _explain(self, error: ServiceError, url: str) -> str:
        named = self._named()
        setting = named.where if named.text else f"{SETTING}, which is not set,"
        if error.status is None:
            return (
                f"{error} Start a service with `hubbub start`, or correct {setting}."
                if error.reason is None
                else f"No service answers at {url}: {error.reason}. Start one with `hubbub start`, "
                f"or correct {setting}."
            )
        if error.status == 401 and (error.reason is None or "signature" in error.reason):
            if not named.text:
                return (
                    f"The service at {url} has another access key than the emulator's. Set "
                    f"{SETTING}, or pass --connection-string: with what it printed when it was "
                    "started, and the key that `hubbub keys rotate` has printed since, if it has."
                )
            return (
                f"The service at {url} has another access key than {setting} says. "
                "Use the connection string that it printed when it was started, "
                "with the key that `hubbub keys rotate` has printed since, if it has."
            )
        return error.reason or str(error)


def _choose(context: click.Context, parameter: click.Parameter, value: str | None) -> Chosen:
    source = context.get_parameter_source(str(parameter.name))
    if source is ParameterSource.COMMANDLINE:
        return Chosen(value, "--connection-string")
    return Chosen(value, f"{SETTING} in the environment")


connection_option: Final = click.option(
    "--connection-string",
    "chosen",
    envvar=SETTING,
    callback=_choose,
    help=f"The service to call. Default: {SETTING} of the environment, else of {LOCAL_FILE} in "
    "this folder, else the emulator's service if it runs on this machine.",
)
