"""`signalRTrigger`: what a service tells the app about its clients, at `/runtime/webhooks/signalr`.

It finds the function, checks the signature and answers. How an invocation runs is `invoke`'s
affair; what a webhook looks like is `hubbub.protocol.webhooks`'s.
"""

import base64
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hubbub.errors import ConfigError
from hubbub.functions.bindings import Plan
from hubbub.functions.connections import Connections, setting_name
from hubbub.functions.expressions import BindingData, Values, required_text
from hubbub.functions.function import Function, FunctionError, InvocationError
from hubbub.functions.invoke import Outcome
from hubbub.functions.response import Response
from hubbub.functions.settings import AppSettings
from hubbub.functions.threads import PoolFullError
from hubbub.protocol import challenge
from hubbub.protocol.codec import JSON
from hubbub.protocol.webhooks import (
    CONNECTED,
    CONNECTIONS,
    DISCONNECTED,
    MESSAGES,
    Webhook,
    WebhookError,
    parse_webhook,
    receive_webhook,
)

logger = logging.getLogger("hubbub.functions")

Event = tuple[str, str, str]  # hub, category and event in lower case
Invoke = Callable[[Plan, str, BindingData], Awaitable[Outcome]]
_NAMES = ("x-asrs-hub", "x-asrs-category", "x-asrs-event")
_UNSIGNED = 401
# The names of the context's members, in lower case.
_CONTEXT = frozenset(
    {
        *("arguments", "error", "category", "event", "hub", "connectionid", "userid"),
        *("headers", "query", "claims"),
    }
)


@dataclass(frozen=True, slots=True)
class Listener:
    """A function and the event that it is for."""

    plan: Plan
    setting: str  # of the service that may tell
    parameters: tuple[str, ...]  # names of the arguments, as binding expressions use them


class SignalRTriggers:
    """The functions of an app that a service's events start."""

    def __init__(self, settings: AppSettings, connections: Connections) -> None:
        self._settings = settings
        self._connections = connections
        self._listeners: dict[Event, Listener] = {}
        self._wants_full = settings.is_true("HUBBUB_FULL_WEBHOOK_SIGNATURE")

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def add(self, plan: Plan) -> None:
        """Take a function up, or a FunctionError."""
        event = _event(plan.function, self._settings)
        if event in self._listeners:
            hub, category, name = event
            raise FunctionError(
                f"Duplicated key parameter hub: {hub}, category: {category}, event: {name}. "
                f"The function '{self._listeners[event].plan.function.name}' has it already."
            )
        trigger = plan.function.trigger
        self._listeners[event] = Listener(plan, setting_name(trigger), _parameters(plan.function))

    def event_of(self, function: Function) -> Event:
        """Hub, category and event of a function that was taken up."""
        return next(
            event for event, found in self._listeners.items() if found.plan.function is function
        )

    async def answer(self, headers: Mapping[str, str], body: bytes, invoke: Invoke) -> Response:
        """The answer to one webhook; `headers` have lower-case names."""
        try:
            webhook = parse_webhook(headers, body)
            listener = self._listeners.get(_key(webhook.hub, webhook.category, webhook.event))
            if listener is None:
                return Response(404)
            self._check(listener, headers, body)
            text, members = _context(webhook, headers)
        except (WebhookError, UnicodeDecodeError, RecursionError) as error:
            # Of the last two: bytes of a client that JSON only seems to hold.
            logger.warning("A webhook was refused: %s", error)
            status = error.status if isinstance(error, WebhookError) else 400
            if isinstance(error, WebhookError) and error.challenge:
                return refusal(error.challenge)
            return Response(404 if self._is_unknown(headers, status) else status)
        outcome = await self._run(listener, webhook, text, members, invoke)
        return _response(webhook, outcome)

    def _is_unknown(self, headers: Mapping[str, str], status: int) -> bool:
        """Whether no function is for the event, which counts before what its body says."""
        names = [headers.get(name, "") for name in _NAMES]
        if status in {415, _UNSIGNED} or not all(names):
            return False
        return _key(*names) not in self._listeners

    def _check(self, listener: Listener, headers: Mapping[str, str], body: bytes) -> None:
        """Refuse a webhook that none of the service's keys has signed."""
        try:
            keys = self._connections.keys(listener.setting)
        except ConfigError as error:
            raise WebhookError(_UNSIGNED, str(error), challenge.NO_ACCESS_KEY) from None
        if keys is None:
            return
        now = int(time.time()) if self._wants_full else None
        receive_webhook(headers, body, keys, now=now)

    async def _run(
        self,
        listener: Listener,
        webhook: Webhook,
        text: str,
        members: dict[str, Any],
        invoke: Invoke,
    ) -> Outcome:
        if listener.parameters:
            try:
                arguments = _named(listener.parameters, webhook)
            except _ArgumentError as error:
                logger.warning(
                    "'%s' was not called for connection %s: %s",
                    listener.plan.function.name,
                    webhook.connection_id,
                    error,
                )
                return Outcome(error=error)
            members = arguments | members
        return await invoke(listener.plan, text, Values(members))


