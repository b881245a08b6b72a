"""The upstream settings in force: those given at the start, laid over by a file that is watched.

A file that cannot be read while the service runs changes nothing; the log says what is wrong.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamsettings import UpstreamSettings, parse_upstream_settings
from hubbub.protocol.upstreamtemplate import Template

__all__ = ["LOOK_SECONDS", "SettingsSource", "read_upstream_file"]

_logger = logging.getLogger("hubbub.service")
LOOK_SECONDS: Final = 1.0  # a look is one stat, which works on every kind of volume

_Stamp = tuple[int, int, int]


class SettingsSource:
    """Holds `current`, and calls `changed` with the new settings after each change of the file."""

    def __init__(
        self,
        templates: tuple[Template, ...] = (),
        path: Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`templates` count where the file has none. Raises `ConfigError` for a wrong file."""
        self.path = path
        self.changed: Callable[[UpstreamSettings], None] | None = None
        self._given = UpstreamSettings(templates=templates)
        self._environment = os.environ if environment is None else environment
        self._stamp = _stamp(path)
        self.current = self._read()

    def __repr__(self) -> str:
        return f"SettingsSource({self.path}, templates={len(self.current.templates)})"

    async def look(self) -> None:
        """Take the file's settings if it has changed since the last look."""
        stamp = await asyncio.to_thread(_stamp, self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if stamp is None:
            _logger.warning("upstream: %s is gone; its last settings stay in force", self.path)
            return
        try:
            settings = await asyncio.to_thread(self._read)
        except ConfigError as error:
            _logger.warning("upstream: the settings before this change stay in force: %s", error)
            return
        self.current = settings
        _logger.info("upstream: read %s anew: %d templates", self.path, len(settings.templates))
        if self.changed is not None:
            self.changed(settings)

    def _read(self) -> UpstreamSettings:
        if self.path is None and not self._environment:
            return self._given
        settings = read_upstream_file(self.path, self._environment)
        for warning in settings.warnings:
            _logger.warning("upstream: %s", warning)
        if settings.templates:
            return settings
        return UpstreamSettings(
            templates=self._given.templates,
            identity=settings.identity,
            secrets=settings.secrets,
        )


def read_upstream_file(
    path: Path | None, environment: Mapping[str, str] | None = None
) -> UpstreamSettings:
    """The settings in the file; those of the environment alone where `path` is `None`.

    Raises `ConfigError`.
    """
    if path is None:
        return parse_upstream_settings("{}", "the environment", environment)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no file {path}. `hubbub upstream init` writes one to start from."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    return parse_upstream_settings(text, str(path), environment)


def _stamp(path: Path | None) -> _Stamp | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
