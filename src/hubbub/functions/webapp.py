"""`AsgiFunctionApp` and `WsgiFunctionApp`: finds the web application inside, to serve it natively.

The library's own function would hold a response back until it is complete.
"""

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import azure.functions as func

from hubbub.functions.asgi import AsgiApp
from hubbub.functions.context import Context
from hubbub.functions.threads import ThreadPool
from hubbub.functions.wsgi import WsgiApp

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class WebApp(Protocol):
    """A web application that answers requests itself, in parts."""

    async def serve(self, scope: Scope, receive: Receive, send: Send, context: Context) -> None:
        """Answer one request. Raises what the application raises."""

    async def close(self) -> None:
        """Tell the application that the host ends."""


@dataclass(frozen=True, slots=True)
class Inner:
    """The application inside of a function, before there is a host for it."""

    app: Any
    is_asgi: bool

    def build(self, pool: ThreadPool) -> WebApp:
        """The application as this host serves it; `pool` is for what is not async."""
        return AsgiApp(self.app) if self.is_asgi else WsgiApp(self.app, pool)


def find_inner(call: Callable[..., Any]) -> Inner | None:
    """The application of a function that one of the library's middlewares is behind, or None."""
    owner = getattr(call, "__self__", None)  # main = func.AsgiMiddleware(app).main
    cells = [owner] if owner is not None else _cells(call)
    for value in cells:
        for kind, is_asgi in ((func.AsgiMiddleware, True), (func.WsgiMiddleware, False)):
            app = getattr(value, "_app", None) if isinstance(value, kind) else None
            if app is not None:
                return Inner(app, is_asgi)
    return None


def _cells(call: Callable[..., Any]) -> list[Any]:
    """What the function that the library makes has closed over; an app's own are left alone."""
    if getattr(call, "__module__", "") != "azure.functions.decorators.function_app":
        return []
    return list(inspect.getclosurevars(call).nonlocals.values())
