"""What a function gets beside its bindings, and which invocation a log record belongs to.

The classes satisfy the abstract ones of azure-functions, which the app's annotations name.
"""

import logging
import random
import secrets
import threading
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import azure.functions as func

from hubbub.functions.function import Function

_current: ContextVar["Context | None"] = ContextVar("hubbub_invocation", default=None)
_running: dict[str, "Context"] = {}  # by invocation id, those whose threads may log
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


class Failure:
    """What the try before has failed with, under the names that apps read."""

    def __init__(self, error: BaseException) -> None:
        self.source = type(error).__name__
        self.message = str(error)
        self.stack_trace = "".join(traceback.format_exception(error))


class RetryContext:
    """How often an invocation was tried. HTTP invocations are never retried."""

    def __init__(
        self, count: int = 0, max_count: int = 0, error: BaseException | None = None
    ) -> None:
        self.retry_count = count  # 0 in the first try
        self.max_retry_count = max_count
        self.exception = self.rpc_exception = None if error is None else Failure(error)


_NO_RETRIES = RetryContext()


class Context(func.Context):
    """The `context` argument of a function; a new one for each invocation."""

    def __init__(
        self,
        function: Function,
        trace_parent: str | None = None,
        trace_state: str | None = None,
        retry: RetryContext = _NO_RETRIES,
    ) -> None:
        self._function = function
        self._invocation_id = _new_id()
        self._given_trace = trace_parent, trace_state
        self._trace: TraceContext | None = None
        self._retry = retry

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
        _running[self._invocation_id] = self
        return _thread_local

    @property
    def trace_context(self) -> Any:
        """Satisfies `func.TraceContext`."""
        if self._trace is None:
            self._trace = TraceContext(*self._given_trace)
        return self._trace

    @property
    def retry_context(self) -> Any:
        """Satisfies `func.RetryContext`."""
        return self._retry


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


class entered:
    """Attribute what is logged inside to the invocation of `context`."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = _current.set(self._context)

    def __exit__(self, *_: object) -> None:
        _running.pop(self._context.invocation_id, None)  # there if its threads may ask
        _current.reset(self._token)


def _new_id() -> str:
    """A random GUID. Nobody may guess a key, but an invocation's id is no secret."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _everything(_: logging.LogRecord) -> bool:
    return True


class InvocationFilter(logging.Filter):
    """Gives every record `function` and `invocation_id`, "" where it belongs to no invocation.

    For handlers: a logger's filter would miss the records of the loggers below it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keeps: Callable[[logging.LogRecord], bool] = _everything

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the two attributes; whether the record is logged, `keeps` says."""
        # Records of invocations come with both; an app may use one of the names for its own.
        if "function" in record.__dict__ and record.name == "hubbub.functions":
            return self.keeps(record)
        context = _current.get() or _running.get(getattr(_thread_local, "invocation_id", ""))
        record.function = context.function_name if context else ""
        record.invocation_id = context.invocation_id if context else ""
        return self.keeps(record)


def describe_context(context: Context) -> dict[str, Any]:
    """What the original adds to a scope and to an environ."""
    return {
        "azure_functions.function_directory": context.function_directory,
        "azure_functions.function_name": context.function_name,
        "azure_functions.invocation_id": context.invocation_id,
        "azure_functions.thread_local_storage": context.thread_local_storage,
        "azure_functions.trace_context": context.trace_context,
        "azure_functions.retry_context": context.retry_context,
    }
