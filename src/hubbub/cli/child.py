"""What a serving command does besides serving: logs, its listening socket, and its ready line.

Under `hubbub start` the socket is inherited and readiness is told through a pipe; alone, a command
binds its socket itself and prints what is ready.
"""

import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from hubbub.cli.logformat import LogFormatter, LogHandler

__all__ = [
    "HANDOVER",
    "LOG_LEVELS",
    "REST",
    "RESTART",
    "RESTS",
    "ask_for_restart",
    "inherit",
    "is_news",
    "raise_file_limit",
    "report",
    "say_stopping",
    "set_up_logging",
    "stop_with_parent",
]


_GONE: Final = "the handler is closed"  # what uvloop says to who writes to a client that is gone
_MANY_FILES: Final = 1_048_576  # where there is no limit; the kernel's own default for one process
# The variable that tells where processes that follow one another keep the schedules of timers.
HANDOVER: Final = "HUBBUB_TIMERS_HANDOVER"
REST: Final = b"rest\n"  # what a supervisor says through standard input, before it asks for the end
RESTS: Final = "rests"  # what a process says when it has done so
RESTART: Final = "restart"  # what a process says that is to be started again with all of its kind
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def set_up_logging(level: str, *, invocations: logging.Filter | None = None) -> None:
    """Send logs to standard error, one line each.

    `invocations` gives each record the function that it belongs to, in a function host.
    """
    handler = LogHandler(sys.stderr)
    if invocations is not None:
        handler.addFilter(invocations)
    handler.setFormatter(LogFormatter(has_app=invocations is not None))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # websockets would say "connection closed" for each.
    for noisy in ("asyncio", "aiohttp", "uvicorn", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(is_news)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record of uvicorn tells more than where a request was when it was given up.

    That is by a server that stops, or by a client: of requests that wait for each other on a
    connection uvicorn tells only the last one that the client is gone.
    """
    import asyncio  # which who logs this has loaded; a supervisor does without it

    error = record.exc_info[1] if record.exc_info else None
    is_gone = isinstance(error, RuntimeError) and str(error).endswith(_GONE)
    return not (is_gone or isinstance(error, asyncio.CancelledError))


def raise_file_limit() -> None:
    """Let this process have as many connections as the system allows it; each is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def inherit(fd: int) -> socket.socket:
    """The supervisor's socket, to serve on."""
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    return listener


def report(fd: int | None, facts: Mapping[str, Any], *, is_last: bool = True) -> None:
    """Tell the supervisor, where there is one. The pipe is closed where nothing more follows."""
    if fd is None:
        return
    with os.fdopen(fd, "w", encoding="utf-8", closefd=is_last) as pipe:
        pipe.write(json.dumps(facts) + "\n")


def ask_for_restart(fd: int) -> None:
    """Have the supervisor start this process again, and those that run the same."""
    report(fd, {RESTART: True}, is_last=False)
    os.kill(os.getppid(), signal.SIGCHLD)  # so that it looks at its children


def say_stopping(number: int) -> None:
    """Tell a person who has pressed Ctrl-C that the end has begun; it may take seconds."""
    if number == signal.SIGINT:
        print("Stopping; press Ctrl-C again to end at once.", file=sys.stderr, flush=True)


def stop_with_parent(*inherited: int | None, told: Callable[[], None] = lambda: None) -> None:
    """End this process when its standard input ends: a supervisor that dies takes no leave.

    `told` is called, in a thread, when the supervisor says `REST`. What an app starts does not get
    the `inherited` descriptors: it would keep the port.
    """
    for fd in inherited:
        if fd is not None:
            os.set_inheritable(fd, False)

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            told()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
