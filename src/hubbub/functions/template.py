"""Route templates: `items/{id:int?}`, `files/{name}.{ext?}`, `{*rest}` and what they match.

The syntax is ASP.NET's. Nothing here knows of functions or methods.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hubbub.functions.constraints import parse_constraint
from hubbub.functions.function import FunctionError

_LITERAL, _CONSTRAINED, _PLAIN, _CATCH_ALL = 0, 1, 2, 3  # the more specific comes first


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{name…}` of a template."""

    name: str
    optional: bool
    catch_all: bool
    default: str | None
    constraints: tuple[Callable[[str], bool], ...]


Part = str | Parameter
Segment = Sequence[Part]


@dataclass(frozen=True, slots=True)
class RouteTemplate:
    """A template that was parsed; `match` is all that it is for."""

    text: str
    rank: tuple[int, ...]  # specificity, segment by segment: the smaller one goes first
    _pattern: re.Pattern[str]
    _segments: tuple[Segment, ...]  # those with a parameter

    @property
    def is_literal(self) -> bool:
        """Whether the template has no parameter at all."""
        return not self._segments

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters that the decoded path gives, or None. Absent ones are left out."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for segment, text in zip(self._segments, found.groups(), strict=True):
            shares = _share(segment, text or "")
            if shares is None:
                return None
            for parameter in _parameters(segment):
                value = shares.get(parameter.name) or parameter.default
                if value is None:
                    continue
                if not all(allows(value) for allows in parameter.constraints):
                    return None
                values[parameter.name] = value
        return values


def parse_template(text: str) -> RouteTemplate:
    """Parse a template without its leading slash. FunctionError says what is wrong with it."""
    segments = [_parse_segment(part, text) for part in _split(text)] if text else []
    _check_parameters(segments, text)
    pattern = "".join(
        _segment_pattern(segment, first=not index) for index, segment in enumerate(segments)
    )
    return RouteTemplate(
        text=text,
        rank=tuple(_rank(segment) for segment in segments),
        _pattern=re.compile(pattern + "/?", re.IGNORECASE | re.DOTALL),
        _segments=tuple(tuple(segment) for segment in segments if _parameters(segment)),
    )


def _wrong(text: str, reason: str) -> FunctionError:
    return FunctionError(f"the route template '{text}' is not valid: {reason}")


def _split(text: str) -> list[str]:
    """Split at the slashes that are outside of braces."""
    segments, depth, start = [], 0, 0
    for index, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        elif character == "/" and not depth:
            segments.append(text[start:index])
            start = index + 1
    segments.append(text[start:])
    if "" in segments:
        raise _wrong(
            text, "the route template separator character '/' cannot appear consecutively."
        )
    return segments


def _parse_segment(segment: str, text: str) -> list[Part]:
    parts: list[Part] = []
    literal, index = "", 0
    while index < len(segment):
        pair = segment[index : index + 2]
        if pair in {"{{", "}}"}:
            literal += pair[0]
            index += 2
        elif segment[index] == "{":
            content, index = _braced(segment, index + 1, text)
            parts += (
                [literal, _parse_parameter(content, text)]
                if literal
                else [_parse_parameter(content, text)]
            )
            literal = ""
        elif segment[index] == "}":
            raise _wrong(text, "a '}' has no opening '{'.")
        else:
            literal += segment[index]
            index += 1
    return [*parts, literal] if literal else parts


def _braced(segment: str, index: int, text: str) -> tuple[str, int]:
    """The content of braces that open before `index`, and where they end. Doubled ones escape."""
    content = ""
    while index < len(segment):
        pair = segment[index : index + 2]
        if pair in {"{{", "}}"}:
            content += pair[0]
            index += 2
        elif segment[index] == "}":
            return content, index + 1
        else:
            content += segment[index]
            index += 1
    raise _wrong(text, "a '{' is never closed.")


_PARAMETER = re.compile(
    r"(\*{0,2})([^:=?*/{}]+)((?::[^:(=?]+(?:\(.*?\)(?=[:=?]|$))?)*)(=[^?]*)?(\?)?"
)
_CONSTRAINT = re.compile(r":([^:(]+)(?:\((.*?)\)(?=:|$))?", re.DOTALL)


