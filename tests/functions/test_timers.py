"""Timers: when they fire, what they are told, and what is remembered. The clock is the test's."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.functions.apps import HEADER
from tests.functions.clock import StandingClock

from hubbub.errors import ConfigError
from hubbub.functions.bindings import Plan
from hubbub.functions.expressions import BindingData
from hubbub.functions.host import Host, HostOptions, load_host
from hubbub.functions.invoke import Outcome
from hubbub.functions.settings import AppSettings
from hubbub.functions.state import FILE_NAME, MemoryStore, SqliteStore, Status, TimerStore
from hubbub.functions.timers import Timers, build_timer, local_zone

Load = Callable[..., Host]


class Firings:
    """What the timers of a test were told, and when. It stands for the invoker."""

    def __init__(self, clock: StandingClock) -> None:
        self.seen: list[tuple[str, bool]] = []  # time of day, and whether past due
        self.statuses: list[dict[str, str]] = []
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.release.set()
        self._clock = clock

    async def __call__(self, plan: Plan, value: Any, data: BindingData) -> Outcome:
        self.seen.append((self._clock.now().strftime("%H:%M:%S"), value.past_due))
        self.statuses.append(value.schedule_status)
        self.entered.set()
        await self.release.wait()
        return Outcome(error=ValueError("what a function raises does not end its timer"))


def timers(
    load: Load, clock: StandingClock, firings: Firings, store: TimerStore, **options: Any
) -> Timers:
    """The timers of an app with one timer function."""
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    host = load(
        f'\n@app.timer_trigger(arg_name="timer", {given})\n'
        "def tick(timer: func.TimerRequest): ...\n"
    )
    made = Timers(store, firings, UTC, "app", clock)
    made.add(build_timer(host.plans["tick"], AppSettings({})))
    return made


async def test_a_timer_fires_at_each_occurrence_even_if_its_function_fails(load: Load) -> None:
    clock = StandingClock("2026-01-01 12:03:10")
    firings = Firings(clock)
    running = timers(load, clock, firings, MemoryStore(), schedule="0 */5 * * * *")

    running.start()
    await clock.pass_until("2026-01-01 12:15:01", sleepers=2)
    await running.stop()

    assert firings.seen == [("12:05:00", False), ("12:10:00", False), ("12:15:00", False)]
    assert firings.statuses[1] == {
        "Last": "2026-01-01T12:05:00+00:00",
        "Next": "2026-01-01T12:10:00+00:00",
        "LastUpdated": "2026-01-01T12:05:00+00:00",
    }


async def test_a_timer_that_wants_to_runs_at_the_start_too(load: Load) -> None:
    clock = StandingClock("2026-01-01 12:03:10")
    firings = Firings(clock)
    running = timers(
        load, clock, firings, MemoryStore(), schedule="0 */5 * * * *", run_on_startup=True
    )
    running.start()
    await clock.pass_until("2026-01-01 12:05:00", sleepers=2)
    await running.stop()

    assert firings.seen == [("12:03:10", False), ("12:05:00", False)]


async def test_runs_never_overlap_and_missed_occurrences_are_made_up_for_once(load: Load) -> None:
    clock = StandingClock("2026-01-01 12:00:30")
    firings = Firings(clock)
    running = timers(load, clock, firings, MemoryStore(), schedule="0 * * * * *")

    running.start()
    firings.release.clear()
    await clock.pass_until("2026-01-01 12:01:00", sleepers=1)
    await firings.entered.wait()
    await clock.pass_until("2026-01-01 12:04:30", sleepers=1)  # only the lease is renewed
    firings.release.set()
    await clock.pass_until("2026-01-01 12:05:00", sleepers=2)
    await running.stop()

    assert [time for time, _ in firings.seen] == ["12:01:00", "12:04:30", "12:05:00"]


async def test_a_time_span_fires_again_and_again(load: Load) -> None:
    clock = StandingClock("2026-01-01 12:00:00")
    firings = Firings(clock)
    store = MemoryStore()
    running = timers(load, clock, firings, store, schedule="00:00:30")

    running.start()
    await clock.pass_until("2026-01-01 12:01:00", sleepers=2)
    await running.stop()

    assert [time for time, _ in firings.seen] == ["12:00:30", "12:01:00"]
    assert store.read("app/tick") is None  # more often than once a minute: not monitored


async def test_a_clock_that_is_put_back_does_not_make_a_timer_fire_twice(load: Load) -> None:
    clock = StandingClock("2026-01-01 12:00:30")
    firings = Firings(clock)
    running = timers(load, clock, firings, MemoryStore(), schedule="0 * * * * *")

    running.start()
    await clock.pass_until("2026-01-01 12:01:00", sleepers=2)
    clock.put("2026-01-01 12:00:59")
    await clock.pass_until("2026-01-01 12:01:59", sleepers=2)
    await running.stop()

    assert firings.seen == [("12:01:00", False)]


@pytest.mark.parametrize("monitored", [True, False])
async def test_what_was_missed_while_no_host_ran_is_past_due(
    load: Load, tmp_path: Path, log: pytest.LogCaptureFixture, monitored: bool
) -> None:
    options = {"schedule": "0 0 * * * *", "use_monitor": monitored, "run_on_startup": monitored}
    clock = StandingClock("2026-01-01 12:30:00")
    firings = Firings(clock)
    first = timers(load, clock, firings, SqliteStore(tmp_path), **options)
    first.start()
    await clock.pass_until("2026-01-01 13:00:00", sleepers=2)
    await first.stop()
    await first.drain(0)
    firings.seen.clear()

    later = StandingClock("2026-01-01 16:10:00")
    again = Firings(later)
    second = timers(load, later, again, SqliteStore(tmp_path), **options)
    second.start()
    await later.pass_until("2026-01-01 17:00:00", sleepers=2)
    await second.stop()
    await second.drain(0)

    missed = [("16:10:00", True)] if monitored else []
    assert again.seen == [*missed, ("17:00:00", False)]
    assert ("Function 'tick' is past due on startup. Executing now." in log.text) is monitored


async def test_under_a_new_schedule_nothing_was_missed(load: Load, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    old = datetime(2026, 1, 1, 12, tzinfo=UTC)
    store.write("app/tick", Status(old, old.replace(hour=13), old))
    clock = StandingClock("2026-01-01 16:10:00")
    firings = Firings(clock)
    running = timers(load, clock, firings, store, schedule="0 30 * * * *")

    running.start()
    await clock.pass_until("2026-01-01 16:30:00", sleepers=2)
    await running.stop()
    await running.drain(0)

    assert firings.seen == [("16:30:00", False)]


async def test_of_two_hosts_that_share_a_store_one_fires(load: Load, tmp_path: Path) -> None:
    clock = StandingClock("2026-01-01 12:00:30")
    firings, others = Firings(clock), Firings(clock)
    first = timers(load, clock, firings, SqliteStore(tmp_path), schedule="0 * * * * *")
    second = timers(load, clock, others, SqliteStore(tmp_path), schedule="0 * * * * *")

    first.start()
    await clock.wait_for(2)
    second.start()
    await clock.pass_until("2026-01-01 12:02:00", sleepers=3)
    await clock.wait_for(3)
    await first.stop()
    await first.drain(0)
    assert others.seen == []
    await clock.pass_until("2026-01-01 12:02:05", sleepers=1)  # the other one looks again
    await clock.pass_until("2026-01-01 12:04:00", sleepers=2)
    await second.stop()
    await second.drain(0)

    assert [time for time, _ in firings.seen] == ["12:01:00", "12:02:00"]
    assert [time for time, _ in others.seen] == ["12:03:00", "12:04:00"]


async def test_a_store_that_fails_does_not_stop_the_timers(
    load: Load, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(tmp_path)
    clock = StandingClock("2026-01-01 12:00:30")
    firings = Firings(clock)
    running = timers(load, clock, firings, store, schedule="0 * * * * *")
    store.close()

    running.start()
    await clock.pass_until("2026-01-01 12:02:00", sleepers=2)
    await running.stop()

    assert [time for time, _ in firings.seen] == ["12:01:00", "12:02:00"]
    assert "The schedule of the timers could not be kept" in log.text


async def test_the_next_occurrences_are_in_the_log(
    load: Load, log: pytest.LogCaptureFixture
) -> None:
    clock = StandingClock("2026-01-01 12:03:10")
    running = timers(load, clock, Firings(clock), MemoryStore(), schedule="0 */5 * * * *")

    running.start()
    await clock.wait_for(2)
    await running.stop()

    assert "The next 5 occurrences of the 'tick' schedule (Cron: '0 */5 * * * *') will be:" in (
        log.text
    )
    assert "2026-01-01T12:25:00+00:00" in log.text


async def test_a_running_host_fires_its_timers_and_finishes_what_runs(
    tmp_path: Path, stage: Any
) -> None:
    stage.entered, stage.release, stage.done = asyncio.Event(), asyncio.Event(), False
    (tmp_path / "function_app.py").write_text(
        HEADER
        + """
