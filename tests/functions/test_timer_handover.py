"""Timers from one host to the next, as in a reload: no occurrence is lost, and none comes twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.functions.clock import StandingClock
from tests.functions.test_timers import Firings, timers

from hubbub.functions.host import Host
from hubbub.functions.state import SqliteStore
from hubbub.functions.timers import Timers

Load = Callable[..., Host]
EVERY_HALF_MINUTE = {"schedule": "*/30 * * * * *"}
EVERY_MINUTE = {"schedule": "0 * * * * *"}


class Reload:
    """Two hosts of one app with one clock; the second begins when the first has ended."""

    def __init__(self, load: Load, folder: Path, **options: Any) -> None:
        self.clock = StandingClock("2026-01-01 12:00:10")
        self.old, self.new = Firings(self.clock), Firings(self.clock)
        self.first = timers(load, self.clock, self.old, SqliteStore(folder), **options)
        self.second = timers(load, self.clock, self.new, SqliteStore(folder), **options)

    async def end(self, host: Timers) -> None:
        await host.stop()
        await host.drain(30)


@pytest.mark.parametrize(("options", "late"), [(EVERY_HALF_MINUTE, False), (EVERY_MINUTE, True)])
async def test_what_is_due_between_two_hosts_fires_once_with_the_second(
    load: Load, tmp_path: Path, options: dict[str, Any], late: bool
) -> None:
    both = Reload(load, tmp_path, **options)
    both.first.start()
    await both.clock.pass_until("2026-01-01 12:01:40", sleepers=2)
    await both.end(both.first)
    both.clock.put("2026-01-01 12:02:05")
    both.second.start()
    await both.clock.pass_until("2026-01-01 12:03:00", sleepers=2)
    await both.end(both.second)

    assert [time for time, _ in both.old.seen][-1] in {"12:01:00", "12:01:30"}
    assert both.new.seen[0] == ("12:02:05", late)
    assert both.new.seen[-1] == ("12:03:00", False)


@pytest.mark.parametrize("options", [EVERY_HALF_MINUTE, EVERY_MINUTE])
async def test_what_the_first_host_still_runs_does_not_fire_again(
    load: Load, tmp_path: Path, options: dict[str, Any]
) -> None:
    both = Reload(load, tmp_path, **options)
    both.first.start()
    await both.clock.pass_until("2026-01-01 12:00:59", sleepers=2)
    both.old.release.clear()
    both.old.entered.clear()
    await both.clock.pass_until("2026-01-01 12:01:00", sleepers=1)
    await both.old.entered.wait()
    await both.first.stop()
    both.second.start()
    await both.clock.pass_until("2026-01-01 12:02:01", sleepers=2)
    assert both.new.seen == []  # the second waits, because the first still runs
    both.old.release.set()
    await both.first.drain(30)
    await both.clock.pass_until("2026-01-01 12:02:02", sleepers=1)
    await both.clock.pass_until("2026-01-01 12:03:00", sleepers=2)
    await both.end(both.second)

    made_up, *others = [time for time, _ in both.new.seen]
    assert "12:02:01" <= made_up <= "12:02:02"  # once for all that came meanwhile
    assert others[-1] == "12:03:00"


async def test_what_was_due_longer_ago_is_not_made_up_for(load: Load, tmp_path: Path) -> None:
    both = Reload(load, tmp_path, **EVERY_HALF_MINUTE)
    both.first.start()
    await both.clock.pass_until("2026-01-01 12:00:40", sleepers=2)
    await both.end(both.first)
    both.clock.put("2026-01-01 14:00:10")
    both.second.start()
    await both.clock.pass_until("2026-01-01 14:00:30", sleepers=2)
    await both.end(both.second)

    assert both.new.seen == [("14:00:30", False)]
