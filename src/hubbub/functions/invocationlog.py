"""The log lines of an invocation: that it begins, how it has ended, and what the app has raised.

It formats and hands over. Which lines are kept is the levels' affair.
"""

import asyncio
import logging
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from hubbub.errors import CallerError, HubbubError
from hubbub.functions.context import Context

logger = logging.getLogger("hubbub.functions")
_HERE = str(Path(__file__).parent)
_SUCCEEDED = "Executed 'Functions.%s' (Succeeded, Id=%s, Duration=%dms)"
_CANCELLED = "Executed 'Functions.%s' (Cancelled, Id=%s, Duration=%dms)"
_FAILED = "Executed 'Functions.%s' (Failed, Id=%s, Duration=%dms): %s"
# What is the same in each record of a success. Such a record is made by hand: looking for the line
# that logs would cost more than all the rest.
_RECORD = logging.LogRecord(
    logger.name, logging.INFO, __file__, 0, _SUCCEEDED, (), None, "log_end"
).__dict__
_START = _RECORD["created"] - _RECORD["relativeCreated"] / 1000


def log_begin(context: Context) -> None:
    """Say that an invocation begins, for who debugs."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "Executing 'Functions.%s' (Reason='This function was programmatically called via "
            "the host APIs.', Id=%s)",
            context.function_name,
            context.invocation_id,
        )


def log_end(
    context: Context, seconds: float, error: BaseException | None, *, raised_by_app: bool
) -> None:
    """One line for each invocation; what the app raised comes with its traceback.

    What a client has done wrong is no fault of the app, and has none.

    People search logs for these words.
    """
    if isinstance(error, asyncio.CancelledError) and not raised_by_app:
        # By the host, so nothing is wrong with the app.
        milliseconds = round(seconds * 1000)
        logger.info(
            _CANCELLED,
            context.function_name,
            context.invocation_id,
            milliseconds,
            extra={"outcome": "Cancelled", "duration_ms": milliseconds},
        )
    elif error is not None:
        _log_failure(context, round(seconds * 1000), error, raised_by_app=raised_by_app)
    elif logger.isEnabledFor(logging.INFO):
        record = logging.LogRecord.__new__(logging.LogRecord)
        now = time.time()
        name, invocation_id = context.function_name, context.invocation_id
        milliseconds = round(seconds * 1000)
        record.__dict__ = {
            **_RECORD,
            "args": (name, invocation_id, milliseconds),
            "created": now,
            "msecs": now * 1000 % 1000 // 1,
            "relativeCreated": (now - _START) * 1000,
            "function": name,
            "invocation_id": invocation_id,
            "outcome": "Succeeded",
            "duration_ms": milliseconds,
        }
        logger.handle(record)


def _log_failure(
    context: Context, milliseconds: int, error: BaseException, *, raised_by_app: bool
) -> None:
    trace: Any = None
    words: object = error
    level = logging.ERROR
    if isinstance(error, CallerError) and error.__cause__ is None:
        level = logging.WARNING
        words = f"connection {error.connection_id}: {type(error).__name__}: {error}"
    elif raised_by_app or not isinstance(error, HubbubError):
        trace = (type(error), error, _from_app(error.__traceback__))
        words = f"{type(error).__name__}: {error}"
    logger.log(
        level,
        _FAILED,
        context.function_name,
        context.invocation_id,
        milliseconds,
        words,
        exc_info=trace,
        extra={"outcome": "Failed", "duration_ms": milliseconds},
    )


def _from_app(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the app's first frame on; the whole of it if there is none."""
    frame = trace
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    return trace if frame is None else frame
