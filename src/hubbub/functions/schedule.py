"""When a timer is due: NCRONTAB expressions and time spans, in a time zone.

Pure: the present moment and the zone are arguments. Moments are aware; results are in UTC.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from hubbub.functions.function import FunctionError
from hubbub.functions.ncrontab import Crontab, CrontabError, parse_crontab
from hubbub.functions.timespan import parse_time_span

_FAR = 36_500 * 86_400.0  # seconds from one occurrence to the next; beyond, calendars end
_MINUTE = 60.0  # seconds; below that a missed occurrence is not worth remembering
_SHIFT = timedelta(hours=3)  # more than clocks are ever put forward or back


class Schedule(Protocol):
    """Something that has a next occurrence."""

    @property
    def is_monitored(self) -> bool:
        """Whether it is rare enough that a missed occurrence is made up for."""

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The first occurrence strictly after `after`, in UTC; None: there is none."""

    def __str__(self) -> str:
        """The schedule as the log names it."""


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed time from one occurrence to the next. Satisfies `Schedule`."""

    seconds: float

    @property
    def is_monitored(self) -> bool:
        """Not below a minute."""
        return self.seconds >= _MINUTE

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The time span after `after`, whatever the zone."""
        return after.astimezone(UTC) + timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        return f"Constant: {timedelta(seconds=self.seconds)}"


@dataclass(frozen=True, slots=True)
class Cron:
    """An NCRONTAB expression. Satisfies `Schedule`."""

    text: str
    crontab: Crontab

    @property
    def is_monitored(self) -> bool:
        """Not if it can occur more than once a minute."""
        return len(self.crontab.seconds) == 1

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The next occurrence on the zone's clocks.

        When clocks change, an interval goes on as if nothing were, and a fixed time comes once:
        after the gap if it falls into one, the first time if it comes twice.
        """
        if self.crontab.is_interval:
            return self._next_of_interval(after.astimezone(zone), zone)
        return self._next_fixed(after.astimezone(zone), zone)

    def _next_fixed(self, after: datetime, zone: tzinfo) -> datetime | None:
        naive = after.replace(tzinfo=None, fold=0)
        earlier = after.astimezone(UTC) - _SHIFT
        if earlier.astimezone(zone).utcoffset() != after.utcoffset():
            naive -= _SHIFT  # a time that was skipped a moment ago may still be due
        while (found := self.crontab.next(naive)) is not None:
            # fold=0 is the first of two, and what is in a gap comes out as much later as it is.
            moment = found.replace(tzinfo=zone, fold=0).astimezone(UTC)
            if moment > after:
                return moment
            naive = found
        return None

    def _next_of_interval(self, after: datetime, zone: tzinfo) -> datetime | None:
        """Look in each stretch of time in which clocks do not change."""
        start = after
        naive = after.replace(tzinfo=None, fold=0)
        while (found := self.crontab.next(naive)) is not None:
            offset = start.utcoffset() or timedelta()
            moment = (found - offset).replace(tzinfo=UTC)
            change = _change(start, moment, zone)
            if change is None or moment < change:
                return moment
            start = change.astimezone(zone)
            naive = start.replace(tzinfo=None, fold=0) - timedelta(microseconds=1)
        return None

    def __str__(self) -> str:
        return f"Cron: '{self.text}'"


def _change(start: datetime, end: datetime, zone: tzinfo) -> datetime | None:
    """The moment from which on clocks differ from `start`'s, if they do at `end`. To the second."""
    low, high = start.astimezone(UTC).replace(microsecond=0), end
    if high.astimezone(zone).utcoffset() == start.utcoffset():
        return None
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == start.utcoffset():
            low = middle
        else:
            high = middle
    return high


def parse_schedule(text: str) -> Schedule:
    """Read an NCRONTAB expression or a time span. Raises FunctionError."""
    try:
        return Cron(text.strip(), parse_crontab(text))
    except CrontabError as error:
        reason = str(error)
    seconds = parse_time_span(text)
    if seconds and seconds <= _FAR:
        return Every(seconds)
    if seconds:
        reason = f"no more than {_FAR / 86_400:.0f} days can be waited for"
    raise FunctionError(
        f"The schedule expression '{text}' was not recognized as a valid cron expression or "
        f"timespan string: {reason}"
    )


def occurrences(schedule: Schedule, after: datetime, zone: tzinfo, count: int) -> list[datetime]:
    """The next `count` occurrences, or as many as there are."""
    found: list[datetime] = []
    while len(found) < count and (moment := schedule.next(after, zone)) is not None:
        found.append(moment)
        after = moment
    return found
