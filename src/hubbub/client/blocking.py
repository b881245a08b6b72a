"""The management client for programs without an event loop: the same object, waited for.

It is one wrapper and not a second client: what `ServiceClient` can, this can.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self

from hubbub.client.management import ServiceClient

__all__ = ["SyncServiceClient"]

_WRAPPED = "hubbub.client."  # values of these modules are wrapped, others are given as they are


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="hubbub client", daemon=True
        )
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be run any more."""
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run `coroutine` there and wait for what it returns."""
        if self.is_closed:
            coroutine.close()
            raise RuntimeError("The client is closed. Make another one.")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Blocking:
    """Any object of the client: its coroutines are waited for, its async iterators are iterators.

    A value that is an object of the client in turn is wrapped in the same way.
    """

    def __init__(self, target: Any, loop: _Loop) -> None:
        self._target = target
        self._loop = loop

    def __repr__(self) -> str:
        return f"Blocking({self._target!r})"

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._call(value) if inspect.ismethod(value) else self._given(value)

    def _call(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            return self._given(method(*arguments, **options))

        return call

    def _given(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._loop.run(value)
        if inspect.isasyncgen(value):
            return self._iterate(value)
        if type(value).__module__.startswith(_WRAPPED) and not hasattr(value, "__struct_fields__"):
            return _Blocking(value, self._loop)
        return value

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items, self)

        while (item := self._loop.run(following())) is not self:
            yield item


class SyncServiceClient:
    """`ServiceClient` without `await`, for scripts and threads. Use it with `with`, or `close` it.

    Not for use inside an event loop, which it would hold up.
    """

    def __init__(self, connection: Any, **options: Any) -> None:
        """Takes what `ServiceClient` takes."""
        self._client = ServiceClient(connection, **options)
        self._loop = _Loop()

    def __repr__(self) -> str:
        return f"Sync{self._client!r}"

    def hub(self, name: str) -> Any:
        """What concerns the hub `name`: a `HubContext` whose methods block."""
        return _Blocking(self._client.hub(name), self._loop)

    def is_healthy(self) -> bool:
        """Whether the service answers, and not with an error of its own."""
        return bool(self._loop.run(self._client.is_healthy()))

    def close(self) -> None:
        """Close the HTTP connections and end the thread. Once is enough."""
        if not self._loop.is_closed:
            self._loop.run(self._client.close())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
