"""Text forms that the original takes from .NET: of dates, GUIDs and plain values.

Only the standard patterns that binding expressions use; an unknown letter stays as it is.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

_DEFAULT_DATE = "yyyy-MM-ddTHH-mm-ssK"
_DATE_PART = re.compile(
    r"'[^']*'|yyyy|yy|MMMM|MMM|MM|M|dddd|ddd|dd|d|HH|H|hh|h|mm|m|ss|s|f{1,7}|tt|K|zzz"
)
_GUID_FORMS = {"": "{}", "D": "{}", "B": "{{{}}}", "P": "({})"}
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def format_guid(value: UUID, form: str) -> str:
    """A GUID in one of the forms N, D, B and P."""
    if form.upper() == "N":
        return value.hex
    return _GUID_FORMS.get(form.upper(), "{}").format(value)


def format_datetime(moment: datetime, form: str) -> str:
    """A moment in UTC in a custom .NET date format."""
    return _DATE_PART.sub(lambda match: _date_part(moment, match.group()), form or _DEFAULT_DATE)


def _date_part(moment: datetime, part: str) -> str:
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith("f"):
        return f"{moment.microsecond:06d}0"[: len(part)]
    hour = moment.hour % 12 or 12
    month, day = _MONTHS[moment.month - 1], _DAYS[moment.weekday()]
    texts = {
        "yyyy": f"{moment.year:04d}",
        "yy": f"{moment.year % 100:02d}",
        "MMMM": month,
        "MMM": month[:3],
        "MM": f"{moment.month:02d}",
        "M": str(moment.month),
        "dddd": day,
        "ddd": day[:3],
        "dd": f"{moment.day:02d}",
        "d": str(moment.day),
        "HH": f"{moment.hour:02d}",
        "H": str(moment.hour),
        "hh": f"{hour:02d}",
        "h": str(hour),
        "mm": f"{moment.minute:02d}",
        "m": str(moment.minute),
        "ss": f"{moment.second:02d}",
        "s": str(moment.second),
        "tt": "AM" if moment.hour < 12 else "PM",
        "K": "Z",
        "zzz": "+00:00",
    }
    return texts[part]


def format_value(value: Any, form: str) -> str:
    """A JSON value as text: as it is, a number as short as it goes; objects and lists as JSON."""
    if form and (formatted := _formatted(str(value), form)) is not None:
        return formatted
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value), default=str)
    if isinstance(value, list):
        return json.dumps(value, default=str)
    return str(value)


def _formatted(text: str, form: str) -> str | None:
    """A GUID or an ISO date inside a text, in the form asked for; None for any other text."""
    try:
        if form.upper() in {"N", "D", "B", "P"}:
            return format_guid(UUID(text), form)
        return format_datetime(datetime.fromisoformat(text).astimezone(UTC), form)
    except ValueError:
        return None
