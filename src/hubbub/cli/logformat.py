"""How a log record looks in a terminal: time, level, function, message. It chooses no records.

A peer's text may hold line ends and terminal codes, so a record is one line; only what an app logs
itself may have lines.
"""

import logging
import time
from typing import Final, TextIO

__all__ = ["LogFormatter", "LogHandler"]

# Loggers of this program and of what it serves with. What they log may be a peer's text.
_OWN: Final = ("hubbub", "uvicorn", "asyncio", "aiohttp", "websockets")


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error, which sends each line on by itself: that is not asked for again."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            self.stream.write(f"{self.format(record)}\n")
            self.flush()
        except Exception:  # what cannot be logged must not end what it is about
            self.handleError(record)

    def flush(self) -> None:
        """Nothing where the stream has lines."""
        if not self.stream.line_buffering:
            super().flush()


class LogFormatter(logging.Formatter):
    """Formats records; with `has_app`, those of other loggers than ours are the app's."""

    def __init__(self, *, has_app: bool = False) -> None:
        super().__init__()
        self._has_app = has_app
        self._second = 0  # the one that `_clock` says
        self._clock = ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines of an app's record, and a traceback if there is one."""
        message = record.message = record.getMessage()
        function = record.__dict__.get("function")
        if not message.isprintable():
            is_apps = function or (self._has_app and record.name.partition(".")[0] not in _OWN)
            message = _escaped(message, "\n\t" if is_apps else "\t")
        where = f"[{function}] " if function else ""
        line = f"{self._time(record)} {record.levelname} {where}{message}"
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        parts = (line, record.exc_text, record.stack_info)
        return line if parts == (line, None, None) else "\n".join(filter(None, parts))

    def _time(self, record: logging.LogRecord) -> str:
        """The local time. What strftime makes is kept for a second."""
        second = int(record.created)
        if second != self._second:
            self._clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second
        return f"{self._clock},{int(record.msecs):03d}"


def _escaped(text: str, keeps: str) -> str:
    return "".join(
        letter if letter.isprintable() or letter in keeps else ascii(letter)[1:-1]
        for letter in text
    )