import stage_of_test

@app.timer_trigger(arg_name="timer", schedule="%WHEN%", run_on_startup=True)
async def tick(timer: func.TimerRequest, context: func.Context) -> None:
    stage_of_test.timer = timer
    stage_of_test.entered.set()
    await stage_of_test.release.wait()
    stage_of_test.done = True
"""
    )
    settings = {"WHEN": "0 0 0 1 1 *", "TZ": "UTC"}
    host = load_host(tmp_path, settings, options=HostOptions(data=tmp_path / "data", grace=30))
    await host.start()
    await stage.entered.wait()
    closing = asyncio.create_task(host.close())
    stage.release.set()
    await closing

    assert stage.done
    assert stage.timer.past_due is False
    assert [info.detail for info in host.listing("")] == ["Cron: '0 0 0 1 1 *'"]
    assert (tmp_path / "data" / FILE_NAME).is_file()


async def test_a_process_that_is_not_the_first_fires_no_timer(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(
        HEADER + '\n@app.timer_trigger(arg_name="t", schedule="* * * * *", run_on_startup=True)\n'
        "def tick(t): raise SystemExit\n"
    )
    host = load_host(tmp_path, {}, options=HostOptions(fires_timers=False))

    await host.start()

    assert repr(host.timers) == "<Timers 1 timers, 0 running>"
    await host.close()


def test_the_zone_is_a_setting_or_the_machines(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")

    assert local_zone(AppSettings({"WEBSITE_TIME_ZONE": "Asia/Tokyo", "TZ": "UTC"})) == ZoneInfo(
        "Asia/Tokyo"
    )
    assert local_zone(AppSettings({"TZ": ":America/New_York"})) == ZoneInfo("America/New_York")
    assert str(local_zone(AppSettings({}), link)) in {"Europe/Berlin", "UTC"}
    assert local_zone(AppSettings({}), tmp_path / "none") is not None
    with pytest.raises(ConfigError, match="WEBSITE_TIME_ZONE is 'Eastern Standard Time'"):
        local_zone(AppSettings({"WEBSITE_TIME_ZONE": "Eastern Standard Time"}))


def test_a_lease_has_one_owner_until_it_runs_out_or_is_given_up(tmp_path: Path) -> None:
    one, other = SqliteStore(tmp_path), SqliteStore(tmp_path)

    assert one.lead("app", "a", 100, 15)
    assert one.lead("app", "a", 105, 15)
    assert not other.lead("app", "b", 119, 15)
    assert other.lead("other app", "b", 119, 15)
    assert other.lead("app", "b", 121, 15)
    assert not one.lead("app", "a", 122, 15)
    one.resign("app", "a")
    assert not one.lead("app", "a", 122, 15)
    other.resign("app", "b")
    assert one.lead("app", "a", 122, 15)
    one.close()
    other.close()


def test_a_store_in_a_file_that_is_none_is_the_operators_fault(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("no database, but long enough to be mistaken for one" * 50)

    with pytest.raises(ConfigError, match="cannot be kept in"):
        SqliteStore(tmp_path)
    with pytest.raises(ConfigError, match="Pass --data with a folder that can be written"):
        SqliteStore(tmp_path / FILE_NAME / "folder")


def test_what_is_remembered_survives(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    store = SqliteStore(tmp_path)
    store.write("a", Status(None, moment, moment))
    store.write("a", Status(moment, moment.replace(hour=13), moment))
    store.close()

    again = SqliteStore(tmp_path)

    assert again.read("a") == Status(moment, moment.replace(hour=13), moment)
    assert again.read("b") is None
    again.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        assert json.dumps(database.execute("SELECT name FROM timers").fetchall()) == '[["a"]]'
    database.close()
