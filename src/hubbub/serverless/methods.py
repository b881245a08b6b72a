"""What of a hub's class clients can call, and how one call of it goes.

A class that clients could not use as it is written is refused when it is made.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from hubbub.errors import ConfigError
from hubbub.protocol.webhooks import CONNECTED, CONNECTIONS, DISCONNECTED, MESSAGES
from hubbub.serverless.arguments import Parameters, parameters_of, plain
from hubbub.serverless.context import InvocationContext, entered, parse_trigger
from hubbub.serverless.filters import Check, pass_all, pass_all_plainly
from hubbub.serverless.naming import target_of
from hubbub.serverless.streaming import (
    check_way,
    failing,
    failing_async,
    send_items,
    send_items_async,
    streams,
)

__all__ = ["HubMethod", "function_for", "methods_of"]

_EVENTS: Final[Mapping[str, str]] = {"on_connected": CONNECTED, "on_disconnected": DISCONNECTED}


class HubMethod(Struct, frozen=True):
    """One method of a hub and the event that it is for."""

    name: str
    function: Callable[..., Any]
    category: str
    event: str
    parameters: Parameters


def methods_of(hub: type, reserved: Iterable[str], above: type) -> tuple[HubMethod, ...]:
    """The public methods of `hub` that are not those of `above`. Raises `ConfigError`."""
    methods: dict[str, HubMethod] = {}
    for name in dir(hub):
        owner = next(kind for kind in hub.__mro__ if name in vars(kind))
        if name.startswith("_") or issubclass(above, owner):
            continue
        place = f"{hub.__name__}.{name}"
        found = vars(owner)[name]
        if name in reserved and (name != "hub_name" or owner is hub):  # each class above has one
            raise ConfigError(
                f"{place} hides what every ServerlessHub has under that name. Rename it; clients "
                f"still call it {name!r} with @target({name!r}) above it."
            )
        if not inspect.isfunction(found):
            continue  # properties, constants, static methods: an app's own affair
        method = _method(name, found, place)
        key = f"{method.category} {method.event}".lower()
        if key in methods:
            raise ConfigError(
                f"{place} and {hub.__name__}.{methods[key].name} are both for {method.event!r}, "
                "ignoring case. Rename one, or give it another name for clients with @target."
            )
        methods[key] = method
    return tuple(methods.values())


def _method(name: str, function: Callable[..., Any], place: str) -> HubMethod:
    parameters = parameters_of(function, place)
    if name not in _EVENTS:
        return HubMethod(name, function, MESSAGES, target_of(function, name), parameters)
    if parameters.listed or parameters.rest is not None:
        raise ConfigError(f"{place} takes no arguments: what is known is in self.context.")
    if streams(function):
        raise ConfigError(f"{place} yields, but nobody waits for items of it. Let it return.")
    return HubMethod(name, function, CONNECTIONS, _EVENTS[name], parameters)


def function_for(
    hub: Any, method: HubMethod, checks: tuple[Check, ...], service: Callable[[], Any]
) -> Callable[[str], Any]:
    """The function that a host calls with the trigger's JSON.

    `service` gives the hub as the service's client has it, for the loop or thread that it is called
    in.
    """
    # A coroutine function only for what awaits: hosts call all others in a thread of their own.
    if inspect.iscoroutinefunction(method.function) or inspect.isasyncgenfunction(method.function):

        async def run(invocation: str) -> Any:
            with entered(parse_trigger(invocation)) as context:
                call = _Call(hub, method, context, service)
                async with failing_async(call.listener, context.stream_id):
                    await pass_all(checks, context)
                    if not call.is_stream:
                        return plain(await call.begin())
                    return await send_items_async(call.begin(), call.listener, context.stream_id)

        return run

    def run_plain(invocation: str) -> Any:
        with entered(parse_trigger(invocation)) as context:
            call = _Call(hub, method, context, service)
            with failing(call.listener, context.stream_id):
                pass_all_plainly(checks, context)
                if not call.is_stream:
                    return plain(call.begin())
                return send_items(call.begin(), call.listener, context.stream_id)

    return run_plain


class _Call(Struct, frozen=True):
    """One call of a method."""

    hub: Any
    method: HubMethod
    context: InvocationContext
    service: Callable[[], Any]

    @property
    def is_stream(self) -> bool:
        return streams(self.method.function)

    def begin(self) -> Any:
        """Call the method: its result, or what has to be awaited or gone through for it."""
        check_way(self.context, is_stream=self.is_stream)
        arguments = self.method.parameters.bind(self.method.event, self.context.arguments)
        return self.method.function(self.hub, *arguments)

    def listener(self) -> Any:
        """The client that calls."""
        return self.service().clients.client(self.context.connection_id)
