"""From a client's open to its close: keeps a session alive, reconnects, hands messages on.

It opens and runs sessions; what the app may ask of it is in `connection`.
"""

import asyncio
import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import aiohttp

from hubbub.client.answers import answer
from hubbub.client.backlog import Backlog
from hubbub.client.dial import dial
from hubbub.client.failures import ConnectionLostError, ServerClosedError
from hubbub.client.handlers import Dispatcher, Handler, Handlers, Job, call
from hubbub.client.invocations import Invocations
from hubbub.client.session import Session
from hubbub.client.settings import ClientSettings
from hubbub.client.uploads import Uploads
from hubbub.client.web import describe
from hubbub.errors import HubbubError
from hubbub.protocol.messages import Completion, Invocation, Message, StreamItem

__all__ = ["ConnectionState", "Lifetime"]

_logger = logging.getLogger("hubbub.client")
# Seconds. A connection that is lost sooner does not start the delays of reconnecting anew, or a
# server that accepts and then drops everybody would be called without pause.
_STABLE: Final = 5.0


class ConnectionState(StrEnum):
    """Where a client's connection is in its life. The names are the JavaScript client's."""

    DISCONNECTED = "Disconnected"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    DISCONNECTING = "Disconnecting"
    RECONNECTING = "Reconnecting"


class Lifetime:
    """What lives from open to close. Made in a running event loop; `open` comes first."""

    def __init__(self, settings: ClientSettings, handlers: Handlers) -> None:
        self.state = ConnectionState.CONNECTING
        self.session: Session | None = None
        self.error: HubbubError | None = None  # why the connection has ended, None if as wanted
        self.backlog = Backlog(
            limit=settings.max_backlog,
            most=settings.max_backlog + 4 * settings.max_message_size,
        )
        self.invocations = Invocations(settings.codec, self.backlog)
        self.uploads = Uploads(settings.codec)
        self._settings = settings
        self._handlers = handlers
        # Streams of events and sockets last: what may take how long is said for each request.
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        self._dispatcher = Dispatcher()
        self._opening: asyncio.Task[Session] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._is_finishing = False
        self._attempt = 0  # to reconnect

    def __repr__(self) -> str:
        return f"Lifetime({self.state}, {self.session!r}, {self.backlog!r})"

    async def open(self) -> None:
        """Connect and go on in the background. Raises where it fails; then there is nothing left.

        A `close` meanwhile makes this raise `ConnectionLostError`.
        """
        self._opening = asyncio.create_task(self._connect(), name="hubbub client opening")
        try:
            session = await self._opening
        except BaseException as error:
            was_closed = self.state is ConnectionState.DISCONNECTING
            self.state = ConnectionState.DISCONNECTED
            await self._dispatcher.stop()
            await self._http.close()
            if was_closed and isinstance(error, asyncio.CancelledError):
                raise ConnectionLostError("The client was closed while it connected.") from None
            raise
        self._enter(session)
        self._runner = asyncio.create_task(self._run(session), name="hubbub client")

    async def close(self) -> None:
        """End the connection, from whatever state. Called by a handler, it ends after that."""
        runner = self._runner or self._opening
        if runner is not None and not runner.done():
            self.state = ConnectionState.DISCONNECTING
            if self.session is not None:
                await self.session.farewell()
        if self._dispatcher.is_current:
            # Waiting here would be the handler's for its own end.
            self._dispatcher.stop_soon(self._cancel)
            return
        self._cancel()
        if runner is not None:
            await asyncio.wait((runner,))
        await self._dispatcher.stop()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone for good, and what it has brought is dealt with."""
        if self._runner is not None:
            await asyncio.wait((self._runner,))
        await self._dispatcher.wait_ended()

    def _cancel(self) -> None:
        runner = self._runner or self._opening
        if runner is not None and not self._is_finishing:
            runner.cancel()

    # The connection.

    async def _connect(self) -> Session:
        link = await dial(self._http, self._settings)
        return await Session(link, self._settings, self.backlog, self._receive).open()

    def _enter(self, session: Session) -> None:
        self.session = session
        self.state = ConnectionState.CONNECTED
        _logger.info("= connected to %s as %s", describe(self._settings.url), session.connection_id)

    async def _run(self, session: Session | None) -> None:
        try:
            while session is not None:
                entered = asyncio.get_running_loop().time()
                lost = await session.run()
                await self._leave(lost)
                if asyncio.get_running_loop().time() - entered >= _STABLE:
                    self._attempt = 0
                session = await self._reconnect(lost) if self._may_reconnect(lost) else None
        except Exception as error:
            # A defect of this client: the app is told that its connection is gone.
            _logger.exception("The client failed.")
            self.error = ConnectionLostError(f"The client failed: {error!r}")
        finally:
            await self._finish()

    async def _leave(self, lost: HubbubError) -> None:
        """The session is gone: whatever waited for it has failed."""
        self.session = None
        self.invocations.fail(lost)
        await self.uploads.stop()

    def _may_reconnect(self, lost: ConnectionLostError) -> bool:
        if self.state is ConnectionState.DISCONNECTING:
            return False
        if isinstance(lost, ServerClosedError) and not lost.allow_reconnect:
            self.error = lost if lost.error is not None else None
            return False
        if self._settings.reconnect is None:
            self.error = lost
            return False
        return True

    async def _reconnect(self, lost: HubbubError) -> Session | None:
        """Connect again as often as the policy says, `None` where it gives up."""
        assert self._settings.reconnect is not None
        self.state = ConnectionState.RECONNECTING
        _logger.info("! reconnecting: %s", lost)
        self._dispatcher.put(_announcement(self._handlers.reconnecting, "reconnecting", lost))
        loop = asyncio.get_running_loop()
        started, error = loop.time(), lost
        while True:
            delay = self._settings.reconnect.delay(self._attempt, loop.time() - started, error)
            if delay is None:
                self.error = error
                return None
            await asyncio.sleep(delay)
            self._attempt += 1
            try:
                session = await self._connect()
            except HubbubError as failure:
                _logger.info("! attempt %d to reconnect failed: %s", self._attempt, failure)
                error = failure
                continue
            self._enter(session)
            self._dispatcher.put(
                _announcement(self._handlers.reconnected, "reconnected", session.connection_id)
            )
            return session

    async def _finish(self) -> None:
        """The connection is gone for good."""
        self._is_finishing = True
        await self._leave(self.error or ConnectionLostError("The connection was closed."))
        await self._http.close()
        self.state = ConnectionState.DISCONNECTED
        _logger.info("= closed: %s", self.error or "in good order")
        self._dispatcher.end(_announcement(self._handlers.closed, "closed", self.error))

    # What arrives, and who is told.

    def _receive(self, session: Session, message: Message) -> None:
        match message:
            case Invocation():
                self.backlog.add(len(message.arguments))
                self._dispatcher.put(lambda: self._answer(session, message))
            case StreamItem() | Completion():
                self.invocations.receive(message)
            case _:
                _logger.debug("< %s, which a client has no use for", type(message).__name__)

    async def _answer(self, session: Session, message: Invocation) -> None:
        try:
            await answer(message, self._handlers, self._settings.codec, session.send)
        finally:
            self.backlog.remove(len(message.arguments))


def _announcement(handlers: Sequence[Handler], what: str, argument: Any) -> Job:
    async def announce() -> None:
        await call(tuple(handlers), what, argument)

    return announce
