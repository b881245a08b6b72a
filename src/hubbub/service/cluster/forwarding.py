"""REST calls in a cluster: each is done here, by the others whom it concerns, or by both.

What a call does is in `operations`. A node that a call is forwarded to does its own part only.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from hubbub.service.access import Refusal
from hubbub.service.backplane.backplane import Backplane
from hubbub.service.calls import Answer, Call, RestError, parse_query
from hubbub.service.cluster.channel import (
    connection_channel,
    group_channel,
    hub_channel,
    user_channel,
)
from hubbub.service.cluster.parcel import Forwarded, Parcel, Reply, encode_parcel
from hubbub.service.cluster.questions import Questions
from hubbub.service.cluster.recovery import Recovery
from hubbub.service.operations.operation import Join, Merged, Reach
from hubbub.service.routes import Route, route_named
from hubbub.service.store import StoreError

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["Forwarding", "call_of", "do_now"]

_logger = logging.getLogger("hubbub.service")
# Seconds after which a node that is still at it says so: who asks waits for it then.
_SAY_SO: Final = 1.0
_Names = dict[str, str]


class Forwarding:
    """Passes calls on to others and does what others pass on."""

    def __init__(
        self,
        node: "Node",
        backplane: Backplane,
        questions: Questions,
        recovery: Recovery,
        settled: Callable[[], Coroutine[Any, Any, None]],
        answer: Callable[[str, Reply], object],
        published: Callable[[str, Forwarded], object],
        arrived: Callable[[Iterable[str]], Coroutine[Any, Any, None]],
    ) -> None:
        """`settled` waits until groups that were joined here are reached; `answer` sends.

        `published` is told what this node publishes, on which channel; `arrived` waits until no
        connection that hears one of these channels is on its way here.
        """
        self._node = node
        self._backplane = backplane
        self._questions = questions
        self._recovery = recovery
        self._settled = settled
        self._answer = answer
        self._published = published
        self._arrived = arrived
        self.number = 0  # of what has been published last
        self.unbegun = 0  # calls of others that are accepted, of which nothing is done yet
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Forwarding(under_way={len(self._tasks)})"

    async def close(self) -> None:
        """Leave what others wait for undone."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # For the node that was called.

    async def perform(self, route: Route, call: Call) -> Answer | None:
        """Do a call as `route` says. Raises `RestError`, `BackplaneError`, `UnansweredError`."""
        if route.join is Join.HERE:
            return await route.handler(call)
        if route.has_body:
            call = msgspec.structs.replace(call, ready=await call.body())
        match route.join:
            case Join.NONE:
                return await self._spread(route, call)
            case Join.ONE:
                return await self._find(route, call)
            case Join.ALL:
                return await self._gather(route, call)
        return await self._merge(route, call)

    async def _spread(self, route: Route, call: Call) -> Answer | None:
        answer = await route.handler(call)  # which raises before anybody else hears of it
        if route.reach is Reach.CONNECTION and _is_here(route.reach, call):
            return answer
        check = self._recovery.check()
        # From the handler to here nothing has waited: what one node accepts is published in order.
        taken = [
            self._backplane.publish(
                channel, encode_parcel(self._parcel(route, call, names, channel, None))
            )
            for channel, names in _addresses(route.reach, call)
        ]
        for each in taken:
            await each
        check()
        return answer

    async def _find(self, route: Route, call: Call) -> Answer | None:
        ((channel, _),) = _addresses(route.reach, call)
        if not _is_here(route.reach, call):
            await self._arrived((channel,))
        if not _is_here(route.reach, call):
            reply = await self._questions.first(
                channel, self._question(route, call, channel), takes=self._longest
            )
            if reply is not None:
                return Answer(reply.body, reply.headers, reply.status)
        answer = await route.handler(call)
        await self._settled()
        return answer

    async def _gather(self, route: Route, call: Call) -> Answer | None:
        answer = await route.handler(call)
        # Nothing waits in between: what has been done here has a number from here on.
        replies = await self._ask_all(route, call)
        await self._settled()
        for reply in replies:
            if reply.status is not None:
                return Answer(reply.body, reply.headers, reply.status)
        return answer

    async def _merge(self, route: Route, call: Call) -> Answer | None:
        assert isinstance(route.handler, Merged)
        parts = [await route.handler.part(call)]
        for reply in await self._ask_all(route, call):
            if reply.status is not None:
                return Answer(reply.body, reply.headers, reply.status)
            parts.append(msgspec.msgpack.decode(reply.body))
        return route.handler.whole(call, parts)

    async def _ask_all(self, route: Route, call: Call) -> list[Reply]:
        ((channel, _),) = _addresses(route.reach, call)
        replies = await self._questions.all(
            channel, self._question(route, call, channel), takes=self._longest
        )
        if route.join is Join.ALL:
            await self._arrived((channel,))
        return replies

    def _question(self, route: Route, call: Call, channel: str) -> Callable[[int], Parcel]:
        return lambda number: self._parcel(route, call, dict(call.names), channel, number)

    def _parcel(
        self, route: Route, call: Call, names: _Names, channel: str, request: int | None
    ) -> Forwarded:
        """What is published next, and at once."""
        self.number += 1
        parcel = Forwarded(
            self._node.id,
            request,
            route.key,
            call.hub,
            names,
            call.scope["query_string"],
            call.content_type(),
            call.ready or b"",
            self.number,
        )
        self._published(channel, parcel)
        return parcel

    @property
    def _longest(self) -> float:
        """Seconds that a node which has begun may take."""
        return max(self._node.settings.invoke_timeout, self._node.settings.send_timeout)

    # For the nodes that it concerns as well.

    def receive(self, parcel: Forwarded) -> None:
        """Do what another node was called for. Nothing that others send is in between."""
        route = route_named(parcel.operation)
        call = call_of(self._node, parcel)
        if route is None:
            _logger.warning("another node forwards %s, which is not known here", parcel.operation)
        elif parcel.request is None:
            do_now(route, call)
            return
        elif route.join is not Join.ONE or _is_here(route.reach, call):
            self.unbegun += 1
            task = asyncio.get_running_loop().create_task(self._reply(parcel, route, call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if parcel.request is not None:
            self._answer(parcel.sender, Reply(self._node.id, parcel.request, is_here=False))

    async def _reply(self, parcel: Forwarded, route: Route, call: Call) -> None:
        self.unbegun -= 1
        request = parcel.request
        assert request is not None
        begun = Reply(self._node.id, request, is_here=True, is_last=False)
        say_so = asyncio.get_running_loop().call_later(_SAY_SO, self._answer, parcel.sender, begun)
        try:
            answer = await self._do(route, call)
            if route.join is Join.ALL:
                await self._arrived(channel for channel, _ in _addresses(route.reach, call))
        finally:
            say_so.cancel()
        reply = Reply(
            self._node.id,
            request,
            is_here=True,
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
        )
        self._answer(parcel.sender, reply)

    async def _do(self, route: Route, call: Call) -> Answer:
        """This node's part, or why it could not be done."""
        try:
            if isinstance(route.handler, Merged):
                return Answer(msgspec.msgpack.encode(await route.handler.part(call)))
            answer = await route.handler(call)
            await self._settled()
        except Refusal as refusal:
            return RestError.of(refusal).answer()
        except StoreError as error:
            return RestError(503, f"{error} Try again later.").answer()
        except Exception:
            # Who has called hears of it; the other calls of this node must survive.
            _logger.exception("%s, forwarded, failed", route.key)
            return RestError(500, "The service failed; its log says why.").answer()
        return answer or Answer()


def call_of(node: "Node", parcel: Forwarded) -> Call:
    """The call that another node forwards, as one of `node`."""
    headers = [(b"content-type", parcel.content_type.encode("latin-1"))]
    return Call(
        node,
        parcel.hub,
        parcel.names,
        parse_query(parcel.query),
        {"type": "http", "headers": headers, "query_string": parcel.query},
        _nothing_more,
        ready=parcel.body,
        is_forwarded=True,
    )


def do_now(route: Route, call: Call) -> None:
    """Do a call that does not wait: its body is there."""
    running = cast("Coroutine[Any, Any, Answer | None]", route.handler(call))
    try:
        running.send(None)
    except StopIteration:
        return
    except Refusal as refusal:  # by a node of another release, which has accepted it
        _logger.warning("%s, forwarded, was refused: %s", route.key, refusal)
        return
    running.close()
    raise RuntimeError(f"{route.key} waits, so it cannot be forwarded in order")


def _addresses(reach: Reach, call: Call) -> list[tuple[str, _Names]]:
    """The channels of a call, and the names that go to each."""
    names = dict(call.names)
    match reach:
        case Reach.HUB:
            return [(hub_channel(call.hub), names)]
        case Reach.GROUP:
            return [(group_channel(call.hub, names["group"]), names)]
        case Reach.USER:
            return [(user_channel(call.hub, names["user"]), names)]
        case Reach.CONNECTION:
            return [(connection_channel(names["connectionId"]), names)]
        case Reach.GROUPS:
            found = [name for name in names["groups"].split(",") if name]
            return [(group_channel(call.hub, name), {"groups": name}) for name in found]
        case Reach.USERS:
            found = [name for name in names["users"].split(",") if name]
            return [(user_channel(call.hub, name), {"users": name}) for name in found]


def _is_here(reach: Reach, call: Call) -> bool:
    """Whether this node has what an operation for one is about."""
    hub = call.local_hub
    if hub is None:
        return False
    match reach:
        case Reach.CONNECTION:
            return call.names["connectionId"] in hub.connections
        case Reach.GROUP:
            return call.names["group"] in hub.groups
        case Reach.USER:
            return call.names["user"] in hub.users
        case _:
            return True


async def _nothing_more() -> Any:
    raise RuntimeError("the body of a forwarded call has been read")