def _parse_parameter(content: str, text: str) -> Parameter:
    match = _PARAMETER.fullmatch(content)
    if match is None:
        raise _wrong(text, f"'{{{content}}}' is not a route parameter.")
    stars, name, constraints, default, optional = match.groups()
    if optional and default:
        raise _wrong(text, f"'{name}' cannot be optional and have a default value.")
    return Parameter(
        name=name,
        optional=bool(optional),
        catch_all=bool(stars),
        default=default[1:] if default else None,
        constraints=tuple(
            parse_constraint(kind, argument, text)
            for kind, argument in _CONSTRAINT.findall(constraints)
        ),
    )


def _parameters(segment: Segment) -> list[Parameter]:
    return [part for part in segment if isinstance(part, Parameter)]


def _check_parameters(segments: Sequence[Segment], text: str) -> None:
    names = [found.name.lower() for segment in segments for found in _parameters(segment)]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(text, f"the parameter '{name}' appears more than once.")
    for index, segment in enumerate(segments):
        if any(isinstance(a, Parameter) and isinstance(b, Parameter) for a, b in pairwise(segment)):
            raise _wrong(
                text, "two parameters must be separated by a '/' or by a text, such as '{a}-{b}'."
            )
        catches = any(parameter.catch_all for parameter in _parameters(segment))
        if catches and (len(segment) > 1 or index < len(segments) - 1):
            raise _wrong(text, "a catch-all parameter must be the whole last segment.")


def _rank(segment: list[Part]) -> int:
    parameters = _parameters(segment)
    if not parameters:
        return _LITERAL
    if any(parameter.catch_all for parameter in parameters):
        return _CATCH_ALL
    constrained = len(segment) > 1 or any(parameter.constraints for parameter in parameters)
    return _CONSTRAINED if constrained else _PLAIN


def _segment_pattern(segment: Segment, *, first: bool) -> str:
    """What one segment matches: one group, unless it is a literal."""
    slash = "" if first else "/"
    only = segment[0]
    if len(segment) > 1:
        return f"{slash}([^/]+)"
    if isinstance(only, str):
        return slash + re.escape(only)
    if only.catch_all:
        return f"(?:{slash}(.*))?"
    if only.optional or only.default is not None:
        return f"(?:{slash}([^/]+))?"
    return f"{slash}([^/]+)"


def _share(segment: Segment, text: str) -> dict[str, str] | None:
    """What each parameter of a segment gets of its text, or None where the segment does not fit."""
    if len(segment) == 1:
        return {part.name: text for part in segment if isinstance(part, Parameter)}
    shares = _share_mixed(segment, text)
    last, before = segment[-1], segment[-2]
    if shares is None and isinstance(last, Parameter) and last.optional and isinstance(before, str):
        return _share_mixed(segment[:-2], text)  # `{name}.{ext?}`: no extension, no dot
    return shares


def _share_mixed(segment: Segment, text: str) -> dict[str, str] | None:
    """Literals are looked for from the right, and once each, as in ASP.NET.

    To try every other way of sharing would let a client make the search as long as it likes.
    """
    shares: dict[str, str] = {}
    end = len(text)  # of what is not shared out yet
    waiting: Parameter | None = None  # for the literal before it
    for index, part in reversed(tuple(enumerate(segment))):
        if isinstance(part, Parameter):
            waiting = part
            continue
        found = _find_last(part, text, end - (waiting is not None), at_start=not index)
        if found is None or (waiting is None and found[1] != end):
            return None
        if waiting is not None:
            shares[waiting.name] = text[found[1] : end]
        end, waiting = found[0], None
    if waiting is not None and end:
        return shares | {waiting.name: text[:end]}
    return shares if waiting is None and not end else None


def _find_last(literal: str, text: str, end: int, *, at_start: bool) -> tuple[int, int] | None:
    """Begin and end of the last `literal` in what is before `end`, ignoring case."""
    skipped = "" if at_start else ".*"
    pattern = re.compile(f"{skipped}({re.escape(literal)})", re.IGNORECASE | re.DOTALL)
    found = pattern.match(text, 0, max(end, 0))
    return None if found is None else found.span(1)
