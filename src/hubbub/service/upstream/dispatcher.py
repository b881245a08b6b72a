"""From a node's connections to the app: what is delivered, in which order, and how much at once.

A connection costs no task while nothing of it is under way. What it has said is delivered strictly
in order: the next is not sent before the app has answered. Other connections do not wait for it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hubbub.protocol.codec import JSON
from hubbub.protocol.messages import Close, Completion, Invocation, Message, StreamInvocation
from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.protocol.upstreamtemplate import SECRET, Template
from hubbub.protocol.webhooks import (
    CONNECTED,
    CONNECTIONS,
    CONTENT_TYPES,
    DISCONNECTED,
    MESSAGES,
    Event,
    connected_body,
    disconnected_body,
    invocation_body,
)
from hubbub.service.settings import ServiceSettings
from hubbub.service.upstream.answer import (
    CLIENT_STREAMS,
    check_answer,
    completion_for,
    stream_end,
)
from hubbub.service.upstream.delivery import Courier, Written
from hubbub.service.upstream.diagnosis import explain
from hubbub.service.upstream.inbox import Ended, Inbox, Opened, Pending
from hubbub.service.upstream.notice import Notices
from hubbub.service.upstream.outcome import MAX_ANSWER, Kind, Outcome
from hubbub.service.upstream.slots import Slots
from hubbub.service.upstream.source import LOOK_SECONDS, SettingsSource
from hubbub.service.upstream.streaming import Streaming

if TYPE_CHECKING:
    from hubbub.service.session import Connection

__all__ = ["Upstream"]

_logger = logging.getLogger("hubbub.service")
_REFUSALS: Final = frozenset({401, 403})
_MAX_REASON: Final = 512  # characters of an app's own words about why it refuses a client
_MAX_TARGET: Final = 4096  # characters; a method's name has to fit into a header
_MAX_SHOWN: Final = 100  # characters of a method's name in the log
_FRAMING: Final = 1024  # bytes that a transport may add to an answer
_JSON: Final = CONTENT_TYPES[JSON.name]


class Upstream:
    """The way to the app for all connections of a node. `open` and `close` it."""

    def __init__(self, settings: ServiceSettings, courier: Courier | None = None) -> None:
        """Raises `ConfigError` where the settings file is wrong."""
        self.source = SettingsSource(settings.upstream_templates, settings.settings_file)
        self.courier = courier or Courier(
            settings.access_keys, self.source.current, url=settings.url
        )
        self.source.changed = self._use
        # Called with the id of a connection that has ended and of which nothing is left to tell.
        self.settled: Callable[[str], None] = lambda connection_id: None
        # How many deliveries ended how, by category and kind.
        self.outcomes: Counter[tuple[str, Kind]] = Counter()
        self.streaming = Streaming(settings, self._ask)
        self._settings = settings
        self._slots = Slots(settings.max_upstream_deliveries)
        self._tasks: dict[asyncio.Task[None], Inbox] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._notices = Notices()

    def __repr__(self) -> str:
        return (
            f"Upstream(templates={len(self.source.current.templates)}, "
            f"connections={len(self._tasks)}, under_way={self.under_way}, "
            f"streams={len(self.streaming)})"
        )

    @property
    def under_way(self) -> int:
        """How many requests to apps are under way, those of streams not counted."""
        return self._slots.taken

    @property
    def is_configured(self) -> bool:
        """Whether there is any template."""
        return bool(self.source.current.templates)

    @property
    def is_busy(self) -> bool:
        """Whether the app is still to be told of something."""
        return bool(self._tasks)

    def open(self) -> None:
        """Begin to watch the settings file. Needs a running loop."""
        has_secrets = any(SECRET.search(item.url_template) for item in self._templates)
        if self.source.path is not None or has_secrets:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self, grace: float = 0.0) -> None:
        """Deliver what is left within `grace` seconds, then let go of everything."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        left = sum(map(len, self._tasks.values()))
        if left:
            _logger.warning(
                "upstream: the service ends before the app has answered %d of its events", left
            )
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.streaming.close()
        await self.courier.close()

    def opened(self, connection: "Connection") -> None:
        """The handshake of `connection` is done."""
        if self._finds(_event(connection, CONNECTIONS, CONNECTED)):
            self._put(connection, Opened())

    def closed(self, connection: "Connection") -> None:
        """`connection`, which was open, has ended."""
        self.streaming.lost(connection)
        if self.end_of(connection) is not None:
            self._put(connection, Ended(connection.close_reason))
        if connection.inbox is not None:
            connection.inbox.release()
        else:  # it may have been to be told, by the settings of that time
            self.settled(connection.id)

    def disown(self, connection: "Connection") -> None:
        """`connection` has ended, which another node tells the app."""
        if connection.inbox is not None:
            connection.inbox.clear()

    def end_of(self, connection: "Connection") -> Event | None:
        """What the app is to be told when `connection` ends, if it is to be told."""
        event = _event(connection, CONNECTIONS, DISCONNECTED)
        return event if self._finds(event) else None

    async def tell(self, event: Event, reason: str) -> None:
        """Tell the app of the end of a connection of another node, as that one would have."""
        outcome, template = await self._send(event, _JSON, disconnected_body(reason))
        self._note(event, outcome, template)

    def receive(self, connection: "Connection", message: Invocation | StreamInvocation) -> None:
        """The client of `connection` calls a method. Needs a template, see `is_configured`."""
        error = _refusal(message)
        if error is not None:
            self._refuse(connection, message, error)
            return
        event = _event(connection, MESSAGES, message.target)
        if self._finds(event):
            if isinstance(message, StreamInvocation):
                error = self.streaming.admit(connection, message.invocation_id)
                if error is not None:
                    self._refuse(connection, message, error)
                    return
            self._put(connection, message)
            return
        outcome = Outcome(kind=Kind.NO_TEMPLATE)
        self._note(event, outcome, None)
        if message.invocation_id is not None:
            connection.send(
                completion_for(outcome, message.invocation_id, message.target, event.hub)
            )

    @property
    def _templates(self) -> tuple[Template, ...]:
        return self.source.current.templates

    def _use(self, settings: UpstreamSettings) -> None:
        self.courier.use(settings)
        self._slots.keep(settings.templates)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.source.look()
                await self.courier.secrets.refresh()
            except Exception:
                # Clients and the settings in force must survive whatever a file does.
                _logger.exception("upstream: looking at the settings failed")

    def _finds(self, event: Event) -> bool:
        return self.courier.template_for(event) is not None

    def _put(self, connection: "Connection", pending: Pending) -> None:
        inbox = connection.inbox
        if inbox is not None:
            inbox.put(pending)
            return
        settings = self._settings
        inbox = Inbox(settings.max_upstream_backlog, settings.max_upstream_backlog_bytes)
        inbox.put(pending)
        connection.inbox = inbox
        task = asyncio.get_running_loop().create_task(self._run(connection, inbox))
        self._tasks[task] = inbox
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _run(self, connection: "Connection", inbox: Inbox) -> None:
        """Deliver what is in the inbox, one after another, until it is empty."""
        try:
            while (pending := inbox.first) is not None:
                try:
                    await self._deliver(connection, inbox, pending)
                except Exception:
                    # The connection and its next messages must survive what nobody thought of.
                    _logger.exception("upstream: a delivery failed")
                    _fail(connection, pending)
                if inbox.first is pending:
                    inbox.drop_first()
            if not connection.is_live:
                self.settled(connection.id)
        finally:
            connection.inbox = None
            inbox.clear()
            # The client could not be heard while its inbox was full.
            connection.received_at = asyncio.get_running_loop().time()

    async def _deliver(self, connection: "Connection", inbox: Inbox, pending: Pending) -> None:
        match pending:
            case Opened():
                event = _event(connection, CONNECTIONS, CONNECTED)
                outcome, template = await self._send(event, _JSON, connected_body())
                self._note(event, outcome, template)
                if template is not None and template.reject_connections:
                    _reject(connection, inbox, outcome)
            case Ended(reason=reason):
                event = _event(connection, CONNECTIONS, DISCONNECTED)
                outcome, template = await self._send(event, _JSON, disconnected_body(reason))
                self._note(event, outcome, template)
            case Invocation():
                await self._invoke(connection, pending)
            case StreamInvocation():
                await self.streaming.begin(connection, pending)

    async def _invoke(self, connection: "Connection", message: Invocation) -> None:
        codec = connection.wire.codec
        event = _event(connection, MESSAGES, message.target)
        body = invocation_body(message, codec)
        outcome, template = await self._send(event, CONTENT_TYPES[codec.name], body)
        invocation_id = message.invocation_id
        if invocation_id is None:
            self._note(event, outcome, template)
            return
        limit = min(MAX_ANSWER, self._settings.max_pending_bytes - _FRAMING)
        outcome, messages = await check_answer(outcome, invocation_id, codec, limit)
        self._note(event, outcome, template)
        if messages:
            connection.pass_on(outcome.body, len(messages))
        else:
            connection.send(completion_for(outcome, invocation_id, message.target, event.hub))

    async def _ask(
        self, connection: "Connection", message: StreamInvocation, written: Written
    ) -> list[Message]:
        """Put the call of a stream to the app. Satisfies `Ask`."""
        codec = connection.wire.codec
        stream_id = message.invocation_id
        event = _event(connection, MESSAGES, message.target, stream_id)
        template = self.courier.template_for(event)
        if template is None:
            outcome = Outcome(kind=Kind.NO_TEMPLATE)
        else:
            body = invocation_body(message, codec)
            outcome = await self.courier.deliver(
                event, template, CONTENT_TYPES[codec.name], body, written=written
            )
        limit = min(MAX_ANSWER, self._settings.max_pending_bytes - _FRAMING)
        outcome, messages = await check_answer(outcome, stream_id, codec, limit)
        self._note(event, outcome, template)
        return stream_end(outcome, messages, stream_id, message.target, event.hub, codec)

    async def _send(
        self, event: Event, content_type: str, body: bytes
    ) -> tuple[Outcome, Template | None]:
        """Deliver by the template that matches by now: settings may have changed meanwhile."""
        courier = self.courier
        while (template := courier.template_for(event)) is not None:
            async with self._slots.of(template) as slot:
                if courier.template_for(event) == template:
                    outcome = await courier.deliver(event, template, content_type, body, slot=slot)
                    return outcome, template
        return Outcome(kind=Kind.NO_TEMPLATE), None

    def _refuse(
        self, connection: "Connection", message: Invocation | StreamInvocation, error: str
    ) -> None:
        self._notices.complain(
            (error, connection.hub), f"a client of hub {connection.hub}: {error}"
        )
        if message.invocation_id is not None:
            connection.send(Completion(invocation_id=message.invocation_id, error=error))

    def _note(self, event: Event, outcome: Outcome, template: Template | None) -> None:
        """Count an outcome and write its line: what happened, and where."""
        self.outcomes[event.category, outcome.kind] += 1
        if outcome.is_success:
            if _logger.isEnabledFor(logging.DEBUG):
                _logger.debug("upstream: %s", _line(event, outcome))
            return
        text = f"{_line(event, outcome)}: {explain(outcome, event)}"
        is_missing = event.category == CONNECTIONS and outcome.status == 404
        if template is not None and template.is_optional and is_missing:
            _logger.debug("upstream: %s", text)
            return
        kind = (outcome.kind, outcome.status, outcome.where, event.hub, event.category, event.event)
        self._notices.complain(kind, text)


