"""One hub connection of a client, from its handshake to its end, on one transport after another.

It reads, writes, pings and acknowledges. What messages mean to the app is not its affair, and it
does not reconnect: only a stateful connection gets a new transport here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Self

from hubbub.client.backlog import Backlog
from hubbub.client.dial import Link
from hubbub.client.failures import (
    ConnectError,
    ConnectionLostError,
    OverloadError,
    ServerClosedError,
)
from hubbub.client.settings import ClientSettings
from hubbub.errors import ProtocolError
from hubbub.protocol.clientcore import ClientConnection
from hubbub.protocol.messages import Close, Message, Ping
from hubbub.protocol.replay import ACK_INTERVAL

__all__ = ["Session"]

_logger = logging.getLogger("hubbub.client")
# Seconds between attempts to open a transport of the same connection, and for all of them: Azure
# keeps it for some 30 s, and a network that swallows packets lets one attempt last minutes.
_RESUME_DELAYS: Final = (0, 1, 2, 4, 8, 15)
_RESUME_TIMEOUT: Final = 35.0
_FAREWELL_TIMEOUT: Final = 1.0  # seconds
_LAST_WORDS_TIMEOUT: Final = 1.0  # seconds
_BATCH: Final = 65_536  # bytes; records that wait are joined up to here

_Sent = asyncio.Future[bool]  # whether the transport has taken what was sent


class Session:
    """One hub connection. `run` it in a task; `send` from any."""

    def __init__(
        self,
        link: Link,
        settings: ClientSettings,
        backlog: Backlog,
        receive: Callable[["Session", Message], None],
    ) -> None:
        """`receive` is called for each message that means something to the app."""
        self._link = link
        self._settings = settings
        self._backlog = backlog
        self._receive = receive
        self._core = ClientConnection(
            settings.codec, limit=settings.max_message_size, stateful=link.is_stateful
        )
        self._early: list[Message] = []  # came in the same breath as the handshake's answer
        self._outgoing: deque[tuple[bytes, _Sent | None]] = deque()
        self._news = asyncio.Event()  # for the writer
        self._room = asyncio.Event()  # for those who wait until the server has acknowledged
        self._has_transport = True
        self._lost: ConnectionLostError | None = None
        self._ack_timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Session({self._link!r}, {self._core!r})"

    @property
    def connection_id(self) -> str | None:
        """The id by which the server knows this connection, `None` without negotiation."""
        return self._link.connection_id

    async def open(self) -> Self:
        """Shake hands. Raises `ConnectionLostError` or `ProtocolError`; the transport is closed."""
        transport = self._link.transport
        try:
            async with asyncio.timeout(self._settings.handshake_timeout):
                await transport.send(self._core.request())
                while not self._core.is_open:
                    self._early.extend(self._core.receive(await transport.receive()))
        except TimeoutError:
            await transport.close()
            raise ConnectionLostError(
                "The server did not answer the handshake within "
                f"{self._settings.handshake_timeout:g} seconds."
            ) from None
        except BaseException:
            await transport.close()
            raise
        return self

    async def run(self) -> ConnectionLostError:
        """Carry messages until the connection is gone; return why. Closes the transport."""
        try:
            while True:
                try:
                    await self._carry()
                except (ServerClosedError, OverloadError) as error:
                    return self._end(error)
                except ProtocolError as error:
                    return self._end(ConnectionLostError(f"The server broke the protocol: {error}"))
                except ConnectionLostError as error:
                    lost = error
                finally:
                    self._pause()
                    await self._link.transport.close()
                if not await self._resume():
                    return self._end(lost)
        finally:
            self._end(ConnectionLostError("The connection was closed."))

    async def send(self, message: Message) -> None:
        """Send `message`; return when the transport has it, or it is kept for the next one.

        Raises `ConnectionLostError`.
        """
        await self._allowance()
        is_kept = self._core.replay is not None
        if self._lost is not None or not (self._has_transport or is_kept):
            raise self._lost or ConnectionLostError("The connection is lost.")
        data = self._core.send(message)
        if not self._has_transport:
            return  # it goes out with what else is kept
        sent: _Sent = asyncio.get_running_loop().create_future()
        self._put(data, sent)
        if not await sent and not is_kept:
            raise self._lost or ConnectionLostError("The connection was lost while sending.")

    async def farewell(self) -> None:
        """Tell the server that this client closes the connection."""
        try:
            async with asyncio.timeout(_FAREWELL_TIMEOUT):
                await self.send(Close())
        except (ConnectionLostError, TimeoutError) as error:
            _logger.debug("! the server could not be told: %s", error)

    async def _carry(self) -> None:
        """Read and write on the transport until either fails; raise why."""
        reader = asyncio.create_task(self._read(), name="hubbub client reader")
        writer = asyncio.create_task(self._write(), name="hubbub client writer")
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            # Where writing has failed, a Close message may still be there to say why.
            await asyncio.wait((reader,), timeout=_LAST_WORDS_TIMEOUT)
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.wait((reader, writer))
        errors = [task.exception() for task in (reader, writer) if not task.cancelled()]
        for error in errors:
            if error is not None:
                raise error

    # Reading.

    async def _read(self) -> None:
        transport = self._link.transport
        timeout = None if transport.keeps_alive else self._settings.server_timeout
        early, self._early = self._early, []
        self._take(early)
        while True:
            await self._backlog.room()
            try:
                async with asyncio.timeout(timeout):
                    data = await transport.receive()
            except TimeoutError:
                raise ConnectionLostError(
                    "Server timeout elapsed without receiving a message from the server."
                ) from None
            self._take(self._core.receive(data))

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if isinstance(message, Close):
                raise ServerClosedError(message.error, allow_reconnect=message.allow_reconnect)
            if not isinstance(message, Ping):
                self._receive(self, message)
        self._note_acks()

    def _note_acks(self) -> None:
        """Let go on who waited for the server's Ack; send this end's a little later."""
        replay = self._core.replay
        if replay is None:
            return
        if not replay.is_full:
            self._room.set()
        if replay.owes_ack and self._ack_timer is None:
            loop = asyncio.get_running_loop()
            self._ack_timer = loop.call_later(ACK_INTERVAL, self._acknowledge)

    def _acknowledge(self) -> None:
        self._ack_timer = None
        if self._has_transport and (data := self._core.acknowledge()):
            self._put(data)

    # Writing.

    def _put(self, data: bytes, sent: _Sent | None = None) -> None:
        self._outgoing.append((data, sent))
        self._news.set()

    async def _allowance(self) -> None:
        """Wait until the server has acknowledged enough of what is kept for it."""
        replay = self._core.replay
        while replay is not None and replay.is_full and self._lost is None:
            self._room.clear()
            with self._backlog.waiting():
                await self._room.wait()

    async def _write(self) -> None:
        transport = self._link.transport
        interval = None if transport.keeps_alive else self._settings.keep_alive
        while True:
            while self._outgoing:
                data, waiting = self._batch()
                taken = False
                try:
                    await transport.send(data)
                    taken = True
                finally:
                    _release(waiting, taken)
            self._news.clear()
            try:
                async with asyncio.timeout(interval):
                    await self._news.wait()
            except TimeoutError:
                self._put(self._core.codec.ping)

    def _batch(self) -> tuple[bytes, list[_Sent | None]]:
        """Take records that wait, as many as go into one message of the transport."""
        data, sent = self._outgoing.popleft()
        records, waiting, size = [data], [sent], len(data)
        while self._outgoing and size + len(self._outgoing[0][0]) <= _BATCH:
            data, sent = self._outgoing.popleft()
            records.append(data)
            waiting.append(sent)
            size += len(data)
        return b"".join(records), waiting

    # The end of a transport, and of the connection.

    def _pause(self) -> None:
        """There is no transport."""
        self._has_transport = False
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None

    async def _resume(self) -> bool:
        """Open another transport of this connection, where that was agreed; tell if it is open."""
        if self._core.replay is None:
            return False
        self._drop_outgoing()
        try:
            async with asyncio.timeout(_RESUME_TIMEOUT):
                return await self._reopen()
        except TimeoutError:
            return False

    async def _reopen(self) -> bool:
        for delay in _RESUME_DELAYS:
            await asyncio.sleep(delay)
            try:
                await self._link.reopen()
            except ConnectError as error:
                _logger.info("! the connection could not be resumed: %s", error)
                if error.status is not None:
                    return False  # the server has spoken: it does not know the connection any more
                continue
            self._has_transport = True
            self._put(self._core.resume())
            _logger.info("= connection %s resumed", self.connection_id)
            return True
        return False

    def _end(self, error: ConnectionLostError) -> ConnectionLostError:
        """The connection is gone for good: tell all who wait."""
        if self._lost is None:
            self._lost = error
            self._drop_outgoing()
            self._room.set()
        return self._lost

    def _drop_outgoing(self) -> None:
        _release([sent for _, sent in self._outgoing], False)
        self._outgoing.clear()


def _release(waiting: Iterable[_Sent | None], taken: bool) -> None:
    for sent in waiting:
        if sent is not None and not sent.done():
            sent.set_result(taken)
