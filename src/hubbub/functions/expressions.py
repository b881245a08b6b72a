"""Binding expressions: `%SETTING%`, resolved when a function is loaded, and `{name}` for each call.

The grammar and the fixed error texts are the original's. Nothing here reads a request.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

from hubbub.functions.dotnet import format_datetime, format_guid, format_value
from hubbub.functions.function import Binding, FunctionError, InvocationError
from hubbub.functions.settings import AppSettings
from hubbub.functions.spelling import meant

MISSING: Any = object()


class BindingData(Protocol):
    """The names that a trigger offers to binding expressions."""

    def find(self, name: str) -> Any:
        """The value of the lower-case `name`, or MISSING."""


class Values:
    """Names of a trigger that come from one mapping, ignoring case. Satisfies `BindingData`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    def find(self, name: str) -> Any:
        """The value of the lower-case `name`, or MISSING."""
        return self._values.get(name, MISSING)


def resolve_settings(text: str, find: Callable[[str], str | None]) -> str:
    """Replace each `%NAME%` by the app setting of that name."""
    parts = text.split("%")
    if len(parts) % 2 == 0:
        position = text.rindex("%")
        raise FunctionError(
            f"The '%' at position {position} does not have a closing '%' in '{text}'."
        )
    for index in range(1, len(parts), 2):
        value = find(parts[index])
        if value is None:
            raise FunctionError(
                f"'%{parts[index]}%' does not resolve to a value. Set '{parts[index]}' in the "
                "Values of local.settings.json or in the environment."
            )
        parts[index] = value
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Name:
    """One `{a.b:format}` of a template."""

    path: tuple[str, ...]
    format: str


_SEGMENT = re.compile(r"[^{}.:]+")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with names in braces."""

    parts: tuple[str | Name, ...]

    def evaluate(self, data: BindingData, function: str) -> str:
        """The text for one invocation of `function`, or an InvocationError."""
        return "".join(
            part if isinstance(part, str) else _value(part, data, function) for part in self.parts
        )


def parse_template(text: str) -> Template:
    """Split a text into literal parts and names; `{{` and `}}` are literal braces."""
    parts: list[str | Name] = []
    literal: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        if text[index : index + 2] in {"{{", "}}"}:
            literal.append(character)
            index += 2
        elif character == "{":
            end = text.find("}", index)
            if end < 0:
                raise FunctionError(f"The '{{' at position {index} in '{text}' is never closed.")
            parts += ["".join(literal), _parse_name(text[index + 1 : end])]
            literal = []
            index = end + 1
        elif character == "}":
            raise FunctionError(f"The '}}' at position {index} in '{text}' has no opening '{{'.")
        else:
            literal.append(character)
            index += 1
    parts.append("".join(literal))
    return Template(tuple(part for part in parts if part != ""))


def _parse_name(text: str) -> Name:
    path, _, form = text.partition(":")
    segments = tuple(path.split("."))
    special = segments == ("rand-guid",)
    bad_first = "-" in segments[0] and not special
    if bad_first or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise FunctionError(f"The parameter name '{path}' is invalid.")
    return Name(segments, form)


def _value(name: Name, data: BindingData, function: str) -> str:
    first = name.path[0].lower()
    found = data.find(first)
    if found is MISSING:
        return _own_value(name, first, function)
    for depth, segment in enumerate(name.path[1:], start=1):
        found = _member(found, segment)
        if found is MISSING:
            path = ".".join(name.path[: depth + 1])
            raise InvocationError(
                f"Error while accessing '{path}': property doesn't exist.{_advice(first, segment)}"
            )
    return format_value(found, name.format)


def _member(value: Any, segment: str) -> Any:
    if not isinstance(value, Mapping):
        return MISSING
    wanted = segment.lower()
    for key, member in value.items():
        if str(key).lower() == wanted:
            return member
    return MISSING


def _own_value(name: Name, first: str, function: str) -> str:
    """The names that every trigger has: `rand-guid`, `datetime` and `sys.…`."""
    path = (first, *(segment.lower() for segment in name.path[1:]))
    if path in {("rand-guid",), ("sys", "randguid")}:
        return format_guid(uuid4(), name.format)
    if path in {("datetime",), ("sys", "utcnow")}:
        return format_datetime(datetime.now(UTC), name.format)
    if path == ("sys", "methodname"):
        return function
    raise InvocationError(
        f"No value for named parameter '{name.path[0]}'. The caller passes it in the route, the "
        "query or a JSON body, or an event's 'parameterNames' name it."
    )


def _advice(first: str, segment: str) -> str:
    """What the caller of an HTTP function has to do."""
    if first == "query":
        return f" The caller has to add ?{segment}=… to the address, with a value."
    if first == "headers":
        return f" The caller, or a sign-in in front of the app, has to send the header {segment}."
    return ""


def required_template(binding: Binding, name: str, settings: AppSettings) -> Template:
    """A binding's text with expressions; a FunctionError where it is absent."""
    template = optional_template(binding, name, settings)
    if template is None or not template.parts:
        raise FunctionError(
            f"the {binding.type} binding '{binding.name}' needs a '{name}'.{meant(binding, name)}"
        )
    return template


def optional_template(binding: Binding, name: str, settings: AppSettings) -> Template | None:
    """A binding's text with expressions, or None where it is absent."""
    text = binding.option(name)
    if text is None:
        return None
    return parse_template(resolve_settings(str(text), settings.find))


def required_text(binding: Binding, name: str, settings: AppSettings) -> str:
    """A binding's text that is needed when the function is loaded: only `%SETTING%` counts."""
    text = binding.option(name)
    resolved = "" if text is None else resolve_settings(str(text), settings.find).strip()
    if not resolved:
        raise FunctionError(
            f"the {binding.type} binding '{binding.name}' needs a '{name}'.{meant(binding, name)}"
        )
    return resolved
