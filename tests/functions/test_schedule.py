"""When timers are due: the grammar, the clocks, and what is refused. No time passes here."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.functions.function import FunctionError
from hubbub.functions.ncrontab import FIELDS, parse_crontab
from hubbub.functions.schedule import occurrences, parse_schedule

NEW_YORK = ZoneInfo("America/New_York")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(schedule: str, after: str, count: int = 1) -> list[str]:
    """The next occurrences in UTC, as texts."""
    found = occurrences(parse_schedule(schedule), utc(after), UTC, count)
    return [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in found]


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("0 */5 * * * *", "2026-01-01 12:03:10", ["2026-01-01 12:05:00", "2026-01-01 12:10:00"]),
        ("0 */5 * * * *", "2026-01-01 12:05:00", ["2026-01-01 12:10:00"]),
        ("*/5 * * * *", "2026-01-01 12:03:10", ["2026-01-01 12:05:00", "2026-01-01 12:10:00"]),
        ("*/5 * * * * *", "2026-01-01 12:03:10.5", ["2026-01-01 12:03:15"]),
        ("0 0 9 1 * MON", "2026-01-01 00:00:00", ["2026-06-01 09:00:00", "2027-02-01 09:00:00"]),
        ("0 30 9 * jan,MarCH *", "2026-01-31 10:00:00", ["2026-03-01 09:30:00"]),
        ("0 0 0 29 2 *", "2026-01-01 00:00:00", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("0 0 0 29 2 MON", "2026-01-01 00:00:00", ["2044-02-29 00:00:00"]),
        ("59 59 23 31 12 *", "2026-12-31 23:59:59", ["2027-12-31 23:59:59"]),
        ("0 5-1 0 * * *", "2026-01-01 00:01:30", ["2026-01-01 00:02:00"]),
        ("0 50/4 1 * * *", "2026-01-01 01:50:30", ["2026-01-01 01:54:00", "2026-01-01 01:58:00",
                                                  "2026-01-02 01:50:00"]),
        ("0 0-20/10 1 * * *", "2026-01-01 01:15:00", ["2026-01-01 01:20:00",
                                                     "2026-01-02 01:00:00"]),
        ("10,20 1,2 3,4 * * *", "2026-01-01 03:02:20", ["2026-01-01 04:01:10"]),
        ("0 0 0 * * SUN-mon", "2026-01-01 00:00:00", ["2026-01-04 00:00:00",
                                                     "2026-01-05 00:00:00"]),
        ("00:00:30", "2026-01-01 12:00:01", ["2026-01-01 12:00:31", "2026-01-01 12:01:01"]),
        ("1.06:00:00", "2026-01-01 12:00:00", ["2026-01-02 18:00:00"]),
    ],
)  # fmt: skip
def test_a_schedule_has_these_next_occurrences(
    schedule: str, after: str, expected: list[str]
) -> None:
    assert following(schedule, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("0 0 0 * * 7", "7 is higher than the maximum allowable value for the [DayOfWeek] field."),
        ("0 0 0 0 * *", "0 is lower than the minimum allowable value for the [Day] field."),
        ("* * * *", "it has 4 fields and not five or six"),
        ("99999999.00:00:00", "no more than 36500 days can be waited for"),
        (f"{'9' * 400}.00:00:00", "it has 1 fields"),
        ("* * * * * * *", "it has 7 fields"),
        ("@daily", "it has 1 fields"),
        ("0 0 0 L * *", "'L' in the [Day] field is no number"),
        ("0 0 0 ? * *", "'?' in the [Day] field is no number"),
        ("0 0 0 * * MON#2", "'MON#2' in the [DayOfWeek] field is no number or a name such as sun"),
        ("0 */0 * * * *", "the step '0' of the [Minute] field is no number above 0"),
        ("0 */x * * * *", "the step 'x' of the [Minute] field"),
        ("0 1, * * * *", "'' in the [Minute] field is no number"),
        ("0 ٣ * * * *", "in the [Minute] field is no number"),
        ("0 " + "9" * 5000 + " * * * *", "is higher than the maximum"),
        ("0 0 0 31 2,4 *", "none of its months has one of its days, so it never occurs"),
        ("00:00:00", "was not recognized as a valid cron expression or timespan string"),
        ("25:00:00", "was not recognized"),
        ("", "it has 0 fields"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_schedule_is_refused_with_its_field(schedule: str, words: str) -> None:
    with pytest.raises(FunctionError) as raised:
        parse_schedule(schedule)
    assert words in str(raised.value)
    assert f"The schedule expression '{schedule}' was not recognized" in str(raised.value)


@pytest.mark.parametrize(
    ("schedule", "monitored"),
    [
        ("0 * * * * *", True),
        ("*/30 * * * * *", False),
        ("* * * * *", True),
        ("00:00:59", False),
        ("00:01:00", True),
    ],
)
def test_only_a_schedule_of_a_minute_or_more_is_monitored(schedule: str, monitored: bool) -> None:
    assert parse_schedule(schedule).is_monitored is monitored


def in_new_york(schedule: str, after: str, count: int) -> list[str]:
    """The next occurrences in New York, with their offset from UTC."""
    after_there = datetime.fromisoformat(after)
    found = occurrences(parse_schedule(schedule), after_there, NEW_YORK, count)
    return [moment.astimezone(NEW_YORK).strftime("%d %H:%M %z") for moment in found]


# In New York clocks went from 02:00 to 03:00 on 8 March 2026, and go from 02:00 back to 01:00 on
# 1 November 2026.
@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        # An interval goes on through the gap, and through both of the repeated hours.
        ("0 */30 * * * *", "2026-03-08T01:10-05:00", ["08 01:30 -0500", "08 03:00 -0400",
                                                     "08 03:30 -0400"]),
        ("0 */30 * * * *", "2026-11-01T01:10-04:00", ["01 01:30 -0400", "01 01:00 -0500",
                                                     "01 01:30 -0500", "01 02:00 -0500"]),
        ("0 0 9-17 * * *", "2026-03-07T17:30-05:00", ["08 09:00 -0400"]),
        ("0 0 9-17 * * *", "2026-10-31T17:30-04:00", ["01 09:00 -0500"]),
        # A fixed time in the gap is shifted; it comes once, and again the next day.
        ("0 30 2 * * *", "2026-03-07T12:00-05:00", ["08 03:30 -0400", "09 02:30 -0400"]),
        ("0 30 2 * * *", "2026-03-08T03:10-04:00", ["08 03:30 -0400", "09 02:30 -0400"]),
        # A fixed time that the clocks show twice comes the first time only.
        ("0 30 1 * * *", "2026-10-31T12:00-04:00", ["01 01:30 -0400", "02 01:30 -0500"]),
        ("0 30 1 * * *", "2026-11-01T01:10-05:00", ["02 01:30 -0500"]),
        ("0 0 9 * * *", "2026-03-07T10:00-05:00", ["08 09:00 -0400", "09 09:00 -0400"]),
    ],
)  # fmt: skip
def test_a_schedule_survives_a_change_of_the_clocks(
    schedule: str, after: str, expected: list[str]
) -> None:
    assert in_new_york(schedule, after, len(expected)) == expected


def test_the_end_of_the_calendar_is_the_end_of_a_schedule() -> None:
    assert following("0 0 0 1 1 *", "9998-12-31 00:00:00", 3) == []


_ITEMS = [
    st.builds(
        lambda field, low, high, step: f"{low}-{high}{step}",
        st.just(field),
        st.integers(field.low, field.high),
        st.integers(field.low, field.high),
        st.sampled_from(["", "/1", "/7"]),
    )
    | st.integers(field.low, field.high).map(str)
    | st.sampled_from(["*", "*/2"])
    for field in FIELDS
]


_MOMENTS = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001
    datetime(2030, 1, 1),  # noqa: DTZ001
)


@given(st.tuples(*_ITEMS[:3]), _MOMENTS)
def test_occurrences_fit_the_fields_and_nothing_between_them_does(
    fields: tuple[str, ...], after: datetime
) -> None:
    crontab = parse_crontab(" ".join(fields) + " * * *")

    def fits(moment: datetime) -> bool:
        return (
            moment.second in crontab.seconds
            and moment.minute in crontab.minutes
            and moment.hour in crontab.hours
        )

    found = crontab.next(after)

    assert found is not None
    assert found > after
    assert fits(found)
    whole = after.replace(microsecond=0)
    between = range(1, min(int((found - whole).total_seconds()), 4000))
    assert not any(fits(whole + timedelta(seconds=seconds)) for seconds in between)


@given(st.tuples(*_ITEMS), _MOMENTS)
def test_occurrences_go_forward_in_every_zone(fields: tuple[str, ...], after: datetime) -> None:
    try:
        schedule = parse_schedule(" ".join(fields))
    except FunctionError:
        return
    start = after.replace(tzinfo=UTC)

    moments = [start, *occurrences(schedule, start, NEW_YORK, 5)]

    assert all(one < other for one, other in pairwise(moments))
