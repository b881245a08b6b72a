"""Whether a connection, a user or a group is there: 200, or 404 with the code that SDKs expect."""

from hubbub.service.calls import Call, RestError

__all__ = ["connection_exists", "group_exists", "user_exists", "user_is_in_group"]


async def connection_exists(call: Call) -> None:
    """HEAD /api/hubs/{hub}/connections/{connectionId}"""
    if call.connection() is None:
        raise _absent(call, "connectionId", "Connection")


async def user_exists(call: Call) -> None:
    """HEAD /api/hubs/{hub}/users/{user}: whether it has a connection"""
    hub = call.local_hub
    if hub is None or call.names["user"] not in hub.users:
        raise _absent(call, "user", "User")


async def group_exists(call: Call) -> None:
    """HEAD /api/hubs/{hub}/groups/{group}: whether a connection is in it"""
    hub = call.local_hub
    if hub is None or call.names["group"] not in hub.groups:
        raise _absent(call, "group", "Group")


async def user_is_in_group(call: Call) -> None:
    """HEAD /api/hubs/{hub}/users/{user}/groups/{group}, whether or not the user is connected"""
    user, group = call.names["user"], call.names["group"]
    if group not in await call.node.store.groups_of(call.hub, user):
        raise RestError(
            404, f"User {user!r} is not in group {group!r}.", code="Info.User.NotInGroup"
        )


def _absent(call: Call, field: str, scope: str) -> RestError:
    return RestError(
        404,
        f"There is no {scope.lower()} {call.names[field]!r}.",
        code=f"Warning.{scope}.NotExisted",
        target=field,
    )
