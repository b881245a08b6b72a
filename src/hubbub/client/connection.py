"""`HubClient`: a client of a hub, on Hubbub, on Azure SignalR Service or in an ASP.NET Core app.

It is what an app sees of the connection; `lifetime` keeps the connection.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from hubbub.client.credentials import TokenSource
from hubbub.client.failures import ConnectionLostError
from hubbub.client.handlers import Handler, Handlers
from hubbub.client.lifetime import ConnectionState, Lifetime
from hubbub.client.retry import Backoff, RetryPolicy
from hubbub.client.session import Session
from hubbub.client.settings import ClientSettings, Encoding, TransportName
from hubbub.client.uploads import split_streams
from hubbub.protocol.messages import CancelInvocation, Invocation, StreamInvocation

__all__ = ["ConnectionState", "HubClient"]

_BACKOFF: Final = Backoff()
_AnyHandler = TypeVar("_AnyHandler", bound=Handler)


class HubClient:
    """A client of one hub.

        client = HubClient("https://host/client/?hub=chat", access_token=token)

        @client.on("newMessage")
        async def show(user, text): ...

        async with client:
            await client.send("say", "hello")

    Handlers run one at a time, in the order of what they are called for; while they are slow, the
    connection is read more slowly. The client reconnects by itself unless `reconnect` is `None`;
    then, as on any loss, invocations that wait for an answer fail with `ConnectionLostError`.

    Lives in one event loop, and may be opened again after it was closed.
    """

    def __init__(
        self,
        url: str,
        *,
        access_token: TokenSource = None,
        transport: TransportName | None = None,
        encoding: Encoding = "json",
        skip_negotiation: bool = False,
        headers: Mapping[str, str] | None = None,
        reconnect: RetryPolicy | None = _BACKOFF,
        stateful: bool = False,
        keep_alive: float = 15.0,
        server_timeout: float = 30.0,
        handshake_timeout: float = 15.0,
        max_message_size: int = 16 * 1024 * 1024,
        max_backlog: int = 1024 * 1024,
    ) -> None:
        """`url` is the hub's, or that of an app that negotiates; the rest is `ClientSettings`.

        Raises `ConfigError` where settings are wrong or do not go together.
        """
        self._settings = ClientSettings(
            url=url,
            access_token=access_token,
            transport=transport,
            encoding=encoding,
            skip_negotiation=skip_negotiation,
            headers=dict(headers or {}),
            reconnect=reconnect,
            stateful=stateful,
            keep_alive=keep_alive,
            server_timeout=server_timeout,
            handshake_timeout=handshake_timeout,
            max_message_size=max_message_size,
            max_backlog=max_backlog,
        )
        self._handlers = Handlers()
        self._lifetime: Lifetime | None = None

    def __repr__(self) -> str:
        return f"HubClient({self.state}, id={self.connection_id!r})"

    # The connection.

    @property
    def state(self) -> ConnectionState:
        """Where the connection is in its life."""
        return self._lifetime.state if self._lifetime else ConnectionState.DISCONNECTED

    @property
    def connection_id(self) -> str | None:
        """The id by which the hub knows this connection, `None` while there is none.

        It changes with each reconnect, and stays `None` where negotiation is skipped.
        """
        session = self._lifetime.session if self._lifetime else None
        return session.connection_id if session is not None else None

    async def open(self) -> None:
        """Connect. Does not try again by itself where it fails.

        Raises `ConnectError` where the server cannot be reached or refuses, `ProtocolError` where
        it is no hub, `RuntimeError` where the client is open.
        """
        if self.state is not ConnectionState.DISCONNECTED:
            raise RuntimeError(f"The client is {self.state.lower()}; close it before it is opened.")
        self._lifetime = Lifetime(self._settings, self._handlers)
        await self._lifetime.open()

    async def close(self) -> None:
        """Disconnect, cancel the handler that runs, and call those of `on_closed`.

        A client that is closed stays so. A handler may call this: it is not cancelled then, and
        the client is closed when it returns.
        """
        if self._lifetime is not None:
            await self._lifetime.close()

    async def wait_closed(self) -> None:
        """Wait until the client is closed, by whichever side.

        Raises `ConnectionLostError`, or why reconnecting failed, where that was an error.
        """
        lifetime = self._lifetime
        if lifetime is not None:
            await lifetime.wait_closed()
            if lifetime.error is not None:
                raise lifetime.error

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # What the hub asks of this client.

    def on(self, target: str) -> Callable[[_AnyHandler], _AnyHandler]:
        """Decorate a handler for invocations of `target`, plain or async.

        It is called with the arguments. What it returns is the result, where the hub asks for one.
        """

        def add(handler: _AnyHandler) -> _AnyHandler:
            self._handlers.add(target, handler)
            return handler

        return add

    def off(self, target: str, handler: Handler | None = None) -> None:
        """Call `handler`, or without one any, no longer for `target`."""
        self._handlers.remove(target, handler)

    def on_unhandled(self, handler: _AnyHandler) -> _AnyHandler:
        """Decorate a handler for targets without one: called with the target and the arguments."""
        self._handlers.unhandled.append(handler)
        return handler

    def on_reconnecting(self, handler: _AnyHandler) -> _AnyHandler:
        """Decorate a handler for a lost connection: called with the error."""
        self._handlers.reconnecting.append(handler)
        return handler

    def on_reconnected(self, handler: _AnyHandler) -> _AnyHandler:
        """Decorate a handler for a connection that is there again: called with its id.

        To the hub this is a new connection: it is in no group.
        """
        self._handlers.reconnected.append(handler)
        return handler

    def on_closed(self, handler: _AnyHandler) -> _AnyHandler:
        """Decorate a handler for the end: called with the error, `None` where there is none."""
        self._handlers.closed.append(handler)
        return handler

    # What this client asks of the hub. An argument that is an async iterable becomes a stream.

    async def send(self, target: str, *arguments: Any) -> None:
        """Invoke `target` without waiting for an answer; return when it is on its way.

        Raises `ConnectionLostError`. Streams among the arguments go on in the background.
        """
        lifetime, session = self._connected()
        plain, streams = split_streams(arguments, lifetime.invocations.next_id)
        await session.send(
            Invocation(
                target=target,
                arguments=self._settings.codec.encode_value(plain),
                stream_ids=tuple(streams),
            )
        )
        lifetime.uploads.start(streams, session.send)

    async def invoke(
        self,
        target: str,
        *arguments: Any,
        timeout: float | None = None,  # noqa: ASYNC109 the sentence of its error names the target
    ) -> Any:
        """Invoke `target` and return its result, `None` where it has none.

        Raises `HubError` where the hub says so, `ConnectionLostError` where the connection is lost
        first, and `TimeoutError` after `timeout` seconds.
        """
        lifetime, session = self._connected()
        plain, streams = split_streams(arguments, lifetime.invocations.next_id)
        raw = self._settings.codec.encode_value(plain)
        pending = lifetime.invocations.expect_result()
        uploads: Sequence[asyncio.Task[None]] = ()
        try:
            async with asyncio.timeout(timeout):
                await session.send(
                    Invocation(
                        target=target,
                        arguments=raw,
                        invocation_id=pending.id,
                        stream_ids=tuple(streams),
                    )
                )
                uploads = lifetime.uploads.start(streams, session.send)
                with lifetime.backlog.waiting():
                    return await pending.result()
        except TimeoutError:
            raise TimeoutError(f"{target!r} was not answered within {timeout} seconds.") from None
        finally:
            lifetime.invocations.forget(pending.id)
            await lifetime.uploads.stop(uploads)

    async def stream(self, target: str, *arguments: Any) -> AsyncGenerator[Any, None]:
        """Invoke `target` and yield its items. It is invoked when the first one is asked for.

        Raises as `invoke` does. Who leaves the loop early cancels the stream at the hub.
        """
        lifetime, session = self._connected()
        plain, streams = split_streams(arguments, lifetime.invocations.next_id)
        raw = self._settings.codec.encode_value(plain)
        pending = lifetime.invocations.expect_stream()
        uploads: Sequence[asyncio.Task[None]] = ()
        try:
            await session.send(
                StreamInvocation(
                    target=target,
                    arguments=raw,
                    invocation_id=pending.id,
                    stream_ids=tuple(streams),
                )
            )
            uploads = lifetime.uploads.start(streams, session.send)
            while (item := await pending.next()) is not None:
                yield self._settings.codec.decode_value(item)
        finally:
            lifetime.invocations.forget(pending.id)
            await lifetime.uploads.stop(uploads)
            if not pending.has_ended:
                await _cancel(session, pending.id)

    def _connected(self) -> tuple[Lifetime, Session]:
        lifetime = self._lifetime
        if lifetime is None or lifetime.session is None:
            raise ConnectionLostError(
                f"The client is {self.state.lower()}, and this needs a connection."
            )
        return lifetime, lifetime.session


async def _cancel(session: Session, invocation_id: str) -> None:
    with suppress(ConnectionLostError):  # then the hub has noticed
        await session.send(CancelInvocation(invocation_id=invocation_id))
