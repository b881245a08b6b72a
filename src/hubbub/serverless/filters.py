"""Checks that run before a hub's method and refuse by raising, as `SignalRFilterAttribute` does.

The host answers a refused `connected` with 403 and a refused invocation with an error (extension
facts, 4.7). What a check finds out is its own affair.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from hubbub.errors import CallerError, ConfigError
from hubbub.serverless.context import InvocationContext

__all__ = [
    "Check",
    "RefusedError",
    "checked_by",
    "checks_of",
    "pass_all",
    "pass_all_plainly",
    "requires_claim",
]

Check = Callable[[InvocationContext], Awaitable[None] | None]
_ATTRIBUTE: Final = "__hubbub_checks__"
_Target = TypeVar("_Target", bound=Callable[..., Any])


class RefusedError(CallerError):
    """A check does not let this client do this. The caller gets to read the message."""


def checked_by(check: Check) -> Callable[[_Target], _Target]:
    """Run `check` before a method, or before all methods and events of a hub's class.

    The outermost of several comes first, those of the class before those of the method.
    """
    if not callable(check):
        raise ConfigError(f"@checked_by takes a function that gets the context, not {check!r}.")

    def decorate(decorated: _Target) -> _Target:
        own = vars(decorated).get(_ATTRIBUTE, ())
        setattr(decorated, _ATTRIBUTE, (check, *own))
        return decorated

    return decorate


def requires_claim(name: str, value: str | None = None) -> Callable[[_Target], _Target]:
    """Let only clients through whose token has the claim `name`, with that `value` if one is given.

    `true` and `false` are compared ignoring case: they may have been booleans in the token.
    """

    def check(context: InvocationContext) -> None:
        values = context.claim_values(name)
        if value is None and values:
            return
        if value is not None and any(_same(found, value) for found in values):
            return
        wanted = f"the claim {name!r}" + ("" if value is None else f" with the value {value!r}")
        raise RefusedError(f"{context.event} needs {wanted}, which this client does not have.")

    return checked_by(check)


def checks_of(hub: type, method: Callable[..., Any]) -> tuple[Check, ...]:
    """The checks of a method, those of the classes that it belongs to first."""
    classes = [check for kind in reversed(hub.__mro__) for check in vars(kind).get(_ATTRIBUTE, ())]
    return (*classes, *vars(method).get(_ATTRIBUTE, ()))


async def pass_all(checks: Iterable[Check], context: InvocationContext) -> None:
    """Run the checks, one after another; return where none refuses."""
    for check in checks:
        result: Any = check(context)
        _expect_nothing(check, await result if inspect.isawaitable(result) else result)


def pass_all_plainly(checks: Iterable[Check], context: InvocationContext) -> None:
    """The same in a thread."""
    for check in checks:
        result: Any = check(context)
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
        _expect_nothing(check, result)


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _expect_nothing(check: Check, result: Any) -> None:
    """Refuse all where a check returns what might mean no."""
    if result is not None:
        name = getattr(check, "__name__", type(check).__name__)
        raise TypeError(
            f"The check {name} has returned a {type(result).__name__}. A check refuses by raising, "
            "and returns nothing."
        )


def _same(found: str, wanted: str) -> bool:
    if wanted.lower() in {"true", "false"}:
        return found.lower() == wanted.lower()
    return found == wanted