def refusal(wanted: str) -> Response:
    """The 401 for a webhook; `wanted` is one of the challenges, so that the service can say it."""
    return Response(_UNSIGNED, ((b"www-authenticate", wanted.encode()),))


class _ArgumentError(InvocationError):
    """The client has passed arguments that the function cannot take; it may know."""


def _named(names: tuple[str, ...], webhook: Webhook) -> dict[str, Any]:
    """The client's arguments by name, but for names that are the service's.

    What the client chooses never stands for what the service says, nor for what it leaves out: the
    user of an anonymous client.
    """
    try:
        arguments = webhook.arguments
    except WebhookError as error:  # such as a number that no float can hold
        raise _ArgumentError(str(error)) from None
    if len(arguments) != len(names):
        raise _ArgumentError(
            f"The function accept {len(names)} arguments but message provided {len(arguments)}."
        )
    given = zip(names, arguments, strict=True)
    return {name: value for name, value in given if name.lower() not in _CONTEXT}


def _event(function: Function, settings: AppSettings) -> Event:
    trigger = function.trigger
    hub = required_text(trigger, "hubName", settings)
    category = required_text(trigger, "category", settings).lower()
    event = required_text(trigger, "event", settings)
    if category not in {CONNECTIONS, MESSAGES}:
        raise FunctionError(
            f"Category {category} is not supported. Write '{CONNECTIONS}' or '{MESSAGES}'."
        )
    if category == CONNECTIONS and event.lower() not in {CONNECTED, DISCONNECTED}:
        raise FunctionError(
            f"Event {event} is not supported in connections. "
            f"Write '{CONNECTED}' or '{DISCONNECTED}'."
        )
    return _key(hub, category, event)


def _key(hub: str, category: str, event: str) -> Event:
    return hub.lower(), category.lower(), event.lower()


def _parameters(function: Function) -> tuple[str, ...]:
    names = function.trigger.option("parameterNames", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FunctionError("'parameterNames' must be a list of names.")
    if len({name.lower() for name in names}) < len(names):
        raise FunctionError("Elements in ParameterNames should be ignore case unique.")
    return tuple(names)


def _context(webhook: Webhook, headers: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The trigger's JSON text, and its members for binding expressions."""
    members: dict[str, Any] = {
        "Error": webhook.error,
        "Category": webhook.category,
        "Event": webhook.event,
        "Hub": webhook.hub,
        "ConnectionId": webhook.connection_id,
        "UserId": webhook.user_id,
        "Headers": {k: v for k, v in headers.items() if not k.startswith("content-")},
        "Query": dict(webhook.query) if headers.get("x-asrs-client-query") else None,
        "Claims": dict(webhook.claims) if headers.get("x-asrs-user-claims") else None,
    }
    rest = json.dumps(members, separators=(",", ":"))
    text = f'{{"Arguments":{_arguments(webhook)},{rest[1:]}'
    return text, {name: value for name, value in members.items() if value is not None}


def _arguments(webhook: Webhook) -> str:
    """The arguments as JSON; those of a JSON client are not opened."""
    if webhook.invocation is None:
        return "null"
    if webhook.codec is JSON:
        return bytes(webhook.invocation.arguments).decode()
    return msgspec.json.encode([_plain(value) for value in webhook.arguments]).decode()


def _plain(value: Any) -> Any:
    """A MessagePack value as JSON can say it: only text keys, and nothing of unknown kinds."""
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items() if isinstance(key, str)}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return None if isinstance(value, msgspec.msgpack.Ext) else value


def _response(webhook: Webhook, outcome: Outcome) -> Response:
    """Status and body by the kind of event. There is no content type."""
    if webhook.invocation is None:
        if isinstance(outcome.error, PoolFullError):
            return Response(503)  # nobody is refused for it, and it may be told again
        refused = webhook.event.lower() == CONNECTED and outcome.error is not None
        return Response(403 if refused else 200)
    if not webhook.wants_answer:
        return Response()
    if outcome.error is not None:
        return Response(200, (), webhook.fail(_words(outcome)))
    try:
        return Response(200, (), webhook.complete(_result(outcome.returned)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        logger.error("The result of '%s' cannot be sent to its caller: %s", webhook.event, error)
        return Response(200, (), webhook.fail("The result cannot be encoded."))


def _result(value: Any) -> Any:
    """What a function has returned, for the caller. A text stays one, even one that holds JSON."""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    return value


def _words(outcome: Outcome) -> str:
    """What the caller may know of a failure: what the app has raised, without its stack."""
    error = outcome.error
    if outcome.raised_by_app or isinstance(error, _ArgumentError):
        name = "" if isinstance(error, _ArgumentError) else f"{type(error).__name__}: "
        return f"{name}{error}".rstrip(": ")
    return "Method execution failed."


def unchecked(listeners: Iterable[Function], connections: Connections) -> Sequence[str]:
    """Warnings about settings whose webhooks cannot be checked because they have no key."""
    return [
        f"An endpoint of '{setting}' has no access key, so the signatures of its webhooks are not "
        "checked, as on Azure. Anybody who reaches this host can call the functions; run it with "
        "--enable-auth, or use an access key."
        for setting in sorted({setting_name(function.trigger) for function in listeners})
        if connections.problem(setting) is None and connections.keys(setting) is None
    ]
