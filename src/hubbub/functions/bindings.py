"""How bindings give values to a function and take them from it, whatever their type.

The types themselves are elsewhere; here is what they have in common and the conversions of
the original.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from hubbub.functions.expressions import BindingData
from hubbub.functions.function import RETURN, Function, InvocationError

_ADVICE = {
    "http": "Return a func.HttpResponse or a text: json.dumps makes a text of a dict or a list, "
    "and func.HttpResponse(status_code=204) answers with nothing.",
}


class InputBinding(Protocol):
    """A source of one argument."""

    async def value(self, data: BindingData) -> Any:
        """The argument for one invocation, or a InvocationError."""


class OutputBinding(Protocol):
    """A taker of one output."""

    takes_none: bool  # whether a returned None is a value for it, and not "no output"
    is_sent: bool  # whether `send` has anything to do

    def encode(self, value: Any) -> Any:
        """Check and convert what the function gave. A InvocationError fails the invocation."""

    async def send(self, encoded: Any, data: BindingData) -> None:
        """Act on it, after the function has succeeded. A InvocationError fails the invocation."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A function and everything that a call of it needs, prepared once."""

    function: Function
    trigger: str  # the parameter that gets the trigger's value
    inputs: Mapping[str, InputBinding]
    outputs: Mapping[str, OutputBinding]
    # What is the same in every call.
    returns: OutputBinding | None = field(init=False)  # the `$return` binding
    out_names: tuple[str, ...] = field(init=False)  # of the `Out` arguments
    sends: tuple[str, ...] = field(init=False)  # names of the outputs that are sent
    evaluates: bool = field(init=False)  # whether a binding may want the trigger's names

    def __post_init__(self) -> None:
        settle = partial(object.__setattr__, self)
        settle("returns", self.outputs.get(RETURN))
        settle("out_names", tuple(name for name in self.outputs if name != RETURN))
        settle("sends", tuple(name for name, out in self.outputs.items() if out.is_sent))
        settle("evaluates", bool(self.inputs or self.sends))


def unsupported(kind: str, value: Any) -> InvocationError:
    """The error for a Python value that a binding's type cannot take, in the worker's words."""
    return InvocationError(
        f'unable to encode outgoing TypedData: unsupported type "{kind}" for Python type '
        f'"{type(value).__name__}". {_ADVICE.get(kind, "Pass a text, a dict or a list.")}'
    )


def json_items(value: Any, kind: str) -> list[Any]:
    """The items in an output: a JSON object is one, a JSON array is many, None is none.

    A text must hold JSON itself; what is in a dict or list goes through JSON, so that the caller
    owns the result.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return _split(_parse(value, kind))
    if isinstance(value, dict | list):
        try:
            return _split(json.loads(json.dumps(value)))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvocationError(
                f"the value for the {kind} output is not JSON: {error}"
            ) from error
    raise unsupported(kind, value)


def _parse(text: str, kind: str) -> Any:
    plain = text.strip()
    if (plain[:1], plain[-1:]) not in {("{", "}"), ("[", "]")}:
        raise InvocationError(
            f"the text for the {kind} output is no JSON object or array (Binding Object). "
            "Pass json.dumps of an object or of a list of objects."
        )
    try:
        return json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise InvocationError(f"the text for the {kind} output is broken JSON: {error}") from error


def _split(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
