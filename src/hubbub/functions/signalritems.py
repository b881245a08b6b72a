"""What one item of a `signalR` output asks for: a message, or a change of a group.

The shapes and the decision are the original extension's. Nothing is sent here.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from hubbub.functions.function import InvocationError

_ACTIONS = ("add", "remove", "removeall")  # in the order of the original's numbers
_SHAPES = (
    "A message needs a 'target' and takes 'arguments' (a list) and one of 'connectionId', "
    "'userId', 'groupName'; a group action needs 'action' (add, remove or removeAll) and "
    "'connectionId' or 'userId'."
)
# Name, URL and kind of each endpoint that an item is for.
Identities = frozenset[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Message:
    """An invocation of `target` on some clients."""

    target: str
    arguments: tuple[Any, ...]
    audience: Literal["all", "connection", "user", "group"]
    name: str  # of the connection, user or group; "" for all
    endpoints: Identities | None = None  # None: all of the setting's


@dataclass(frozen=True, slots=True)
class GroupAction:
    """A connection's or a user's entry into a group, or its leaving."""

    action: str  # "add", "remove" or "removeall"
    member: Literal["connection", "user"]
    name: str  # of the member
    group: str  # "" for removeall
    endpoints: Identities | None = None  # None: all of the setting's


def parse_item(item: Any) -> Message | GroupAction:
    """Decide what the item is: a message is tried first, then a group action."""
    if not isinstance(item, dict):
        raise InvocationError(f"Unsupport Binding Type. Each item must be an object. {_SHAPES}")
    members = {str(key).lower(): value for key, value in item.items()}
    try:
        parsed = _message(members) or _group_action(members)
        endpoints = _endpoints(members.get("endpoints"))
    except _BadShape:
        parsed = endpoints = None
    if parsed is None:
        raise InvocationError(
            "Unable to convert JObject to valid output binding type, check parameters. "
            f"The item has {', '.join(map(repr, item)) or 'no members'}. {_SHAPES}"
        )
    return parsed if endpoints is None else replace(parsed, endpoints=endpoints)


class _BadShape(Exception):
    """A member has the wrong type for the shape that is tried."""


def _text(members: dict[str, Any], name: str) -> str:
    """A member as text; absent, null and empty are all "not set"."""
    value = members.get(name)
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise _BadShape
    if isinstance(value, bool):
        return "True" if value else "False"
    return str(value)


def _message(members: dict[str, Any]) -> Message | None:
    """The message, or None where the item does not have the shape of one."""
    try:
        if members.get("target") is None:
            return None
        target = _text(members, "target")
        connection, user = _text(members, "connectionid"), _text(members, "userid")
        group = _text(members, "groupname")
    except _BadShape:
        return None
    arguments = members.get("arguments")
    if arguments is not None and not isinstance(arguments, list):
        return None
    if not target:
        raise InvocationError("Argument cannot be null or empty. Give the message a 'target'.")
    values = tuple(arguments or ())
    if connection:
        return Message(target, values, "connection", connection)
    if user:
        return Message(target, values, "user", user)
    if group:
        return Message(target, values, "group", group)
    return Message(target, values, "all", "")


def _group_action(members: dict[str, Any]) -> GroupAction | None:
    action = _action(members.get("action"))
    if action is None:
        return None
    connection, user = _text(members, "connectionid"), _text(members, "userid")
    group = _text(members, "groupname")
    if not connection and not user:
        raise InvocationError("ConnectionId and UserId cannot be null or empty together")
    if not group and action != "removeall":
        raise InvocationError(f"groupName cannot be null or empty for the action '{action}'")
    if connection:
        return GroupAction(action, "connection", connection, group)
    return GroupAction(action, "user", user, group)


def _action(value: Any) -> str | None:
    """The action by its name in any case, or by the number that stands for it."""
    text = "" if value is None or isinstance(value, bool) else str(value).lower()
    if text in _ACTIONS:
        return text
    return _ACTIONS[int(text)] if text in {"0", "1", "2"} else None


def _endpoints(value: Any) -> Identities | None:
    """The endpoints that an item names, as `signalREndpoints` has delivered them."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise _BadShape
    return frozenset(_identity(entry) for entry in value)


def _identity(entry: Any) -> tuple[str, str, str]:
    if not isinstance(entry, dict):
        raise _BadShape
    members = {str(key).lower(): value for key, value in entry.items()}
    kind = str(members.get("endpointtype", "")).lower()
    return (
        _text(members, "name"),
        _text(members, "endpoint").lower().rstrip("/"),
        "Secondary" if kind in {"secondary", "1"} else "Primary",
    )
