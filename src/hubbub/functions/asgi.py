"""Serves an ASGI application behind a function: one scope a request, one lifespan for the host.

It passes messages on as they come, in both directions.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from hubbub.functions.context import Context, describe_context
from hubbub.functions.function import InvocationError

logger = logging.getLogger("hubbub.functions")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_END = 5.0  # seconds that an application has for its own end
# With 2.4 it is `send` that tells an application of a client who has left; uvicorn's never does.
_VERSIONS = {"version": "3.0", "spec_version": "2.3"}


class AsgiApp:
    """One ASGI application. Satisfies `WebApp`."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lifespan: _Lifespan | None = None

    async def serve(self, scope: Scope, receive: Receive, send: Send, context: Context) -> None:
        """Answer one request. The application's start-up runs before the first one."""
        if self._lifespan is None:
            self._lifespan = _Lifespan(self._app)
        state = await self._lifespan.started()
        given = {
            **scope,
            # Flat and nested: the original has the first, every other server the second.
            "asgi": _VERSIONS,
            "asgi.version": "2.1",
            "asgi.spec_version": "2.1",
            "root_path": "",
            "state": dict(state),
            **describe_context(context),
        }
        await self._app(given, receive, send)

    async def close(self) -> None:
        """Run the application's shutdown, if it has been started."""
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.stop()


class _Lifespan:
    """The start and the end of an application. One without a lifespan has neither."""

    def __init__(self, app: Any) -> None:
        self._state: dict[str, Any] = {}
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._inbox.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.create_task(self._run(app))

    async def _run(self, app: Any) -> None:
        scope = {"type": "lifespan", "asgi": _VERSIONS, "state": self._state}
        try:
            await app(scope, self._inbox.get, self._on_message)
        except Exception as error:  # an application may refuse the scope: it has no lifespan then
            logger.debug("The ASGI application has no lifespan: %r", error)
        finally:
            self._ended.set()
            if not self._begun.done():
                self._begun.set_result(None)

    async def _on_message(self, message: MutableMapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.failed" and not self._begun.done():
            text = message.get("message") or "it gives no reason"
            error = InvocationError(f"ASGI middleware startup failed. The application says: {text}")
            self._begun.set_exception(error)
        elif kind == "lifespan.startup.complete" and not self._begun.done():
            self._begun.set_result(None)
        elif kind.startswith("lifespan.shutdown."):
            self._ended.set()

    async def started(self) -> dict[str, Any]:
        """Wait for the start; the state that the application wants requests to have."""
        await asyncio.shield(self._begun)
        return self._state

    async def stop(self) -> None:
        """Ask the application to end, and wait a moment for it."""
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _END)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._begun.done() and not self._begun.cancelled():
            self._begun.exception()  # it was raised to who asked
