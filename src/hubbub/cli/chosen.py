"""Which service a command calls: by option, by environment, or the one that runs on this machine.

It also says what went wrong in a call, with the place of the setting that is to be changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import click
from click.core import ParameterSource

from hubbub.cli.asking import is_service
from hubbub.errors import ConfigError, ServiceError
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
        if self.text:
            try:
                return parse_connection_string(self.text)
            except ConfigError as error:
                raise ConfigError(f"{self.where} cannot be used: {error}") from None
        url = _EMULATOR_URL
        if not is_service(url):
            raise ConfigError(f"Which service? Set {SETTING}, or {otherwise}.")
        click.echo(f"hubbub: no {SETTING} is set, so this is the service on {url}.", err=True)
        return parse_connection_string(format_connection_string(url, EMULATOR_KEY))

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
        setting = self.where if self.text else f"{SETTING}, which is not set,"
        if error.status is None:
            return (
                f"{error} Start a service with `hubbub start`, or correct {setting}."
                if error.reason is None
                else f"No service answers at {url}: {error.reason}. Start one with `hubbub start`, "
                f"or correct {setting}."
            )
        if error.status == 401 and (error.reason is None or "signature" in error.reason):
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
    help=f"The service to call. Default: the environment's {SETTING}, else the emulator's if it "
    "runs on this machine.",
)
