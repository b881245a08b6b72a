"""NCRONTAB expressions, such as `0 */5 * * * *`: what they mean, on a clock that never changes.

Pure: it computes with dates and times that have no zone. Zones are `schedule`'s affair.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
# A leap day on a given day of the week comes back after 40 years at most.
_HORIZON = 41  # years


class CrontabError(ValueError):
    """The text is no expression, and the message says which field of it is not."""


@dataclass(frozen=True, slots=True)
class Field:
    """What one position of an expression may hold."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # of the values, from `low` on


FIELDS = (
    Field("Second", 0, 59),
    Field("Minute", 0, 59),
    Field("Hour", 0, 23),
    Field("Day", 1, 31),
    Field("Month", 1, 12, _MONTHS),
    Field("DayOfWeek", 0, 6, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Crontab:
    """The allowed values of each field, sorted. Day and day of the week must both fit."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]  # Sunday is 0
    is_interval: bool  # a `*`, `-` or `/` in one of the first three fields

    def next(self, after: datetime) -> datetime | None:
        """The first occurrence strictly after `after`, which has no zone; None: there is none."""
        moment = (after + timedelta(seconds=1)).replace(microsecond=0)
        today = self._time(moment) if self._fits(moment) else None
        if today is not None:
            return today
        day = self._next_day(moment)
        if day is None:
            return None
        return day.replace(hour=self.hours[0], minute=self.minutes[0], second=self.seconds[0])

    def _fits(self, day: datetime) -> bool:
        return (
            day.month in self.months
            and day.day in self.days
            and day.isoweekday() % 7 in self.weekdays
        )

    def _time(self, moment: datetime) -> datetime | None:
        """The first allowed time of the day from `moment` on."""
        second = _at_least(self.seconds, moment.second)
        minute_from = moment.minute if second is not None else moment.minute + 1
        minute = _at_least(self.minutes, minute_from)
        hour = _at_least(self.hours, moment.hour if minute is not None else moment.hour + 1)
        if hour is None:
            return None
        if hour != moment.hour:
            return moment.replace(hour=hour, minute=self.minutes[0], second=self.seconds[0])
        if minute is None or minute != moment.minute or second is None:
            minute = self.minutes[0] if minute is None else minute
            return moment.replace(minute=minute, second=self.seconds[0])
        return moment.replace(second=second)

    def _next_day(self, moment: datetime) -> datetime | None:
        """The first allowed day after that of `moment`, at midnight."""
        if moment.year >= 9998:
            return None
        day = moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        last = min(day.year + _HORIZON, 9998)
        while day.year <= last:
            if day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            elif self._fits(day):
                return day
            else:
                day += timedelta(days=1)
        return None


def _at_least(values: Sequence[int], low: int) -> int | None:
    index = bisect_left(values, low)
    return values[index] if index < len(values) else None


def parse_crontab(text: str) -> Crontab:
    """Read six fields, or five without the seconds. Raises CrontabError."""
    parts = text.split()
    if len(parts) == 5:
        parts = ["0", *parts]
    if len(parts) != 6:
        raise CrontabError(f"it has {len(parts)} fields and not five or six")
    values = [_parse_field(part, field) for part, field in zip(parts, FIELDS, strict=True)]
    is_interval = any(set(part) & set("*-/") for part in parts[:3])
    seconds, minutes, hours, days, months, weekdays = values
    crontab = Crontab(seconds, minutes, hours, days, months, weekdays, is_interval)
    if not any(day <= _LONGEST[month] for day in crontab.days for month in crontab.months):
        raise CrontabError("none of its months has one of its days, so it never occurs")
    return crontab


_LONGEST = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))


def _parse_field(text: str, field: Field) -> tuple[int, ...]:
    values: set[int] = set()
    for part in text.split(","):
        values |= set(_parse_range(part, field))
    return tuple(sorted(values))


def _parse_range(text: str, field: Field) -> range:
    """`*`, `a`, `a-b`, each with `/n` behind it; `a/n` goes to the end, `5-1` means `1-5`."""
    span, slash, step = text.partition("/")
    if slash and not (step.isdecimal() and 0 < int(step[:6]) < 100_000):
        raise CrontabError(f"the step '{step}' of the [{field.name}] field is no number above 0")
    first, dash, last = span.partition("-")
    if span == "*":
        low, high = field.low, field.high
    elif dash:
        low, high = sorted((_parse_value(first, field), _parse_value(last, field)))
    else:
        low = _parse_value(first, field)
        high = field.high if slash else low
    return range(low, high + 1, int(step) if slash else 1)


def _parse_value(text: str, field: Field) -> int:
    if text.isascii() and text.isdecimal():
        number = int(text[:9])
        if number > field.high:
            raise CrontabError(_outside(number, "higher than the maximum", field))
        if number < field.low:
            raise CrontabError(_outside(number, "lower than the minimum", field))
        return number
    # Any beginning of a name will do, as in the original; the first name that fits counts.
    for index, name in enumerate(field.names):
        if text and name.startswith(text.lower()):
            return field.low + index
    known = f" or a name such as {field.names[0]}" if field.names else ""
    raise CrontabError(f"'{text}' in the [{field.name}] field is no number{known}")


def _outside(number: int, how: str, field: Field) -> str:
    return (
        f"{number} is {how} allowable value for the [{field.name}] field. Value must be between "
        f"{field.low} and {field.high} (all inclusive)."
    )
