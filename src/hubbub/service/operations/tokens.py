"""Tokens for clients, and for holders of an Entra token a key to sign such tokens with."""

import time
from typing import Final

from hubbub.errors import ConfigError
from hubbub.protocol.endpoints import format_connection_string, parse_connection_string
from hubbub.protocol.tokens import issue_client_token
from hubbub.service.calls import Answer, Call, RestError
from hubbub.service.operations.presence import origin_of

__all__ = ["generate_token"]

_DEFAULT_MINUTES: Final = 60
_MAX_MINUTES: Final = 2**31 - 1  # int32 (swagger)


async def generate_token(call: Call) -> Answer | None:
    """POST /api/hubs/{hub}/:generateToken"""
    user_id = call.query.text("userId")
    minutes = call.query.integer("minutesToExpire", least=1, most=_MAX_MINUTES)
    key = call.node.settings.access_keys[0]
    try:
        endpoint = parse_connection_string(format_connection_string(origin_of(call), key))
    except (ConfigError, ValueError):
        raise RestError(400, "The Host header is no host.", target="Host") from None
    try:
        token = issue_client_token(
            endpoint,
            call.hub,
            now=int(time.time()),
            lifetime=(minutes or _DEFAULT_MINUTES) * 60,
            user_id=user_id,
        )
    except ConfigError:
        raise RestError(400, "The userId is too long for a token.", target="userId") from None
    return Answer.json({"token": token})
