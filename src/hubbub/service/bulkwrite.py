"""Writes the same bytes to many sockets: with one system call where that can be, else with many.

It knows nothing of connections.
"""

import logging
import os
import threading
from array import array
from collections.abc import Callable
from itertools import repeat
from typing import Final

__all__ = ["SWITCH", "BulkWrite", "bulk_write", "write_each"]

_logger = logging.getLogger("hubbub.service")
# The variable that, set to 0, has each socket written to by a call of its own: for a sandbox that
# ends programs which ask for io_submit.
SWITCH: Final = "HUBBUB_IO_SUBMIT"

# Takes sockets and bytes; returns how much each has taken, in order. One that is full or broken has
# taken nothing. The list may end early, behind one of these, or where there are too many.
BulkWrite = Callable[["array[int]", bytes], list[int]]


def write_each(sockets: "array[int]", data: bytes) -> list[int]:
    """Write by a call for each socket."""
    taken: list[int] = []
    try:
        # Without a line of Python between two sockets. What is in the list at an error stays.
        taken.extend(map(os.write, sockets, repeat(data)))
    except OSError:
        taken.append(0)
    return taken


class _OfThread(threading.local):
    write: BulkWrite | None = None


_of_thread = _OfThread()


def bulk_write() -> BulkWrite:
    """The best that there is here, tried out when a thread first asks."""
    write = _of_thread.write
    if write is None:
        write = _of_thread.write = _choose()
    return write


def _choose() -> BulkWrite:
    if os.environ.get(SWITCH) == "0":
        return write_each
    try:
        from hubbub.service.iosubmit import BulkWriter  # some builds of Python have no ctypes

        return BulkWriter().write
    except (OSError, AttributeError, ImportError) as error:
        _logger.info("each client is written to by a system call of its own: %s", error)
        return write_each


def _forget() -> None:
    _of_thread.write = None


# What the kernel keeps for a process is not there for a copy of it.
os.register_at_fork(after_in_child=_forget)
