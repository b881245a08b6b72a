"""Requests of clients that land on another node than their connection: asked here, answered there.

A connection lives on the node that it was opened at; behind a balancer without memory its polls
and posts go anywhere. This module also keeps two nodes from opening the same connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from hubbub.service.access import ClientAccess, Refusal
from hubbub.service.backplane.backplane import Backplane, BackplaneError
from hubbub.service.calls import Answer
from hubbub.service.cluster.channel import connection_channel
from hubbub.service.cluster.handover import Handover
from hubbub.service.cluster.parcel import Kind, Leave, Reply, Visit, encode_parcel
from hubbub.service.cluster.questions import Questions, UnansweredError
from hubbub.service.cluster.subscriptions import Subscriptions
from hubbub.service.cluster.unreached import What
from hubbub.service.exchange import GONE, check_post, end, pollable, take
from hubbub.service.session import Connection
from hubbub.service.tickets import connection_id_of

if TYPE_CHECKING:
    from hubbub.service.node import Node

__all__ = ["Visits"]

# Seconds after which a node that is still at it says so: who asks waits for it then.
_ATTEMPTS: Final = 5  # a connection that joins groups all the time may be hard to catch
_SAY_SO: Final = 1.0
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_NO_CACHE: Final = (
    (b"cache-control", b"no-cache, no-store"),
    (b"expires", b"Thu, 01 Jan 1970 00:00:00 GMT"),
    (b"pragma", b"no-cache"),
)
# Opened even when nobody can be asked, as what is opened so stays on its node.
_LET_IN: Final = frozenset({Kind.SOCKET, Kind.EVENTS})
_OPENING: Final = frozenset({Kind.SOCKET, Kind.EVENTS, Kind.OPEN})
Send = Callable[[str, Reply], asyncio.Future[int]]


class Visits:
    """Both sides: what this node asks of others for its clients, and what others ask of it."""

    def __init__(
        self,
        node: "Node",
        backplane: Backplane,
        questions: Questions,
        subscriptions: Subscriptions,
        send: Send,
        handover: Handover,
        unreached: Callable[[What, str], object],
    ) -> None:
        """`send` publishes an answer to the node with that id, `unreached` says what is amiss."""
        self._node = node
        self._backplane = backplane
        self._questions = questions
        self._subscriptions = subscriptions
        self._send = send
        self._handover = handover
        self._unreached = unreached
        self._claims: dict[str, int] = {}  # connections that are perhaps about to open here
        self._first: set[str] = set()  # those of them that nobody had asked for earlier
        self._polls: dict[tuple[str, int], asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Visits(claims={len(self._claims)}, polls={len(self._polls)})"

    async def close(self) -> None:
        """Leave what others wait for undone."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # For the node that a client has come to.

    @asynccontextmanager
    async def claim(self, access: ClientAccess) -> AsyncIterator[None]:
        """In here this node may open the connection when no other has it, and others may not.

        Raises `Refusal` where the request has no token.
        """
        connection_id = _id(access)
        channel = connection_channel(connection_id)
        self._claims[connection_id] = self._claims.get(connection_id, 0) + 1
        self._subscriptions.hold(channel)
        try:
            yield
        finally:
            self._claims[connection_id] -= 1
            if not self._claims[connection_id]:
                del self._claims[connection_id]
                self._first.discard(connection_id)
            self._subscriptions.release(channel, 0.0)

    @asynccontextmanager
    async def opening(self, access: ClientAccess) -> AsyncIterator[Refusal | None]:
        """The same for a WebSocket, when others have been asked; with what they say against it."""
        if self.is_claimed(access):
            yield Refusal(409, "The connection is in use.")
            return
        async with self.claim(access):
            try:
                answer = await self.ask(access, Kind.SOCKET)
            except Refusal as refusal:
                yield refusal
                return
            yield await self._moved(access, answer) if answer is not None else None

    async def _moved(self, access: ClientAccess, answer: Answer | None) -> Refusal | None:
        """Move a connection here, where another node offers it; why not, if it cannot be."""
        refused = Refusal(503, "The connection could not be moved here.")
        for _ in range(_ATTEMPTS):
            if answer is None:
                return None
            if answer.status != 200:
                return Refusal(answer.status or 500, answer.body.decode())
            try:
                await self._handover.take(access, _id(access), answer.body)
            except Refusal as refusal:
                refused = refusal
                if refusal.status != 409:
                    break
                answer = await self.ask(access, Kind.SOCKET)
            else:
                return None
        return refused

    def is_claimed(self, access: ClientAccess) -> bool:
        """Whether somebody is about to open the connection here."""
        return connection_id_of(access.connection_token or "") in self._claims

    async def ask(self, access: ClientAccess, kind: Kind, body: bytes = b"") -> Answer | None:
        """The answer of the node that has the connection, `None` where none has it.

        Raises `Refusal` where the token is used up; `BackplaneError` and `UnansweredError` but for
        transports that stay where they are opened.
        """
        try:
            return await self._ask(_id(access), access, kind, body, [])
        except (BackplaneError, UnansweredError) as error:
            if kind not in _LET_IN:
                raise
            text = f"a client is let in though it may be elsewhere: {error}"
            self._unreached(What.ELSEWHERE, text)
            return None

    async def poll(self, access: ClientAccess, gone: asyncio.Future[None]) -> Answer | None:
        """The same for a poll, whose client may go away."""
        connection_id = _id(access)
        numbers: list[int] = []
        asking = asyncio.ensure_future(self._ask(connection_id, access, Kind.POLL, b"", numbers))
        try:
            await asyncio.wait((asking, gone), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
        finally:
            asking.cancel()
        leave = encode_parcel(Leave(self._node.id, numbers[0]))
        self._backplane.publish(connection_channel(connection_id), leave)
        return Answer(status=204)  # to nobody

    async def _ask(
        self,
        connection_id: str,
        access: ClientAccess,
        kind: Kind,
        body: bytes,
        numbers: list[int],
    ) -> Answer | None:
        def visit(number: int) -> Visit:
            numbers.append(number)
            hub, user_id = access.hub, access.user_id
            return Visit(self._node.id, number, connection_id, hub, user_id, kind, body)

        channel = connection_channel(connection_id)
        takes = self._node.settings.poll_timeout
        reply = await self._questions.first(channel, visit, takes=takes)
        if reply is None:
            return None
        if not reply.is_here:
            raise Refusal(reply.status or 404, GONE)
        return Answer(reply.body, reply.headers, reply.status)

    # For the node that has the connection.

    def receive(self, visit: Visit) -> None:
        """Answer what a client wants that has come to another node."""
        try:
            connection = self._node.find_by_id(visit.connection_id, visit.hub, visit.user_id)
            if connection is None:
                self._send(visit.sender, self._objection(visit))
                return
            if visit.kind is Kind.SOCKET:
                self._node.check_resumable(connection)
                self._handover.offer(visit, connection)
            elif visit.kind is Kind.OPEN:
                raise Refusal(409, "The connection is in use.")  # it was not when it was asked for
            elif visit.kind is Kind.EVENTS:
                pollable(connection, wants_events=True)
            elif visit.kind is Kind.END:
                end(connection)
                self._send(visit.sender, _reply(self._node.id, visit, Answer(b"", (_TEXT,), 202)))
            else:
                self._start(visit, connection)
        except Refusal as refusal:
            self._send(visit.sender, _reply(self._node.id, visit, _refused(refusal)))

    def met(self, visit: Visit) -> None:
        """What this node asks has come back to it.

        All who listen to a channel see the same order on it. So of several nodes that are about to
        open a connection, that one does whose question is the first: it objects to the others.
        """
        if visit.kind in _OPENING and visit.connection_id in self._claims:
            self._first.add(visit.connection_id)

    def leave(self, leave: Leave) -> None:
        """A client that polls here through another node is gone."""
        gone = self._polls.get((leave.sender, leave.request))
        if gone is not None and not gone.done():
            gone.set_result(None)

    def _objection(self, visit: Visit) -> Reply:
        status = None
        if self._node.tickets.is_spent(visit.connection_id):
            status = 404
        elif visit.kind in _OPENING and visit.connection_id in self._first:
            status = 409
        return Reply(self._node.id, visit.request, is_here=False, status=status)

    def _start(self, visit: Visit, connection: Connection) -> None:
        work = self._poll if visit.kind is Kind.POLL else self._post
        task = asyncio.get_running_loop().create_task(work(visit, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _post(self, visit: Visit, connection: Connection) -> None:
        try:
            check_post(connection)
            if connection.inbox is not None and connection.inbox.is_full:
                self._begin(visit)
                await connection.inbox.room()
            take(connection, visit.body)
            answer = Answer(b"", (_TEXT,), 200)
        except Refusal as refusal:
            answer = _refused(refusal)
        self._send(visit.sender, _reply(self._node.id, visit, answer))

    async def _poll(self, visit: Visit, connection: Connection) -> None:
        key = visit.sender, visit.request
        gone = self._polls[key] = asyncio.get_running_loop().create_future()
        try:
            polling = pollable(connection, wants_events=False)
            working = asyncio.ensure_future(polling.poll(gone))
            try:
                if not (await asyncio.wait((working,), timeout=_SAY_SO))[0]:
                    self._begin(visit)
                polled = await working
            finally:
                working.cancel()
        except Refusal as refusal:
            self._send(visit.sender, _reply(self._node.id, visit, _refused(refusal)))
            return
        finally:
            del self._polls[key]
        media_type = (polled.media_type or "").encode()
        headers = (((b"content-type", media_type),) if media_type else ()) + _NO_CACHE
        answer = Answer(polled.body, headers, polled.status)
        try:
            taken = await self._send(visit.sender, _reply(self._node.id, visit, answer))
        except BackplaneError:
            taken = 0
        if polled.body and not taken:
            # What it said is nowhere by now, so the client has to begin anew.
            connection.lost("The node that the client polls is gone.")
        polling.answered(polled)

    def _begin(self, visit: Visit) -> None:
        begun = Reply(self._node.id, visit.request, is_here=True, is_last=False)
        self._send(visit.sender, begun)


def _id(access: ClientAccess) -> str:
    connection_id = connection_id_of(access.connection_token or "")
    if connection_id is None:
        raise Refusal(404, GONE)
    return connection_id


def _refused(refusal: Refusal) -> Answer:
    return Answer(str(refusal).encode(), (_TEXT,), refusal.status)


def _reply(node_id: str, visit: Visit, answer: Answer) -> Reply:
    return Reply(
        node_id,
        visit.request,
        is_here=True,
        status=answer.status,
        headers=answer.headers,
        body=answer.body,
    )
