"""What the options for upstreams mean, for the commands that start something. It reads no file."""

from pathlib import Path
from typing import Final

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamtemplate import Template, check_url

__all__ = ["FILE_NAME", "settings_path", "upstream_templates"]

FILE_NAME: Final = "settings.json"


def settings_path(given: Path | None) -> Path | None:
    """The settings file that is meant: the given one, or the one here, `None` where there is none.

    Raises `ConfigError` where a file that was asked for is not there.
    """
    path = given if given is not None else Path(FILE_NAME)
    if path.is_dir():
        path = path / FILE_NAME
    if path.exists():
        return path
    if given is None:
        return None
    raise ConfigError(
        f"Unable to find config file '{given}' or '{given}/{FILE_NAME}'. "
        "`hubbub upstream init` writes one."
    )


def upstream_templates(url: str | None) -> tuple[Template, ...]:
    """The template of an app that is given by its URL alone. Raises `ConfigError`."""
    if url is None:
        return ()
    check_url(url, "--upstream")
    return (Template(url_template=url, is_optional=True),)
