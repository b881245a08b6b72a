"""Fires the timers of an app when they are due: one at a time each, in one host of several.

When that is, `schedule` says; what is remembered, `state` keeps; how a function runs is `invoke`'s
affair.
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import azure.functions as func

from hubbub.errors import ConfigError
from hubbub.functions.bindings import Plan
from hubbub.functions.expressions import BindingData, Values, required_text
from hubbub.functions.function import Function
from hubbub.functions.invoke import Outcome
from hubbub.functions.schedule import Schedule, occurrences, parse_schedule
from hubbub.functions.settings import AppSettings
from hubbub.functions.state import Status, TimerStore

logger = logging.getLogger("hubbub.functions.timers")

Invoke = Callable[[Plan, Any, BindingData], Awaitable[Outcome]]
_LEASE = 15.0  # seconds that a host which is gone keeps others from firing its timers
_RENEWAL = 5.0  # seconds from one renewal of the lease to the next
_WAIT = 0.5  # seconds from one try to get the lease to the next
_HANDOVER = 60.0  # seconds that what the host before has left undone is still to be done
_NAP = 60.0  # seconds at most between two looks at the clock, which may be put


class Clock(Protocol):
    """The present, and waiting for a later one."""

    def now(self) -> datetime:
        """The present moment in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock. Satisfies `Clock`."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Timer:
    """A function and when it is due."""

    plan: Plan
    schedule: Schedule
    runs_on_startup: bool
    is_monitored: bool  # what was missed while no host ran is made up for

    @property
    def name(self) -> str:
        """The function's name."""
        return self.plan.function.name


def build_timer(plan: Plan, settings: AppSettings) -> Timer:
    """The timer of a function with a `timerTrigger`, or a FunctionError."""
    trigger = plan.function.trigger
    schedule = parse_schedule(required_text(trigger, "schedule", settings))
    return Timer(
        plan,
        schedule,
        runs_on_startup=trigger.option("runOnStartup", False) is True,
        is_monitored=trigger.option("useMonitor", True) is not False and schedule.is_monitored,
    )


