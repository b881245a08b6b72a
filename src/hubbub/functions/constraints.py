"""The constraints of route parameters, such as `int` and `range(1,9)`.

A constraint only says whether a text is allowed: values reach the function as text.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from hubbub.functions.function import FunctionError

Constraint = Callable[[str], bool]

_INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
# Each character fits in one place only: a client must not make the search long.
_DECIMAL = re.compile(r"\s*[+-]?(\d[\d,]*(\.\d*)?|\.\d+)\s*", re.ASCII)
_REAL = re.compile(
    r"\s*[+-]?((\d[\d,]*(\.\d*)?|\.\d+)(e[+-]?\d+)?|∞|NaN|Infinity)\s*", re.IGNORECASE | re.ASCII
)
_ALPHA = re.compile(r"[a-z]*", re.IGNORECASE | re.ASCII)
_GUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DATE_FORMATS = ("%m/%d/%Y", "%m/%d/%Y %H:%M:%S", "%Y/%m/%d", "%d %b %Y", "%b %d %Y")


def _integer(text: str, bits: int = 64) -> int | None:
    if not _INTEGER.fullmatch(text) or len(text) > 40:
        return None
    number = int(text)
    return number if -(1 << bits - 1) <= number < 1 << bits - 1 else None


def _is_datetime(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return any(_has_date_form(text, form) for form in _DATE_FORMATS)
    return True


def _has_date_form(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only whether it is a date
    except ValueError:
        return False
    return True


def _is_guid(text: str) -> bool:
    plain = text[1:-1] if text[:1] + text[-1:] in {"{}", "()"} else text
    return bool(_GUID.fullmatch(plain)) and UUID(plain) is not None


def _is_file(text: str) -> bool:
    """Whether the last segment has a dot that is not its last character."""
    dot = text.rpartition("/")[2].find(".")
    return dot >= 0 and dot < len(text.rpartition("/")[2]) - 1


_PLAIN: dict[str, Constraint] = {
    "int": lambda text: _integer(text, 32) is not None,
    "long": lambda text: _integer(text, 64) is not None,
    "bool": lambda text: text.strip().lower() in {"true", "false"},
    "datetime": _is_datetime,
    "decimal": lambda text: bool(_DECIMAL.fullmatch(text)),
    "double": lambda text: bool(_REAL.fullmatch(text)),
    "float": lambda text: bool(_REAL.fullmatch(text)),
    "guid": _is_guid,
    "alpha": lambda text: bool(_ALPHA.fullmatch(text)),
    "required": lambda text: text != "",
    "file": _is_file,
    "nonfile": lambda text: not _is_file(text),
}


def _length(low: float, high: float) -> Constraint:
    return lambda text: low <= len(text) <= high


def _range(low: float, high: float) -> Constraint:
    def allows(text: str) -> bool:
        number = _integer(text)
        return number is not None and low <= number <= high

    return allows


_NUMERIC: dict[tuple[str, int], Callable[..., Constraint]] = {
    ("minlength", 1): lambda low: _length(low, math.inf),
    ("maxlength", 1): lambda high: _length(0, high),
    ("length", 1): lambda size: _length(size, size),
    ("length", 2): _length,
    ("min", 1): lambda low: _range(low, math.inf),
    ("max", 1): lambda high: _range(-math.inf, high),
    ("range", 2): _range,
}


def parse_constraint(kind: str, argument: str, template: str) -> Constraint:
    """The constraint `kind(argument)` of a template, which is named in the error."""
    name = kind.strip().lower()
    if name in _PLAIN and not argument:
        return _PLAIN[name]
    if name == "regex" and argument:
        return _regex(argument, template)
    numbers = [_integer(part) for part in argument.split(",")]
    build = _NUMERIC.get((name, len(numbers)))
    if build is not None and None not in numbers:
        return build(*numbers)
    shown = f"{kind}({argument})" if argument else kind
    raise FunctionError(
        f"the route template '{template}' is not valid: the constraint '{shown}' is not known. "
        f"Known are {', '.join(_PLAIN)}, minlength(n), maxlength(n), length(n), length(a,b), "
        "min(n), max(n), range(a,b) and regex(expression)."
    )


def _regex(expression: str, template: str) -> Constraint:
    try:
        pattern = re.compile(expression, re.IGNORECASE)
    except re.error as error:
        raise FunctionError(
            f"the route template '{template}' is not valid: the expression '{expression}' is not "
            f"a regular expression ({error})."
        ) from error
    return lambda text: bool(pattern.search(text))
