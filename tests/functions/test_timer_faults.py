"""What a timer survives: its own function, and the end of its host while it runs."""

import asyncio
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from tests.functions.clock import StandingClock
from tests.functions.test_timers import Firings, timers

from hubbub.functions.bindings import Plan
from hubbub.functions.expressions import BindingData
from hubbub.functions.host import Host
from hubbub.functions.invoke import Outcome
from hubbub.functions.settings import AppSettings
from hubbub.functions.state import MemoryStore, SqliteStore
from hubbub.functions.timers import Timers, build_timer

Load = Callable[..., Host]

TWO = """
@app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
def bad(timer: func.TimerRequest): ...

@app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
def good(timer: func.TimerRequest): ...
"""


@pytest.mark.parametrize("end", ["cancel", "GeneratorExit", "error"])
async def test_a_run_that_ends_as_none_should_stops_neither_its_timer_nor_the_others(
    load: Load, end: str
) -> None:
    clock = StandingClock("2026-01-01 12:00:30")
    fired: list[str] = []

    async def invoke(plan: Plan, value: Any, data: BindingData) -> Outcome:
        fired.append(plan.function.name)
        if plan.function.name == "good":
            return Outcome()
        if end == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        raise GeneratorExit if end == "GeneratorExit" else OSError("unforeseen")

    host = load(TWO)
    running = Timers(MemoryStore(), invoke, UTC, "app", clock)
    for plan in host.plans.values():
        running.add(build_timer(plan, AppSettings({})))
    running.start()
    await clock.pass_until("2026-01-01 12:02:01", sleepers=3)
    await running.stop()

    assert sorted(fired) == ["bad", "bad", "good", "good"]


async def test_a_host_that_is_closed_twice_leaves_a_long_run_alone(
    load: Load, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    clock = StandingClock("2026-01-01 12:00:30")
    firings = Firings(clock)
    running = timers(load, clock, firings, SqliteStore(tmp_path), schedule="0 * * * * *")
    running.start()
    firings.release.clear()
    await clock.pass_until("2026-01-01 12:01:00", sleepers=1)
    await firings.entered.wait()
    await running.stop()
    log.clear()

    await running.drain(0)  # its lifespan's end
    await running.drain(0)  # its server's

    assert [record.getMessage() for record in log.records] == []
    firings.release.set()
