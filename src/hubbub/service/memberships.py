"""Which users are in which groups, and until when: plain values in memory, with time as argument.

It knows no connections. A store keeps one of these as what it answers from.
"""

import heapq
from typing import Final, NamedTuple

__all__ = ["NO_LIMIT_SECONDS", "Membership", "Memberships"]

# REST API reference: a membership without TTL lasts up to a year, and of these a user keeps the
# newest 100.
NO_LIMIT_SECONDS: Final = 365 * 24 * 3600
MAX_UNTIMED: Final = 100
# The queue of ends is made anew when it holds this many times more than there are memberships.
_MAX_STALE_RATIO: Final = 4


class Membership(NamedTuple):
    """A user in a group until `expires`, in Unix seconds. Untimed ones make room for newer ones."""

    expires: float
    is_timed: bool


_User = tuple[str, str]  # hub, user


class Memberships:
    """Users in groups, by hub. All functions take effect at once."""

    def __init__(self) -> None:
        self._groups: dict[_User, dict[str, Membership]] = {}
        self._ends: list[tuple[float, _User, str]] = []
        self._count = 0

    def __repr__(self) -> str:
        return f"Memberships({self._count})"

    def __len__(self) -> int:
        return self._count

    def of(self, hub: str, user: str, now: float) -> dict[str, Membership]:
        """The groups of a user that have not ended, by name, oldest untimed ones first."""
        groups = self._groups.get((hub, user))
        if groups is None:
            return {}
        return {group: each for group, each in groups.items() if each.expires > now}

    def add(self, hub: str, user: str, group: str, membership: Membership) -> list[str]:
        """Put a user into a group, anew where it is in it; return which groups had to make room."""
        key = (hub, user)
        groups = self._groups.setdefault(key, {})
        self._count += group not in groups
        groups.pop(group, None)  # so that it becomes the newest
        groups[group] = membership
        heapq.heappush(self._ends, (membership.expires, key, group))
        if len(self._ends) > _MAX_STALE_RATIO * self._count + MAX_UNTIMED:
            self._ends = [
                (each.expires, user_key, name)
                for user_key, members in self._groups.items()
                for name, each in members.items()
            ]
            heapq.heapify(self._ends)
        if membership.is_timed:
            return []
        untimed = [name for name, each in groups.items() if not each.is_timed]
        displaced = untimed[: max(len(untimed) - MAX_UNTIMED, 0)]
        for name in displaced:
            self.remove(hub, user, name)
        return displaced

    def remove(self, hub: str, user: str, group: str) -> bool:
        """Take a user out of a group; false where it was not in it."""
        key = (hub, user)
        groups = self._groups.get(key, {})
        if groups.pop(group, None) is None:
            return False
        self._count -= 1
        if not groups:
            del self._groups[key]
        return True

    def remove_all(self, hub: str, user: str) -> None:
        """Take a user out of all groups."""
        self._count -= len(self._groups.pop((hub, user), ()))

    def expire(self, now: float) -> None:
        """Forget what has ended. Costs nothing for what has not."""
        while self._ends and self._ends[0][0] <= now:
            _, (hub, user), group = heapq.heappop(self._ends)
            membership = self._groups.get((hub, user), {}).get(group)
            if membership is not None and membership.expires <= now:
                self.remove(hub, user, group)
