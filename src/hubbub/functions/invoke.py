"""Runs one invocation: inputs, the call, outputs, and the log line that says how it went.

It knows no trigger. A function can raise, exit or block here without harm to the host.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from functools import partial
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from hubbub.functions.bindings import OutputBinding, Plan
from hubbub.functions.context import Context, Out, RetryContext, entered
from hubbub.functions.deadline import Deadline, Deadlines
from hubbub.functions.expressions import BindingData
from hubbub.functions.function import RETURN, Function, InvocationError
from hubbub.functions.invocationlog import log_begin, log_end
from hubbub.functions.threads import PoolFullError, ThreadPool
from hubbub.functions.timespan import format_seconds

logger = logging.getLogger("hubbub.functions")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Outcome(Struct, frozen=True):
    """How an invocation ended: what each output binding encoded, or the error."""

    outputs: Mapping[str, Any] = {}
    returned: Any = None
    error: BaseException | None = None
    raised_by_app: bool = False


CANCELLED = Outcome(error=asyncio.CancelledError())  # by the host or who waited
DONE = Outcome()


class _Raised(Exception):
    """The app's own code raised `error`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Invoker:
    """Runs invocations for one host."""

    def __init__(self, pool: ThreadPool, timeout: float | None) -> None:
        self.running = 0
        self.waiting = 0  # for another try
        self.is_draining = False  # nothing is tried again then
        self._pool = pool
        self._deadlines = Deadlines(timeout)  # seconds; None: no limit

    def __repr__(self) -> str:
        return f"<Invoker {self.running} running, {self._pool!r}>"

    def close(self) -> None:
        """End what the limits of time need."""
        self._deadlines.close()

    async def run(self, plan: Plan, value: Any, data: BindingData, context: Context) -> Outcome:
        """Invoke the function of `plan` with the trigger's `value`. Never raises for the app."""
        started = time.perf_counter()
        outcome = CANCELLED
        self.running += 1
        with entered(context):
            log_begin(context)
            try:
                outcome = await self.perform(plan, value, data, context)
            finally:
                self.running -= 1
                seconds = time.perf_counter() - started
                log_end(context, seconds, outcome.error, raised_by_app=outcome.raised_by_app)
        return outcome

    async def run_web(
        self, context: Context, serve: Callable[[], Awaitable[Outcome | None]]
    ) -> Outcome:
        """Let `serve` answer, logged and limited as any other invocation.

        It may say itself what has come of it.
        """
        started = time.perf_counter()
        outcome = CANCELLED
        self.running += 1
        with entered(context):
            log_begin(context)
            try:
                outcome = await self._web_outcome(context, serve)
            finally:
                self.running -= 1
                seconds = time.perf_counter() - started
                log_end(context, seconds, outcome.error, raised_by_app=outcome.raised_by_app)
        return outcome

    async def _web_outcome(
        self, context: Context, serve: Callable[[], Awaitable[Outcome | None]]
    ) -> Outcome:
        try:
            with Deadline(self._deadlines):
                try:
                    return await serve() or DONE
                except BaseException as error:
                    if _is_ours(error):
                        raise
                    return Outcome(error=error, raised_by_app=not isinstance(error, PoolFullError))
        except TimeoutError:
            return Outcome(error=self._too_long(context))

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
            self.waiting += 1
            try:
                await asyncio.sleep(delay)
            finally:
                self.waiting -= 1

    async def perform(self, plan: Plan, value: Any, data: BindingData, context: Context) -> Outcome:
        """Invoke as part of something else that is logged and counted."""
        function = plan.function
        try:
            arguments: dict[str, Any] = {plan.trigger: value}
            for name, source in plan.inputs.items():
                arguments[name] = await source.value(data)
            if function.wants_context:
                arguments["context"] = context
            outs = {name: Out() for name in plan.out_names}
            arguments.update(outs)
            returned = await self._call(function, arguments, context)
            encoded = _encode(plan, outs, returned)
            if plan.sends:
                await _send(plan, encoded, data)
            return Outcome(encoded, returned)
        except _Raised as raised:
            return Outcome(error=raised.error, raised_by_app=True)
        except Exception as error:  # a binding failed: this invocation ends, the host goes on
            return Outcome(error=error)

    async def _call(self, function: Function, arguments: dict[str, Any], context: Context) -> Any:
        """Call the function within the time limit."""
        try:
            with Deadline(self._deadlines):
                if function.is_async:
                    try:
                        return await function.call(**arguments)
                    except BaseException as error:
                        if _is_ours(error):
                            raise
                        raise _Raised(error) from error
                # The copy makes context variables set by the host visible in the thread.
                call = partial(copy_context().run, partial(function.call, **arguments))
                result, raised = await self._pool.run(call)
                if raised is not None:
                    raise _Raised(raised) from raised
                return result
        except TimeoutError:  # the limit's own: what the app raises comes as _Raised
            raise self._too_long(context) from None

    def _too_long(self, context: Context) -> InvocationError:
        return InvocationError(
            f"Timeout value of {format_seconds(self._deadlines.limit or 0)} exceeded by function "
            f"'Functions.{context.function_name}' (Id: '{context.invocation_id}'). Raise "
            "'functionTimeout' in host.json, or make the function quicker."
        )


def _is_ours(error: BaseException) -> bool:
    """Whether what came out of the app's code is the end of its task, and nothing that it raised.

    Everything else is the app's, SystemExit included: nothing that a function raises may end the
    host.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit)


def _encode(plan: Plan, outs: dict[str, Out], returned: Any) -> dict[str, Any]:
    """What the output bindings make of the values; nothing has been sent yet."""
    if returned is not None and not plan.function.may_return:
        raise InvocationError(
            f"function '{plan.function.name}' without a $return binding returned a non-None value. "
            "Let it return nothing, or give it an output binding with the name $return."
        )
    outputs = plan.outputs
    if not outs and plan.returns is not None:  # as nearly all HTTP functions have it
        if returned is None and not plan.returns.takes_none:
            return {}
        return {RETURN: plan.returns.encode(returned)}
    values = {name: out.get() for name, out in outs.items()} if outs else {}
    if plan.returns is not None:
        values[RETURN] = returned
    elif isinstance(returned, dict):  # each member goes to the output of its name
        values |= {name: value for name, value in returned.items() if name in outs}
    return {
        name: outputs[name].encode(value)
        for name, value in values.items()
        if value is not None or (name == RETURN and outputs[name].takes_none)
    }


async def _send(plan: Plan, encoded: dict[str, Any], data: BindingData) -> None:
    """Hand all outputs over at once; the first failure fails the invocation."""
    sends = [
        _one(plan.outputs[name], encoded[name], data) for name in plan.sends if name in encoded
    ]
    if len(sends) == 1:
        await sends[0]
        return
    for result in await asyncio.gather(*sends, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _one(output: OutputBinding, value: Any, data: BindingData) -> None:
    await output.send(value, data)
