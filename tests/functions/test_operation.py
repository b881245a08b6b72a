"""Running a host: draining it, taking its app away for a while, warming it up, its settings."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import Answer, call

from hubbub.functions.host import Host, HostOptions
from hubbub.functions.offline import FILE

Load = Callable[..., Host]

WAIT = """
import stage_of_test

@app.route()
async def wait(req):
    stage_of_test.entered.set()
    stage_of_test.running += 1
    stage_of_test.most = max(stage_of_test.most, stage_of_test.running)
    await stage_of_test.release.wait()
    stage_of_test.running -= 1
    return "ok"
"""
WARM = """
import stage_of_test

@app.warm_up_trigger("warmup")
def warm(warmup, context: func.Context) -> None:
    stage_of_test.warmed = [*getattr(stage_of_test, "warmed", []), context.function_name]
"""
TIMER = '\n@app.timer_trigger(arg_name="t", schedule="0 0 0 1 1 *")\ndef tick(t): ...\n'


@dataclass
class Restarts:
    """Stands for the end of the process."""

    event: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self) -> None:
        self.event.set()


async def test_a_host_is_drained_and_goes_on(load: Load, stage: Any) -> None:
    stage.entered, stage.release, stage.running, stage.most = asyncio.Event(), asyncio.Event(), 0, 0
    host = load(WAIT + TIMER)
    await host.start()
    status = "/admin/host/drain/status"
    waiting = asyncio.create_task(call(host, "GET", "/api/wait"))
    await stage.entered.wait()

    assert (await call(host, "GET", status)).json()["state"] == "Disabled"
    assert (await call(host, "POST", "/admin/host/drain")).status == 202
    during = (await call(host, "GET", status)).json()
    assert during == {
        "state": "InProgress", "outstandingInvocations": 1, "outstandingRetries": 0,
    }  # fmt: skip
    stage.release.set()
    assert (await waiting).status == 200
    assert (await call(host, "GET", status)).json()["state"] == "Completed"
    assert (await call(host, "GET", "/api/wait")).status == 200  # requests are answered still
    resumed = await call(host, "POST", "/admin/host/resume")
    assert resumed.json() == {"state": "Running"}
    assert (await call(host, "GET", status)).json()["state"] == "Disabled"


@pytest.mark.parametrize(
    ("method", "name", "status"),
    [
        ("GET", "drain", 405),
        ("POST", "drain/status", 405),
        ("GET", "restart", 405),
        ("POST", "synctriggers", 200),
        ("POST", "nonsense", 404),
    ],
)
async def test_each_address_has_its_method(load: Load, method: str, name: str, status: int) -> None:
    assert (await call(load(TIMER), method, f"/admin/host/{name}")).status == status


async def test_a_restart_ends_the_process_after_its_answer_where_somebody_starts_it_again(
    load: Load,
) -> None:
    restarts = Restarts()
    host = load(TIMER, options=HostOptions(restart=restarts))

    assert (await call(host, "POST", "/admin/host/restart")).status == 200
    assert not restarts.event.is_set()
    await asyncio.wait_for(restarts.event.wait(), 30)

    alone = await call(load(TIMER), "POST", "/admin/host/restart")
    assert alone.status == 501
    assert "hubbub host" in alone.text


async def test_the_configuration_in_force_is_told(load: Load) -> None:
    host = load(
        TIMER,
        {
            "AzureFunctionsJobHost__extensions__http__routePrefix": "v1",
            "AzureFunctionsJobHost__functionTimeout": "00:01:30",
            "AzureFunctionsJobHost__logging__logLevel__Function.hello": "Warning",
        },
    )
    config = (await call(host, "GET", "/admin/host/config")).json()

    assert config["functionTimeout"] == "00:01:30"
    assert config["extensions"]["http"]["routePrefix"] == "v1"
    assert config["extensions"]["http"]["maxConcurrentRequests"] == -1
    assert config["logging"] == {"logLevel": {"Function.hello": "Warning"}}


async def until(host: Host, status: int) -> Answer:
    """Ask again and again until the answer has this status."""
    async with asyncio.timeout(30):
        while True:
            answer = await call(host, "GET", "/api/hello")
            if answer.status == status:
                return answer
            await asyncio.sleep(0.05)


async def test_an_app_is_offline_while_its_folder_says_so(load: Load, tmp_path: Path) -> None:
    host = load('\n@app.route()\ndef hello(req):\n    return "ok"\n' + TIMER)
    await host.start()
    (tmp_path / FILE).write_text("<p>back soon</p>")
    answer = await until(host, 503)

    assert (answer.status, answer.text) == (503, "<p>back soon</p>")
    assert answer.header("content-type") == "text/html"
    assert (await call(host, "GET", "/admin/host/status")).status == 503
    assert host.drain_state == "Completed"

    (tmp_path / FILE).unlink()
    await until(host, 200)
    assert (await call(host, "GET", "/admin/host/status")).json()["state"] == "Running"


async def test_a_host_that_starts_offline_fires_nothing(load: Load, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("")
    host = load(TIMER)
    await host.start()

    assert (await call(host, "GET", "/")).status == 503
    assert host.timers._task is None


async def test_a_warmup_function_runs_before_the_host_is_ready_and_on_demand(
    load: Load, stage: Any
) -> None:
    host = load(WARM)
    await host.start()
    assert stage.warmed == ["warm"]

    assert (await call(host, "GET", "/admin/warmup")).status == 200
    assert (await call(host, "POST", "/admin/functions/warm", body=b'{"input": ""}',
        headers=[("content-type", "application/json")])).status == 202  # fmt: skip
    await asyncio.wait(host._background, timeout=30)
    assert stage.warmed == ["warm"] * 3


async def test_an_app_has_one_warmup_function(load: Load, stage: Any) -> None:
    host = load(WARM + WARM.replace("def warm", "def warm2"))

    (refusal,) = host.refused
    assert "an app has one warmup function, and 'warm' is it" in refusal.reason
    assert (await call(load(TIMER), "GET", "/admin/warmup")).status == 200


async def test_requests_beyond_the_concurrent_ones_wait_their_turn(load: Load, stage: Any) -> None:
    stage.entered, stage.release, stage.running, stage.most = asyncio.Event(), asyncio.Event(), 0, 0
    prefix = "AzureFunctionsJobHost__extensions__http__"
    host = load(
        WAIT, {f"{prefix}maxConcurrentRequests": "2", f"{prefix}maxOutstandingRequests": "3"}
    )
    calls = [asyncio.create_task(call(host, "GET", "/api/wait")) for _ in range(4)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    stage.release.set()

    statuses = [(await task).status for task in calls]
    assert sorted(statuses) == [200, 200, 200, 429]
    assert stage.most == 2
