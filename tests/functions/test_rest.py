"""The time before the end of a service: its app finishes what it has begun, and begins no more."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.functions.apps import app_of, call
from tests.functions.test_operation import TIMER, WAIT
from tests.functions.test_webhook import SETTINGS, message, tell, trigger

from hubbub.functions import app
from hubbub.functions.host import Host

Load = Callable[..., Host]


@pytest.fixture
def begun(stage: Any) -> Any:
    """The stage of WAIT."""
    stage.entered, stage.release, stage.running, stage.most = asyncio.Event(), asyncio.Event(), 0, 0
    return stage


async def test_what_runs_is_waited_for_and_only_a_service_is_answered(
    load: Load, begun: Any
) -> None:
    host = load(WAIT + TIMER + trigger(body="print()"), SETTINGS)
    await host.start()
    running = asyncio.create_task(call(host, "GET", "/api/wait"))
    await begun.entered.wait()
    resting = asyncio.create_task(app_of(host).rest())
    _, waiting = await asyncio.wait([resting], timeout=0.1)

    refused = await call(host, "GET", "/api/wait")
    told = await tell(host, message())

    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert told.status == 200
    assert waiting
    begun.release.set()
    await asyncio.wait_for(resting, 4)  # which is less than what it would wait in vain
    assert (await running).status == 200


async def test_a_function_that_was_started_by_hand_is_waited_for_too(
    load: Load, begun: Any
) -> None:
    host = load(WAIT)
    kind = [("Content-Type", "application/json")]
    await call(host, "POST", "/admin/functions/wait", headers=kind, body=b"{}")
    await begun.entered.wait()
    resting = asyncio.create_task(app_of(host).rest())
    _, waiting = await asyncio.wait([resting], timeout=0.1)
    assert waiting
    begun.release.set()
    await resting


async def test_what_does_not_end_is_not_waited_for_longer_than_a_while(
    load: Load, begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_LOOKS", 2)
    host = load(WAIT)
    running = asyncio.create_task(call(host, "GET", "/api/wait"))
    await begun.entered.wait()

    await app_of(host).rest()

    assert not running.done()
    begun.release.set()
    await running
