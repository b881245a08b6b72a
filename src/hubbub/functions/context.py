"""What a function gets beside its bindings, and which invocation a log record belongs to.

The classes satisfy the abstract ones of azure-functions, which the app's annotations name.
"""

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import uuid4

import azure.functions as func

from hubbub.functions.function import Function

_current: ContextVar["Context | None"] = ContextVar("hubbub_invocation", default=None)
_running: dict[str, "Context"] = {}  # by invocation id
_thread_local: Any = threading.local()


class TraceContext:
    """The W3C trace context of an invocation, under the names that apps use for it."""

    def __init__(self, parent: str | None, state: str | None) -> None:
        self._parent = parent
        self.trace_state = self.Tracestate = state or ""
        self.attributes: dict[str, str] = {}
        self.Attributes = self.attributes

    @property
    def trace_parent(self) -> str:
        """The `traceparent` of the request, or a new one."""
        if not self._parent:
            self._parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
        return self._parent

    @property
    def Traceparent(self) -> str:
        """The older name of `trace_parent`."""
        return self.trace_parent


class RetryContext:
    """How often an invocation was tried. HTTP invocations are never retried."""

    retry_count = 0
    max_retry_count = 0
    exception = None
    rpc_exception = None


_NO_RETRIES = RetryContext()


class Context(func.Context):
    """The `context` argument of a function; a new one for each invocation."""

    def __init__(
        self, function: Function, trace_parent: str | None = None, trace_state: str | None = None
    ) -> None:
        self._function = function
        self._invocation_id = str(uuid4())
        self._trace = TraceContext(trace_parent, trace_state)

    @property
    def invocation_id(self) -> str:
        """A GUID."""
        return self._invocation_id

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._function.name

    @property
    def function_directory(self) -> str:
        """The folder of the file that defines the function."""
        return self._function.directory

    @property
    def thread_local_storage(self) -> Any:
        """A `threading.local`: a thread that sets its `invocation_id` gets its logs attributed."""
        return _thread_local

    @property
    def trace_context(self) -> Any:
        """Satisfies `func.TraceContext`."""
        return self._trace

    @property
    def retry_context(self) -> Any:
        """Satisfies `func.RetryContext`."""
        return _NO_RETRIES


class Out(func.Out[Any]):
    """An `Out` argument: the last value that was set counts."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        """Set the value of the output."""
        self._value = val

    def get(self) -> Any:
        """The value that was set, or None."""
        return self._value


@contextmanager
def entered(context: Context) -> Iterator[None]:
    """Attribute what is logged inside to the invocation of `context`."""
    token = _current.set(context)
    _running[context.invocation_id] = context
    try:
        yield
    finally:
        del _running[context.invocation_id]
        _current.reset(token)


class InvocationFilter(logging.Filter):
    """Gives every record `function` and `invocation_id`, "" where it belongs to no invocation.

    For handlers: a logger's filter would miss the records of the loggers below it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the two attributes; never drops a record."""
        context = _current.get() or _running.get(getattr(_thread_local, "invocation_id", ""))
        record.__dict__.setdefault("function", context.function_name if context else "")
        record.__dict__.setdefault("invocation_id", context.invocation_id if context else "")
        return True
