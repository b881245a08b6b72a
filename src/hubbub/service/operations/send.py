"""Sending: to a hub, a group, a user or a connection. Nobody there is no error."""

from hubbub.service.calls import Call
from hubbub.service.payload import decode_payload
from hubbub.service.router import Address, Envelope, Everyone, Group, One, User

__all__ = [
    "send_to_all",
    "send_to_connection",
    "send_to_group",
    "send_to_groups",
    "send_to_user",
    "send_to_users",
]


async def send_to_all(call: Call) -> None:
    """POST /api/hubs/{hub}/:send"""
    await _send(call, Everyone(call.hub))


async def send_to_group(call: Call) -> None:
    """POST /api/hubs/{hub}/groups/{group}/:send"""
    await _send(call, Group(call.hub, call.names["group"]))


async def send_to_user(call: Call) -> None:
    """POST /api/hubs/{hub}/users/{user}/:send"""
    await _send(call, User(call.hub, call.names["user"]))


async def send_to_connection(call: Call) -> None:
    """POST /api/hubs/{hub}/connections/{connectionId}/:send"""
    await _send(call, One(call.hub, call.names["connectionId"]))


async def send_to_groups(call: Call) -> None:
    """POST /api/v1-preview/hub/{hub}/groups/{groups}, whose name is a list with commas"""
    await _send(call, *(Group(call.hub, name) for name in _names(call, "groups")))


async def send_to_users(call: Call) -> None:
    """POST /api/v1-preview/hub/{hub}/users/{users}, whose name is a list with commas"""
    await _send(call, *(User(call.hub, name) for name in _names(call, "users")))


async def _send(call: Call, *addresses: Address) -> None:
    body = await call.body()
    message = decode_payload(body, call.content_type()).message()
    excluded = call.query.values("excluded")
    for address in addresses:
        call.node.router.deliver(Envelope(address, message, excluded))


def _names(call: Call, kind: str) -> list[str]:
    return [name for name in call.names[kind].split(",") if name]
