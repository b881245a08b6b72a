"""Filters of connections, in the OData subset that the original documents, as functions.

A filter is parsed by hand within limits and becomes closures; nothing is ever evaluated as code.
Strings are compared exactly, keywords and functions in any case of letters.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Literal, NamedTuple

from hubbub.errors import ProtocolError

__all__ = ["Filter", "FilterError", "Subject", "parse_filter"]

# "A good guideline is that if you have over 100 clauses, you are at risk" (OData filter syntax).
MAX_LENGTH: Final = 8192  # characters
MAX_TOKENS: Final = 1000
MAX_DEPTH: Final = 32
_MAX_DIGITS: Final = 9

Kind = Literal["text", "number", "truth", "null", "groups"]


class Subject(NamedTuple):
    """What a filter asks about one connection."""

    connection_id: str
    user_id: str | None
    groups: Collection[str]


Filter = Callable[[Subject], bool]


class FilterError(ProtocolError):
    """A filter that is not one, or that is larger than any need be. The message says where."""


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Expression(NamedTuple):
    """A part of a filter: what it yields, and how. A part that is null yields `None`."""

    kind: Kind
    value: Callable[[Subject], Any]


_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>[+-]?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[(),]))",
    re.ASCII,
)
_END: Final = "end"
_FIELDS: Final[dict[str, _Expression]] = {
    "userid": _Expression("text", lambda subject: subject.user_id),
    "connectionid": _Expression("text", lambda subject: subject.connection_id),
    "groups": _Expression("groups", lambda subject: subject.groups),
    "true": _Expression("truth", lambda _: True),
    "false": _Expression("truth", lambda _: False),
    "null": _Expression("null", lambda _: None),
}
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
}
_COMPARISONS: Final = frozenset((*_ORDER, "eq", "ne"))


class _Function(NamedTuple):
    """A function of the grammar: kinds of its arguments, what it yields, and how."""

    parameters: tuple[Kind, ...]
    optional: int
    result: Kind
    apply: Callable[..., Any]


def _substring(text: str, start: int, length: int | None = None) -> str:
    start = max(start, 0)
    return text[start:] if length is None else text[start : start + max(length, 0)]


_FUNCTIONS: Final = {
    "startswith": _Function(("text", "text"), 0, "truth", str.startswith),
    "endswith": _Function(("text", "text"), 0, "truth", str.endswith),
    "contains": _Function(("text", "text"), 0, "truth", lambda text, part: part in text),
    "indexof": _Function(("text", "text"), 0, "number", str.find),
    "length": _Function(("text",), 0, "number", len),  # of groups too, see `_call`
    "tolower": _Function(("text",), 0, "text", str.lower),
    "toupper": _Function(("text",), 0, "text", str.upper),
    "trim": _Function(("text",), 0, "text", str.strip),
    "concat": _Function(("text", "text"), 0, "text", lambda left, right: left + right),
    "substring": _Function(("text", "number", "number"), 1, "text", _substring),
}
_SHOWN: Final[dict[Kind, str]] = {
    "text": "a string",
    "number": "a whole number",
    "truth": "true or false",
    "null": "null",
    "groups": "groups",
}


def parse_filter(text: str) -> Filter:
    """Read a filter such as `startswith(userId, 'a') and 'red' in groups`. Raises `FilterError`."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"A filter has at most {MAX_LENGTH} characters; this has {len(text)}.")
    parser = _Parser(list(_tokens(text)))
    expression = parser.disjunction(0)
    parser.expect(_END)
    if expression.kind != "truth":
        raise FilterError(f"A filter is true or false; this is {_SHOWN[expression.kind]}.")
    value = expression.value
    return lambda subject: value(subject) is True


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    end = len(text.rstrip())
    for _ in range(MAX_TOKENS):
        if position >= end:
            yield _Token(_END, "the end", end)
            return
        match = _TOKEN.match(text, position)
        if match is None:
            position = end - len(text[position:end].lstrip())
            raise FilterError(f"The filter cannot be read at character {position + 1}.")
        kind = match.lastgroup
        assert kind is not None
        yield _Token(kind, match[kind], match.start(kind))
        position = match.end()
    raise FilterError(f"A filter has at most {MAX_TOKENS} words, marks and values.")


