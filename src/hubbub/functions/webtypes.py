"""Functions with FastAPI's types, as `azurefunctions-extensions-http-fastapi` has them.

They read the server's own stream and are answered in parts. An app that has not imported FastAPI
does not get it imported here.
"""

import asyncio
import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import azure.functions as func

from hubbub.functions.expressions import BindingData
from hubbub.functions.function import InvocationError
from hubbub.functions.invoke import CANCELLED, DONE, Outcome
from hubbub.functions.request import HttpCall

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_REGISTRY = "azurefunctions.extensions.base"  # where the package enters its types


@dataclass(frozen=True, slots=True)
class WebTypes:
    """The types that the package has entered."""

    request: Any  # the class of what functions get
    is_response: Callable[[Any], bool]  # for the annotation of what they return

    def is_request(self, hint: Any) -> bool:
        """Whether an annotation asks for such a request."""
        return isinstance(hint, type) and issubclass(hint, self.request)

    def is_meant(self, hint: Any, returned: Any) -> bool:
        """Whether a function with these annotations, None where there is none, uses the types.

        What is not annotated gets them, as in the original, unless it returns what only the
        other types have.
        """
        if hint is not None:
            return self.is_request(hint)
        return not (isinstance(returned, type) and issubclass(returned, func.HttpResponse))

    def build(self, scope: Scope, receive: Receive, values: Mapping[str, str]) -> Any:
        """A request; `values` are the parameters of the route."""
        return self.request({**scope, "path_params": dict(values), "state": {}}, receive)

    def rebuild(self, call: HttpCall) -> Any:
        """A request that did not come by HTTP."""
        url = urlsplit(call.url())
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": call.method,
            "scheme": url.scheme or "http",
            "path": url.path,
            "raw_path": quote(url.path).encode(),
            "query_string": (urlencode(call.query) or url.query).encode(),
            "headers": [
                (n.encode("latin-1"), v.encode("latin-1")) for n, v in call.headers.items()
            ],
            "server": (url.hostname or "localhost", url.port),
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": call.body, "more_body": False}

        return self.build(scope, receive, call.route)


def imported_types() -> WebTypes | None:
    """The types, where the app has imported the package."""
    registry: Any = sys.modules.get(_REGISTRY)
    request = None if registry is None else registry.RequestTrackerMeta.get_request_type()
    if request is None:  # other packages use the registry too
        return None
    return WebTypes(request, registry.ResponseTrackerMeta.check_type)


class WebOutput:
    """The `http` output of such a function. Satisfies `OutputBinding`; encodes to a response."""

    takes_none = True
    is_sent = False

    def encode(self, value: Any) -> Any:
        """A response as it is; of anything else FastAPI makes JSON, of a text too."""
        from starlette.responses import JSONResponse, Response

        if isinstance(value, Response):
            return value
        if value is None or isinstance(value, func.HttpResponse):
            raise InvocationError(
                f"a function with a FastAPI request has returned {type(value).__name__}. Return a "
                "Response of azurefunctions.extensions.http.fastapi, a text, a dict or a list."
            )
        return JSONResponse(importlib.import_module("fastapi.encoders").jsonable_encoder(value))

    async def send(self, encoded: Any, data: BindingData) -> None:
        """Nothing: the response is sent when all other outputs are."""


async def serve_typed(
    types: WebTypes,
    values: Mapping[str, str],
    invoke: Callable[[Any], Awaitable[Outcome]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> Outcome:
    """Answer one request by `invoke`, which takes FastAPI's and tells what came of the call."""
    from starlette.requests import ClientDisconnect

    line = _Line(receive, send)
    request = types.build(scope, line.receive, values)
    try:
        outcome = await invoke(request)
        if line.has_left and isinstance(outcome.error, ClientDisconnect):
            return CANCELLED
        response = await _response(request, outcome)
        if response is None:
            return outcome
        parts = _parts_of(response)
        try:
            await response(scope, line.receive, line.send)
        finally:
            await _close(parts)
        return CANCELLED if line.has_left else DONE
    finally:
        await request.close()  # the files of a form


def _parts_of(response: Any) -> Any:
    """What a response that has not begun is made from: the app's generator, if it is one."""
    from starlette.concurrency import iterate_in_threadpool

    parts = getattr(response, "body_iterator", None)
    frame = parts.ag_frame if inspect.isasyncgen(parts) else None
    if frame is not None and frame.f_code is inspect.unwrap(iterate_in_threadpool).__code__:
        return frame.f_locals["iterator"]
    return parts


async def _close(parts: Any) -> None:
    """End a generator that is not through; without that it waits for the garbage collector."""
    if inspect.isasyncgen(parts) and parts.ag_frame is not None:
        await parts.aclose()
    elif inspect.isgenerator(parts) and parts.gi_frame is not None:
        if parts.gi_running:  # in a thread, where nobody can end it; the time limit was over
            return
        await asyncio.to_thread(parts.close)


class _Line:
    """ASGI's `receive` and `send` of one request, and whether the client has left meanwhile."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.has_left = False
        self._is_answered = False
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """The next part of the request, or that it is closed, as it is after the answer."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._is_answered:
            self.has_left = True
        return message

    async def send(self, message: Message) -> None:
        """Send one message of the response."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_answered = True
        await self._send(message)


async def _response(request: Any, outcome: Outcome) -> Any:
    """What is to be sent, or None. FastAPI's HTTPException is an answer, as FastAPI has it."""
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    if isinstance(outcome.error, HTTPException):
        handlers = importlib.import_module("fastapi.exception_handlers")
        return await handlers.http_exception_handler(request, outcome.error)
    return next((v for v in outcome.outputs.values() if isinstance(v, Response)), None)
