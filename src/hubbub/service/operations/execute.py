"""Commands for the connections that a filter chooses: send, join, leave, close, in that order."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from hubbub.service.calls import Call, RestError, parse_name_text
from hubbub.service.operations.close import end
from hubbub.service.payload import Payload, decode_invocation
from hubbub.service.registry import Hub
from hubbub.service.router import Envelope, Several
from hubbub.service.selection import read_filter, select
from hubbub.service.session import Connection

__all__ = ["execute"]

_MAX_COMMANDS: Final = 100
_TYPES: Final = "SendMessage, JoinGroup, LeaveGroup or CloseConnection"


class _Command(Struct, tag_field="type"):
    """One of the commands that a body may list."""


class _SendMessage(_Command, tag="SendMessage"):
    message: Raw


class _JoinGroup(_Command, tag="JoinGroup"):
    group: str


class _LeaveGroup(_Command, tag="LeaveGroup"):
    group: str


class _CloseConnection(_Command, tag="CloseConnection"):
    reason: str | None = None


_AnyCommand = _SendMessage | _JoinGroup | _LeaveGroup | _CloseConnection
_decoder: Final[msgspec.json.Decoder[list[_AnyCommand]]] = msgspec.json.Decoder(list[_AnyCommand])
_Action = Callable[[Hub, Sequence[Connection]], None]


async def execute(call: Call) -> None:
    """POST /api/hubs/{hub}/:execute"""
    accepts = read_filter(call.query.text("filter"))
    actions = [_action(call, command) for command in _commands(await call.body())]
    hub = call.local_hub
    if hub is None:
        return
    ids = [connection.id async for connection in select(hub.connections.snapshot(), accepts)]
    # Some may have gone meanwhile, and the hub with them.
    hub = call.local_hub
    if hub is None:
        return
    chosen = [found for each in ids if (found := hub.connections.find(each)) is not None]
    for action in actions:
        action(hub, chosen)


def _commands(body: bytes) -> list[_AnyCommand]:
    if not body:
        raise RestError(400, "Message in request body is required.", target="body")
    try:
        body.decode()
        commands = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RestError(
            400, f'The body is [{{"type": …}}, …], each type {_TYPES}: {error}', target="body"
        ) from None
    if len(commands) > _MAX_COMMANDS:
        raise RestError(
            400, f"A body has at most {_MAX_COMMANDS} commands, not {len(commands)}.", target="body"
        )
    return commands


def _action(call: Call, command: _AnyCommand) -> _Action:
    """What a command does, checked before anything is done."""
    match command:
        case _SendMessage(message=message):
            return _send(call, decode_invocation(bytes(message)))
        case _JoinGroup(group=group):
            return _join(call, parse_name_text("group", group))
        case _LeaveGroup(group=group):
            return _leave(call, parse_name_text("group", group))
        case _CloseConnection(reason=reason):
            return lambda hub, chosen: end(hub, chosen, reason)


def _send(call: Call, payload: Payload) -> _Action:
    def send(hub: Hub, chosen: Sequence[Connection]) -> None:
        address = Several(hub.name, tuple(connection.id for connection in chosen))
        call.node.router.deliver(Envelope(address, payload.message()))

    return send


def _join(call: Call, group: str) -> _Action:
    def join(hub: Hub, chosen: Sequence[Connection]) -> None:
        for connection in chosen:
            call.node.registry.add_to_group(hub, group, connection)

    return join


def _leave(call: Call, group: str) -> _Action:
    def leave(hub: Hub, chosen: Sequence[Connection]) -> None:
        for connection in chosen:
            call.node.registry.remove_from_group(hub, group, connection)

    return leave
