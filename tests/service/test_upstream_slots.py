"""How many requests are under way by each template, and that nobody waits for another's app."""

import asyncio

from aiohttp import web
from tests.service.upstream_app import (
    Received,
    completion,
    echo,
    invoke,
    result,
    running_app,
    running_service,
    until,
    upstream,
)

from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.upstream.slots import Slots


async def test_a_slow_app_keeps_nobody_waiting_who_wants_another() -> None:
    gate = asyncio.Event()

    async def slow(received: Received) -> web.StreamResponse:
        await gate.wait()
        return await echo(received)

    async with running_app(slow) as slow_app, running_app() as quick_app:
        templates = (
            Template(url_template=slow_app.url, hub_pattern="slow"),
            Template(url_template=quick_app.url, hub_pattern="quick"),
        )
        async with running_service(*templates, max_upstream_deliveries=1) as service:
            await service.connect("slow")
            await slow_app.next()
            client = await service.connect("quick")

            assert await result(client, "hello") == []
            gate.set()


async def test_a_delivery_that_pauses_before_it_is_repeated_leaves_its_place_to_others() -> None:
    failures = [503]
    pauses: asyncio.Queue[float] = asyncio.Queue()
    gate = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=failures.pop()) if failures else await echo(received)

    async def pause(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await gate.wait()

    template = {"retries": 1}
    async with upstream(answer, template=template, max_upstream_deliveries=1) as (service, app):
        service.node.upstream.courier._pause = pause
        failing = await service.connect()
        await invoke(failing, "later")
        await pauses.get()
        other = await service.connect()

        assert await result(other, "hello") == []
        events = [request.event for request in app.received]
        assert events == ["connected", "connected", "hello"]
        gate.set()
        assert (await completion(failing)).error is None
        assert [request.event for request in app.received[3:]] == ["connected", "later"]


async def test_what_waits_for_a_place_goes_where_the_settings_say_by_then() -> None:
    gate = asyncio.Event()

    async def slow(received: Received) -> web.StreamResponse:
        await gate.wait()
        return await echo(received)

    async with running_app(slow) as old, running_app() as new:
        template = Template(url_template=old.url)
        async with running_service(template, max_upstream_deliveries=1) as service:
            node_upstream = service.node.upstream
            await service.connect("chat", "first")
            await old.next()
            await service.connect("chat", "second")
            await until(lambda: "connections=2" in repr(node_upstream))
            settings = UpstreamSettings(templates=(Template(url_template=new.url),))
            node_upstream.source.current = settings
            node_upstream._use(settings)
            gate.set()

            assert (await new.next()).headers["X-ASRS-User-Id"] == "second"
            assert len(old.received) == 1


async def test_only_templates_in_force_are_remembered() -> None:
    slots = Slots(1)
    old, new = Template(url_template="http://a/"), Template(url_template="http://b/")
    async with slots.of(old) as slot:
        slots.keep([new])
        assert (repr(slots), repr(slot)) == ("Slots(taken=1, templates=0)", "Slot(taken=True)")
        async with slots.of(new):
            slots.keep([new])
            assert slots.taken == 2
    assert repr(slots) == "Slots(taken=0, templates=1)"


async def test_who_is_cut_off_in_a_pause_leaves_no_place_twice() -> None:
    slots = Slots(1)
    template = Template(url_template="http://a/")
    async with slots.of(template) as slot:
        slot.leave()
    async with slots.of(template):
        waiting = asyncio.create_task(slots.of(template).take())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