class _Parser:
    """Recursive descent over the grammar's levels: or, and, not, comparison, value."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def disjunction(self, depth: int) -> _Expression:
        """`a or b or …`"""
        parts = [self._conjunction(depth)]
        while self._accept("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else _joined(parts, any, "or")

    def expect(self, wanted: str) -> None:
        """Take the token that has to come now."""
        token = self._tokens[self._next]
        if token.kind != wanted and (token.kind != "mark" or token.text != wanted):
            raise _unexpected(token, f"expected {wanted!r}" if wanted != _END else "expected more")
        self._next += 1

    def _conjunction(self, depth: int) -> _Expression:
        parts = [self._negation(depth)]
        while self._accept("and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else _joined(parts, all, "and")

    def _negation(self, depth: int) -> _Expression:
        if not self._accept("not"):
            return self._comparison(depth)
        if depth >= MAX_DEPTH:
            raise _too_deep()
        # `not` binds closer than a comparison does ("Operator precedence").
        expression = self._negation(depth + 1) if self._peek("not") else self._value(depth + 1)
        if expression.kind != "truth":
            raise FilterError(
                f"'not' is followed by {_SHOWN[expression.kind]}. Put what is to be negated in "
                "parentheses, as in not (length(userId) gt 5)."
            )
        value = expression.value
        return _Expression("truth", lambda subject: not value(subject))

    def _comparison(self, depth: int) -> _Expression:
        left = self._value(depth)
        token = self._tokens[self._next]
        operator = token.text.lower() if token.kind == "word" else ""
        if operator in _COMPARISONS:
            self._next += 1
            return _compared(left, operator, self._value(depth))
        if operator == "in":
            self._next += 1
            return self._membership(left, depth)
        return left

    def _membership(self, left: _Expression, depth: int) -> _Expression:
        """`x in groups` or `x in (a, b, …)`"""
        if left.kind == "groups":
            raise FilterError("Left of 'in' is one value, as in 'red' in groups.")
        value = left.value
        if not self._peek_mark("("):
            group = self._value(depth)
            if group.kind != "groups":
                raise FilterError("Right of 'in' is groups, or a list in parentheses.")
            return _Expression("truth", lambda subject: value(subject) in subject.groups)
        self.expect("(")
        items = [self._value(depth + 1)]
        while self._peek_mark(","):
            self.expect(",")
            items.append(self._value(depth + 1))
        self.expect(")")
        if len(items) == 1 and items[0].kind == "groups":
            return _Expression("truth", lambda subject: value(subject) in subject.groups)
        for item in items:
            _check_comparable(left, item, "in")
        values = [item.value for item in items]
        return _Expression(
            "truth", lambda subject: value(subject) in [each(subject) for each in values]
        )

    def _value(self, depth: int) -> _Expression:
        if depth >= MAX_DEPTH:
            raise _too_deep()
        token = self._tokens[self._next]
        self._next += token.kind != _END
        if token.kind == "text":
            return _constant("text", token.text[1:-1].replace("''", "'"))
        if token.kind == "number":
            if len(token.text.lstrip("+-")) > _MAX_DIGITS:
                raise FilterError(f"A number has at most {_MAX_DIGITS} digits.")
            return _constant("number", int(token.text))
        if token.kind == "mark" and token.text == "(":
            expression = self.disjunction(depth + 1)
            self.expect(")")
            return expression
        name = token.text.lower()
        if token.kind == "word" and self._peek_mark("("):
            return self._call(token, depth)
        if token.kind == "word" and name in _FIELDS:
            return _FIELDS[name]
        raise _unexpected(token, "expected userId, connectionId, groups, a function or a value")

    def _call(self, token: _Token, depth: int) -> _Expression:
        name = token.text.lower()
        function = _FUNCTIONS.get(name)
        if function is None:
            raise _unexpected(token, f"the functions are {', '.join(_FUNCTIONS)}")
        self.expect("(")
        arguments = [self.disjunction(depth + 1)]
        while self._peek_mark(","):
            self.expect(",")
            arguments.append(self.disjunction(depth + 1))
        self.expect(")")
        most = len(function.parameters)
        if not most - function.optional <= len(arguments) <= most:
            raise FilterError(f"{name} has {most} arguments, not {len(arguments)}.")
        for argument, wanted in zip(arguments, function.parameters, strict=False):
            if argument.kind not in {wanted, "null"} and (name, argument.kind) != (
                "length",
                "groups",
            ):
                raise FilterError(
                    f"{name} is given {_SHOWN[argument.kind]} where {_SHOWN[wanted]} belongs."
                )
        return _Expression(function.result, _applied(function.apply, arguments))

    def _accept(self, word: str) -> bool:
        if self._peek(word):
            self._next += 1
            return True
        return False

    def _peek(self, word: str) -> bool:
        token = self._tokens[self._next]
        return token.kind == "word" and token.text.lower() == word

    def _peek_mark(self, mark: str) -> bool:
        token = self._tokens[self._next]
        return token.kind == "mark" and token.text == mark


def _constant(kind: Kind, constant: str | int) -> _Expression:
    return _Expression(kind, lambda _: constant)


def _applied(apply: Callable[..., Any], arguments: list[_Expression]) -> Callable[[Subject], Any]:
    """A function of null is null."""
    values = [argument.value for argument in arguments]

    def value(subject: Subject) -> Any:
        given = [each(subject) for each in values]
        return None if None in given else apply(*given)

    return value


def _joined(
    parts: list[_Expression], join: Callable[[Iterator[bool]], bool], word: str
) -> _Expression:
    for part in parts:
        if part.kind != "truth":
            raise FilterError(f"Beside '{word}' is {_SHOWN[part.kind]}, not true or false.")
    values = [part.value for part in parts]
    return _Expression("truth", lambda subject: join(bool(each(subject)) for each in values))


def _compared(left: _Expression, operator: str, right: _Expression) -> _Expression:
    _check_comparable(left, right, operator)
    first, second = left.value, right.value
    if operator == "eq":
        return _Expression("truth", lambda subject: first(subject) == second(subject))
    if operator == "ne":
        return _Expression("truth", lambda subject: first(subject) != second(subject))
    ordered = _ORDER[operator]

    def compare(subject: Subject) -> bool:
        one, other = first(subject), second(subject)
        return one is not None and other is not None and ordered(one, other)

    return _Expression("truth", compare)


def _check_comparable(left: _Expression, right: _Expression, operator: str) -> None:
    if "groups" in {left.kind, right.kind}:
        raise FilterError(f"'{operator}' does not compare groups; 'red' in groups asks for one.")
    if left.kind != right.kind and "null" not in {left.kind, right.kind}:
        raise FilterError(f"'{operator}' compares {_SHOWN[left.kind]} with {_SHOWN[right.kind]}.")


def _unexpected(token: _Token, advice: str) -> FilterError:
    return FilterError(f"Unexpected {token.text!r} at character {token.position + 1}: {advice}.")


def _too_deep() -> FilterError:
    return FilterError(f"A filter nests at most {MAX_DEPTH} levels.")
