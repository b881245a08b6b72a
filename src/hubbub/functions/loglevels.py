"""`logging.logLevel` of host.json: which records of which category are kept.

The categories are the original's: `Function.NAME` for the host's own lines about a function,
`Function.NAME.User` for what its code logs, `Host.Triggers.Timer` and `Host.General` for the host.
"""

import logging
from collections.abc import Mapping

from hubbub.errors import ConfigError
from hubbub.functions.context import InvocationFilter

_LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}
_DEFAULT = "default"


class LogLevels:
    """The level of each category: that of the longest beginning of its name, else `default`."""

    def __init__(self, levels: Mapping[str, str]) -> None:
        """Raises ConfigError where a level is none of the original's."""
        self._rules = {name.lower(): _level(name, text) for name, text in levels.items()}
        self._found: dict[tuple[str, str], int] = {}  # by logger and function

    @property
    def lowest(self) -> int:
        """The level below which nothing is kept by any rule."""
        return min(self._rules.values())

    def keeps(self, record: logging.LogRecord) -> bool:
        """Whether the record, whose function is known, is to be logged."""
        key = record.name, record.__dict__.get("function", "")
        level = self._found.get(key)
        if level is None:
            level = self._found[key] = self._level(category(*key).lower())
        return record.levelno >= level

    def _level(self, name: str) -> int:
        fitting = [rule for rule in self._rules if name.startswith(rule.rstrip("*"))]
        if fitting:
            return self._rules[max(fitting, key=len)]
        return self._rules.get(_DEFAULT, logging.getLogger().level)


def category(logger: str, function: str) -> str:
    """The original's category of what `logger` says, in a call of `function` if it has a name."""
    is_ours = logger.partition(".")[0] == "hubbub"
    if function:
        return f"Function.{function}" if is_ours else f"Function.{function}.User"
    if logger == "hubbub.functions.timers":
        return "Host.Triggers.Timer"
    return "Host.General" if is_ours else logger


def limit_logs(levels: Mapping[str, str]) -> None:
    """Let the handlers of this process go by the levels of host.json; none change nothing."""
    if not levels:
        return
    rules = LogLevels(levels)
    root = logging.getLogger()
    filters = [
        one for handler in root.handlers for one in handler.filters
        if isinstance(one, InvocationFilter)
    ]  # fmt: skip
    for one in filters:
        one.keeps = rules.keeps
    if filters:
        root.setLevel(min(root.level, rules.lowest))


def _level(name: str, text: str) -> int:
    if text.lower() not in _LEVELS:
        raise ConfigError(
            f"host.json: 'logging.logLevel.{name}' is '{text}'; write one of "
            f"{', '.join(level.capitalize() for level in _LEVELS)}."
        )
    return _LEVELS[text.lower()]
