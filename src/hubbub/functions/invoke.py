"""Runs one invocation: inputs, the call, outputs, and the log line that says how it went.

It knows no trigger. A function can raise, exit or block here without harm to the host.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from hubbub.errors import HubbubError
from hubbub.functions.bindings import OutputBinding, Plan
from hubbub.functions.context import Context, Out, RetryContext, entered
from hubbub.functions.expressions import BindingData
from hubbub.functions.function import InvocationError
from hubbub.functions.threads import ThreadPool

logger = logging.getLogger("hubbub.functions")
_HERE = str(Path(__file__).parent)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended: what each output binding encoded, or the error."""

    outputs: dict[str, Any] = field(default_factory=dict)
    returned: Any = None
    error: BaseException | None = None
    raised_by_app: bool = False


_CANCELLED = Outcome(error=asyncio.CancelledError())


class _Raised(Exception):
    """The app's own code raised `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Invoker:
    """Runs invocations for one host."""

    def __init__(self, pool: ThreadPool, timeout: float | None) -> None:
        self.running = 0
        self.is_draining = False  # nothing is tried again then
        self._pool = pool
        self._timeout = timeout  # seconds; None: no limit

    def __repr__(self) -> str:
        return f"<Invoker {self.running} running, {self._pool!r}>"

    async def run(self, plan: Plan, value: Any, data: BindingData, context: Context) -> Outcome:
        """Invoke the function of `plan` with the trigger's `value`. Never raises for the app."""
        return await self._watched(context, partial(self._outcome, plan, value, data, context))

    async def run_web(self, context: Context, serve: Callable[[], Awaitable[None]]) -> Outcome:
        """Let a web application answer, logged and limited as any other invocation."""

        async def work() -> Outcome:
            try:
                async with asyncio.timeout(self._timeout):
                    await _guarded(serve)
            except _Raised as raised:
                return Outcome(error=raised.error, raised_by_app=True)
            except TimeoutError:
                return Outcome(error=self._too_long(context))
            return Outcome()

        return await self._watched(context, work)

    async def _watched(self, context: Context, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        started = time.perf_counter()
        outcome = _CANCELLED
        self.running += 1
        with entered(context):
            logger.debug(
                "Executing 'Functions.%s' (Reason='This function was programmatically called via "
                "the host APIs.', Id=%s)",
                context.function_name,
                context.invocation_id,
            )
            try:
                outcome = await work()
            finally:
                self.running -= 1
                _log(context, outcome, time.perf_counter() - started)
        return outcome

    async def run_again(
        self, plan: Plan, value: Any, data: BindingData, headers: Mapping[str, str] = _NOTHING
    ) -> Outcome:
        """Invoke as `run` does, and again while it fails and the function's policy says so."""
        policy, attempt = plan.function.retry, 0
        outcome = Outcome()
        while True:
            retry = RetryContext(attempt, policy.count if policy else 0, outcome.error)
            context = Context(
                plan.function, headers.get("traceparent"), headers.get("tracestate"), retry
            )
            outcome = await self.run(plan, value, data, context)
            attempt += 1
            delay = policy.delay(attempt) if policy else None
            if outcome.error is None or delay is None or self.is_draining:
                return outcome
            logger.info(
                "Waiting for `%s` before retrying function execution. Next attempt: '%d' of '%s'.",
                format_seconds(delay),
                attempt,
                context.function_name,
            )
            await asyncio.sleep(delay)

    async def _outcome(
        self, plan: Plan, value: Any, data: BindingData, context: Context
    ) -> Outcome:
        try:
            return await self._steps(plan, value, data, context)
        except _Raised as raised:
            return Outcome(error=raised.error, raised_by_app=True)
        except Exception as error:  # a binding failed: this invocation ends, the host goes on
            return Outcome(error=error)

    async def _steps(self, plan: Plan, value: Any, data: BindingData, context: Context) -> Outcome:
        arguments: dict[str, Any] = {plan.trigger: value}
        for name, source in plan.inputs.items():
            arguments[name] = await source.value(data)
        if plan.function.wants_context:
            arguments["context"] = context
        outs = {name: Out() for name in plan.outputs if name != "$return"}
        returned = await self._call(plan, arguments | outs, context)
        encoded = _encode(plan, outs, returned)
        await _send(plan, encoded, data)
        return Outcome(encoded, returned)

    async def _call(self, plan: Plan, arguments: dict[str, Any], context: Context) -> Any:
        """Call the function within the time limit."""
        call = partial(plan.function.call, **arguments)
        try:
            async with asyncio.timeout(self._timeout):
                if plan.function.is_async:
                    return await _guarded(call)
                # The copy makes context variables set by the host visible in the thread.
                result, error = await self._pool.run(partial(copy_context().run, call))
                if error is not None:
                    raise _Raised(error) from error
                return result
        except TimeoutError:  # the limit's own: what the app raises comes as _Raised
            raise self._too_long(context) from None

    def _too_long(self, context: Context) -> InvocationError:
        return InvocationError(
            f"Timeout value of {format_seconds(self._timeout or 0)} exceeded by function "
            f"'Functions.{context.function_name}' (Id: '{context.invocation_id}'). Raise "
            "'functionTimeout' in host.json, or make the function quicker."
        )


async def _guarded(call: Callable[[], Awaitable[Any]]) -> Any:
    """Await the app's code; whatever it raises comes as `_Raised`, SystemExit included."""
    try:
        return await call()
    except GeneratorExit:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # it is we who cancel, not the app
            raise
        raise _Raised(error) from error
    except BaseException as error:  # nothing that a function raises may end the host
        raise _Raised(error) from error


def _encode(plan: Plan, outs: dict[str, Out], returned: Any) -> dict[str, Any]:
    """What the output bindings make of the values; nothing has been sent yet."""
    if returned is not None and not plan.function.may_return:
        raise InvocationError(
            f"function '{plan.function.name}' without a $return binding returned a non-None value"
        )
    values = {name: out.get() for name, out in outs.items()}
    if plan.returns is not None:
        values["$return"] = returned
    elif isinstance(returned, dict):  # each member goes to the output of its name
        values |= {name: value for name, value in returned.items() if name in outs}
    return {
        name: plan.outputs[name].encode(value)
        for name, value in values.items()
        if value is not None or (name == "$return" and plan.outputs[name].takes_none)
    }


async def _send(plan: Plan, encoded: dict[str, Any], data: BindingData) -> None:
    """Hand all outputs over at once; the first failure fails the invocation."""
    sends = [_one(plan.outputs[name], value, data) for name, value in encoded.items()]
    if len(sends) == 1:
        await sends[0]
        return
    for result in await asyncio.gather(*sends, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _one(output: OutputBinding, value: Any, data: BindingData) -> None:
    await output.send(value, data)


def _log(context: Context, outcome: Outcome, seconds: float) -> None:
    """One line for each invocation; what the app raised comes with its traceback."""
    error = outcome.error
    is_cancelled = outcome is _CANCELLED  # by the host, so nothing is wrong with the app
    level = logging.INFO if error is None or is_cancelled else logging.ERROR
    if not logger.isEnabledFor(level):
        return
    milliseconds = round(seconds * 1000)
    word = "Succeeded" if error is None else "Cancelled" if is_cancelled else "Failed"
    # People search logs for these words.
    text = f"Executed 'Functions.%s' ({word}, Id=%s, Duration=%dms)"
    values: tuple[Any, ...] = (context.function_name, context.invocation_id, milliseconds)
    trace: Any = None
    if isinstance(error, HubbubError) and not outcome.raised_by_app:
        text, values = f"{text}: %s", (*values, error)
    elif error is not None and not is_cancelled:
        trace = (type(error), error, _from_app(error.__traceback__))
        text, values = f"{text}: %s", (*values, f"{type(error).__name__}: {error}")
    # Made by hand, because looking for the line that logs would cost more than all the rest.
    record = logging.LogRecord(logger.name, level, __file__, 0, text, values, trace, "_log")
    record.__dict__.update(outcome=word, duration_ms=milliseconds)
    logger.handle(record)


def _from_app(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the app's first frame on; the whole of it if there is none."""
    frame = trace
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    return trace if frame is None else frame


def format_seconds(seconds: float) -> str:
    """A length of time as `hh:mm:ss`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest:02d}"