class Timers:
    """Fires timers from `start` to `stop`."""

    def __init__(
        self, store: TimerStore, invoke: Invoke, zone: tzinfo, app: str, clock: Clock | None = None
    ) -> None:
        """`app` is what hosts of the same app have in common, should they share the store."""
        self._store = store
        self._invoke = invoke
        self._zone = zone
        self._app = app
        self._clock = clock or SystemClock()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{id(self)}"
        self._timers: list[Timer] = []
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._fired: dict[str, datetime] = {}  # by key, when those fired that are not monitored
        self._handing_over: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Timers {len(self._timers)} timers, {len(self._running)} running>"

    @property
    def is_running(self) -> bool:
        """Whether a function runs that was due."""
        return bool(self._running)

    def add(self, timer: Timer) -> None:
        """Take a timer up, before `start`."""
        self._timers.append(timer)

    def schedule_of(self, function: Function) -> str:
        """The schedule of a function that was taken up, as it was written."""
        return next(str(t.schedule) for t in self._timers if t.plan.function is function)

    def start(self) -> None:
        """Begin to fire, also after `stop`."""
        if self._timers and self._task is None:
            before, self._handing_over = self._handing_over, None
            self._task = asyncio.create_task(self._lead(before))

    async def stop(self) -> None:
        """Fire no more. What runs goes on; when it has ended another host may fire."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._handing_over = asyncio.create_task(self._hand_over())

    async def drain(self, seconds: float) -> None:
        """Wait for what runs, and let another host lead even if it does not end."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        handing_over, self._handing_over = self._handing_over, None  # a host is closed twice
        if handing_over is not None:
            if self._running:
                handing_over.cancel()
                await self._settle()
            else:
                await handing_over
        self._store.close()

    async def _hand_over(self) -> None:
        """Let another host fire as soon as nothing runs here, and keep it from that meanwhile."""
        while self._running:
            nap = asyncio.ensure_future(self._clock.sleep(_RENEWAL))
            await asyncio.wait([nap, *self._running], return_when=asyncio.FIRST_COMPLETED)
            nap.cancel()
            await self._renew()
        await self._settle()

    async def _settle(self) -> None:
        """Write down what the next host needs, so that no occurrence is lost or comes twice."""
        now = self._clock.now()
        for timer in self._timers:
            key = self._key(timer)
            if key in self._fired:
                status = Status(self._fired[key], now, now)
                await self._keep(self._store.write, key, status)
        await self._keep(self._store.resign, self._app, self._owner)

    async def _lead(self, before: asyncio.Task[None] | None) -> None:
        """Fire while this host has the lease, and wait for it otherwise.

        What still runs from `before` a stop ends first.
        """
        if before is not None:
            await asyncio.wait([before])
        while True:
            while not await self._renew():
                await self._clock.sleep(_WAIT)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep_serving(timer)) for timer in self._timers]
                while await self._renew():
                    await self._clock.sleep(_RENEWAL)
                logger.warning("Another host of this app fires its timers; this one waits.")
                for task in tasks:
                    task.cancel()

    async def _renew(self) -> bool:
        now = self._clock.now().timestamp()
        taken = await self._keep(self._store.lead, self._app, self._owner, now, _LEASE)
        return taken is not False  # a store that fails must not stop the timers

    async def _keep(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call the store in a thread; None where it fails, which the log says."""
        try:
            return await asyncio.to_thread(call, *arguments)
        except Exception as error:  # a full disk or a locked file must not stop the timers
            logger.error("The schedule of the timers could not be kept: %s", error)
            return None

    async def _keep_serving(self, timer: Timer) -> None:
        try:
            await self._serve(timer)
        except Exception:  # the other timers must survive a fault in one
            logger.exception("The timer of '%s' is not fired any more", timer.name)

    async def _serve(self, timer: Timer) -> None:
        """Fire one timer whenever it is due."""
        now = self._clock.now()
        self._announce(timer, now)
        status = await self._resume(timer, now) if timer.is_monitored else None
        fired = now if timer.is_monitored else await self._taken_over(timer, now)
        if status is not None and now > status.next:
            logger.warning("Function '%s' is past due on startup. Executing now.", timer.name)
            await self._fire(timer, now, status, past_due=True)
        elif timer.runs_on_startup:
            await self._fire(timer, now, status)
        while (due := timer.schedule.next(fired, self._zone)) is not None:
            await self._wait_until(due)
            fired = self._clock.now()  # of several occurrences that were missed one counts
            if timer.is_monitored:
                status = await self._keep(self._store.read, self._key(timer))
            else:
                self._fired[self._key(timer)] = fired
            await self._fire(timer, fired, status)

    def _announce(self, timer: Timer, now: datetime) -> None:
        coming = occurrences(timer.schedule, now, self._zone, 5)
        moments = ", ".join(moment.astimezone(self._zone).isoformat() for moment in coming)
        logger.info(
            "The next %d occurrences of the '%s' schedule (%s) will be: %s",
            len(coming), timer.name, timer.schedule, moments,
        )  # fmt: skip

    async def _wait_until(self, due: datetime) -> None:
        while (left := (due - self._clock.now()).total_seconds()) > 0:
            await self._clock.sleep(min(left, _NAP))

    async def _resume(self, timer: Timer, now: datetime) -> Status | None:
        """What is remembered, brought up to date where the schedule has changed since."""
        status: Status | None = await self._keep(self._store.read, self._key(timer))
        since = now if status is None else status.last or status.updated
        due = timer.schedule.next(since, self._zone)
        if due is None or (status is not None and status.next == due):
            return status
        if due < now:  # under the new schedule nothing was missed
            due = timer.schedule.next(now, self._zone) or due
        status = Status(None, due, since)
        await self._keep(self._store.write, self._key(timer), status)
        return status

    async def _taken_over(self, timer: Timer, now: datetime) -> datetime:
        """The moment from which on a timer that is not monitored is due: now, or earlier.

        A host that has ended a moment ago may have left an occurrence undone.
        """
        status: Status | None = await self._keep(self._store.read, self._key(timer))
        fired = now
        if status is not None and status.last is not None:
            age = (now - status.updated).total_seconds()
            fired = status.last if 0 <= age <= _HANDOVER else now
        self._fired[self._key(timer)] = fired
        return fired

    async def _fire(
        self, timer: Timer, moment: datetime, status: Status | None, *, past_due: bool = False
    ) -> None:
        value = timer_request(status, past_due=past_due)
        run = asyncio.ensure_future(self._run(timer, value, moment))
        self._running.add(run)
        run.add_done_callback(self._running.discard)
        # Neither ends the other: the run goes on after `stop`, and a function that cancels its own
        # task fires again.
        await asyncio.wait([run])
        if not run.cancelled() and (error := run.exception()) is not None:
            logger.error("A firing of '%s' has failed: %r", timer.name, error)

    async def _run(self, timer: Timer, value: Any, moment: datetime) -> None:
        """Run the function, and remember that it has run: also where the host is told to end."""
        await self._invoke(timer.plan, value, Values({}))
        if timer.is_monitored and (due := timer.schedule.next(moment, self._zone)) is not None:
            now = Status(moment, due, moment)
            await self._keep(self._store.write, self._key(timer), now)

    def _key(self, timer: Timer) -> str:
        return f"{self._app}/{timer.name}"


def timer_request(status: Status | None = None, *, past_due: bool = False) -> Any:
    """The `func.TimerRequest` of one firing."""
    described = None
    if status is not None:
        described = {
            "Last": (status.last or datetime.min.replace(tzinfo=UTC)).isoformat(),
            "Next": status.next.isoformat(),
            "LastUpdated": status.updated.isoformat(),
        }
    payload = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": described,
        "IsPastDue": past_due,
    }
    registry: Any = func.get_binding_registry()  # type: ignore[no-untyped-call]
    datum = SimpleNamespace(type="json", value=json.dumps(payload))
    return registry.get("timerTrigger").decode(datum, trigger_metadata=None)


def local_zone(settings: AppSettings, link: Path = Path("/etc/localtime")) -> tzinfo:
    """The zone of the schedules: WEBSITE_TIME_ZONE, else TZ, else the machine's."""
    for name in ("WEBSITE_TIME_ZONE", "TZ"):
        if text := (settings.find(name) or "").removeprefix(":"):
            return _zone(name, text)
    _, found, key = str(link.resolve()).partition("zoneinfo/")
    with suppress(ZoneInfoNotFoundError, ValueError):
        if found:
            return ZoneInfo(key)
    return datetime.now().astimezone().tzinfo or UTC


def _zone(name: str, text: str) -> tzinfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"The setting {name} is '{text}', which is no time zone known here. Write a name such "
            "as Europe/Berlin."
        ) from None