def _event(
    connection: "Connection", category: str, event: str, stream_id: str | None = None
) -> Event:
    access = connection.access
    return Event(
        hub=access.hub.lower(),  # one hub has one name, however its clients write it
        category=category,
        event=event,
        connection_id=connection.id,
        user_id=access.user_id,
        claims=access.claims,
        query=access.query,
        stream_id=stream_id,
    )


def _refusal(message: Invocation | StreamInvocation) -> str | None:
    """Why a call cannot be put to an app, `None` where it can."""
    if message.stream_ids:
        return CLIENT_STREAMS
    if len(message.target) > _MAX_TARGET:
        return f"Invocation failed, a method's name has at most {_MAX_TARGET} characters."
    return None


def _fail(connection: "Connection", pending: Pending) -> None:
    """End a call of which nobody knows how it went."""
    if not isinstance(pending, (Invocation, StreamInvocation)):
        return
    if pending.invocation_id is not None:
        outcome = Outcome(kind=Kind.BROKEN)
        connection.send(
            completion_for(outcome, pending.invocation_id, pending.target, connection.hub)
        )


def _reject(connection: "Connection", inbox: Inbox, outcome: Outcome) -> None:
    """Let a client go that the app does not want. The app is not told of its end."""
    if outcome.status not in _REFUSALS:
        return
    words = outcome.body[:_MAX_REASON].decode(errors="replace").strip()
    reason = words or f"The app refused the connection, status code {outcome.status}."
    _logger.info("connection %s was refused by the app: %d", connection.id, outcome.status)
    connection.close(Close(error=reason))
    inbox.clear()


def _line(event: Event, outcome: Outcome) -> str:
    """What was delivered and how it ended; the method's name is the client's, so it is quoted."""
    name = event.event[:_MAX_SHOWN]
    times = f", {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    return (
        f"{event.category}/{name!r} of hub {event.hub}: {outcome.kind.value} "
        f"after {outcome.seconds * 1000:.0f} ms{times}"
    )
