"""The values that describe a function of the app: its name, its bindings, what is called.

It knows the rules a declaration must obey, and nothing of files, HTTP or how a call is made.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from hubbub.errors import ConfigError, HubbubError

if TYPE_CHECKING:
    from hubbub.functions.retry import RetryPolicy
    from hubbub.functions.webapp import Inner
    from hubbub.functions.webtypes import WebTypes

Direction = Literal["in", "out"]
RETURN = "$return"  # the name of the binding that takes what the function returns

# Types are matched ignoring case; this is the spelling the rest of the host uses.
_SPELLING = {
    name.lower(): name
    for name in (
        "httpTrigger",
        "http",
        "signalRTrigger",
        "signalRConnectionInfo",
        "signalRNegotiation",
        "signalREndpoints",
        "signalR",
        "timerTrigger",
        "warmupTrigger",
    )
}
_SUPPORTED = set(_SPELLING.values())
# Begins of the types that the original has extensions for.
_ELSEWHERE = re.compile(
    r"(queue|blob|table|cosmosdb|eventhub|eventgrid|servicebus|kafka|rabbitmq|sql|"
    r"mysql|dapr|durable|orchestration|activity|entity|mcp|assistant|embeddings|"
    r"semanticsearch|textcompletion|sendgrid|twilio|redis|webpubsub|connector)",
    re.IGNORECASE,
)
_FUNCTION_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,127}", re.IGNORECASE)
_BINDING_NAME = re.compile(r"(?!.*__)[a-zA-Z_][a-zA-Z0-9_]{0,127}")


class FunctionError(ConfigError):
    """One function of the app cannot be loaded; the others can."""


class InvocationError(HubbubError):
    """An invocation fails, for another reason than what the app's code raised."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of a function's `bindings`. Property names ignore case."""

    name: str
    type: str  # in the host's own spelling where the host knows it, otherwise as declared
    direction: Direction
    properties: Mapping[str, Any]  # by lower-case name

    def option(self, name: str, default: Any = None) -> Any:
        """One of the properties, or `default` where it is absent or null."""
        value = self.properties.get(name.lower())
        return default if value is None else value

    @property
    def is_trigger(self) -> bool:
        """Whether this is what starts the function."""
        return self.type.lower().endswith("trigger")


@dataclass(frozen=True, slots=True)
class Function:
    """A function that was loaded and checked. Both programming models end here."""

    name: str
    bindings: tuple[Binding, ...]
    call: Callable[..., Any]  # called with keyword arguments only
    directory: str  # the folder of the file that defines it
    location: str  # "function_app.py:12", for messages
    is_async: bool
    wants_context: bool  # has a parameter `context` that is no binding
    may_return: bool  # a value other than None is allowed
    retry: "RetryPolicy | None" = None  # for triggers that the host itself pulls
    inner: "Inner | None" = None  # the web application that answers instead of `call`
    web_types: "WebTypes | None" = None  # of its HTTP request and response, if not func's
    declared: Mapping[str, Any] = field(default_factory=dict)  # as in function.json

    @property
    def trigger(self) -> Binding:
        """The one trigger binding."""
        return next(binding for binding in self.bindings if binding.is_trigger)

    @property
    def inputs(self) -> tuple[Binding, ...]:
        """The input bindings beside the trigger."""
        return tuple(b for b in self.bindings if b.direction == "in" and not b.is_trigger)

    @property
    def outputs(self) -> tuple[Binding, ...]:
        """The output bindings, `$return` included."""
        return tuple(b for b in self.bindings if b.direction == "out")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A function that is not run, and why. It is listed, so that nothing vanishes silently."""

    name: str
    reason: str
    location: str = ""

    def __str__(self) -> str:
        where = f" ({self.location})" if self.location else ""
        return f"Function '{self.name}'{where} is not run: {self.reason}"


def parse_binding(declared: Mapping[str, Any]) -> Binding:
    """A binding from its JSON object, as in function.json."""
    properties = {str(key).lower(): value for key, value in declared.items()}
    kind = str(properties.pop("type", None) or "")
    name = str(properties.pop("name", None) or "")
    return Binding(
        name=name,
        type=_SPELLING.get(kind.lower(), kind),
        direction=_direction(properties.pop("direction", None), name),
        properties=MappingProxyType(properties),
    )


def _direction(value: Any, name: str) -> Direction:
    text = str(value if value is not None else "in").lower()
    if text in {"in", "out"}:
        return "in" if text == "in" else "out"
    if text == "inout":
        raise FunctionError(f'"inout" bindings are not supported; make \'{name}\' "in" or "out"')
    raise FunctionError(f"'{value}' is not a valid binding direction. Write 'in' or 'out'.")


def check_name(name: str) -> None:
    """Refuse a name that the original refuses."""
    if not _FUNCTION_NAME.fullmatch(name) or name.lower() == "host":
        raise FunctionError(
            f"'{name}' is not a valid function name. Use letters, digits, '_' and '-', "
            "begin with a letter, and do not call it 'host'."
        )


def check_bindings(bindings: Iterable[Binding]) -> None:
    """Refuse bindings that the original refuses, in its order and words (1.8)."""
    bindings = tuple(bindings)
    if not bindings:
        raise FunctionError("At least one binding must be declared.")
    for binding in bindings:
        _check_binding_name(binding)
    for name, count in Counter(binding.name for binding in bindings).items():
        if count > 1:
            raise FunctionError(
                f"Multiple bindings with name '{name}' discovered. Binding names must be unique. "
                "Rename one; of @app.route it is trigger_arg_name and binding_arg_name."
            )
    _check_types(bindings)
    triggers = sum(binding.is_trigger for binding in bindings)
    if triggers > 1:
        raise FunctionError(
            "Multiple trigger bindings defined. A function can only have a single trigger binding. "
            "Make two functions of it."
        )
    if not triggers:
        raise FunctionError(
            "No trigger binding specified. A function must have a trigger input binding, such as "
            "@app.route() or a binding of type httpTrigger."
        )


def _check_binding_name(binding: Binding) -> None:
    if binding.name == RETURN:
        if binding.direction != "out":
            raise FunctionError("$return bindings must specify a direction of 'out'.")
    elif not _BINDING_NAME.fullmatch(binding.name):
        raise FunctionError(
            f"The binding name {binding.name} is invalid. "
            "Please assign a valid name to the binding."
        )


def _check_types(bindings: tuple[Binding, ...]) -> None:
    unknown = [binding.type for binding in bindings if binding.type not in _SUPPORTED]
    known = [kind for kind in unknown if _ELSEWHERE.match(kind)]
    if known:
        raise FunctionError(
            f"bindings of type {', '.join(map(repr, known))} are not supported by this host."
        )
    if unknown:
        names = ", ".join(f"'{kind}'" for kind in unknown)
        raise FunctionError(
            f"The binding type(s) {names} are not registered. Please ensure the type is correct "
            f"and the binding extension is installed.{_meant(unknown)}"
        )


def _meant(unknown: Iterable[str]) -> str:
    """A sentence with the types that misspelled ones may have been to be, if there are any."""
    near = [get_close_matches(kind.lower(), _SPELLING, n=1, cutoff=0.75) for kind in unknown]
    names = " and ".join(f"'{_SPELLING[found[0]]}'" for found in near if found)
    return f" Did you mean {names}?" if names else ""
