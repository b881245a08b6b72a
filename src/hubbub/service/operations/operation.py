"""What there is to know about one operation of the REST API: for routing, OpenAPI and the docs,
and for a service of many nodes: which of them it concerns, and what becomes of their answers.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Any, Final

from msgspec import Struct

from hubbub.service.calls import Answer, Call, Handler

__all__ = ["OURS", "Body", "Join", "Merged", "Operation", "Parameter", "Reach"]

OURS: Final = "Hubbub"  # an operation that the original does not have


class Parameter(Struct, frozen=True):
    """One parameter of a query. `schema` is JSON Schema; repeated ones are arrays."""

    name: str
    description: str
    schema: dict[str, Any]


class Body(Struct, frozen=True):
    """What an operation reads: names of schemas by content type."""

    schemas: dict[str, str]


class Reach(Enum):
    """Whom an operation concerns, by the names in its path; nodes without them are not asked."""

    HUB = auto()
    GROUP = auto()
    GROUPS = auto()  # a list with commas
    USER = auto()
    USERS = auto()  # a list with commas
    CONNECTION = auto()


class Join(Enum):
    """How an operation is done where several nodes have whom it concerns."""

    # It concerns no connection: whichever node is asked can answer.
    HERE = auto()
    # Each does it and nobody waits for the others. The handler must not wait for anything but the
    # body: what one node publishes is done by the others in that order.
    NONE = auto()
    # One node has it all: it does it, and its answer is the answer. Where no node has it, the
    # handler says what that means.
    ONE = auto()
    # Each does it, and the answer is given when all have; groups that were joined are reached by
    # then.
    ALL = auto()
    # Each gives its part, of which the answer is made. The handler is a `Merged`.
    MERGED = auto()


class Merged:
    """A handler whose answer is made of parts, one of each node that has one."""

    def __init__(
        self,
        part: Callable[[Call], Awaitable[Any]],
        whole: Callable[[Call, Sequence[Any]], Answer],
        alone: Handler | None = None,
    ) -> None:
        """A part is anything that MessagePack can say; `whole` gets them in any order.

        `alone` is the answer where there is one node, if that is had more cheaply.
        """
        self.part = part
        self.whole = whole
        self._alone = alone

    async def __call__(self, call: Call) -> Answer | None:
        """The answer where there is one node."""
        if self._alone is not None:
            return await self._alone(call)
        return self.whole(call, [await self.part(call)])


# The name that narrows it most comes first.
_REACHES: Final = (
    ("{connectionId}", Reach.CONNECTION),
    ("{user}", Reach.USER),
    ("{group}", Reach.GROUP),
)


class Operation(Struct, frozen=True, kw_only=True):
    """One operation. `path` is below /api/hubs/{hub}; braces in it name what a caller chooses."""

    id: str
    methods: tuple[str, ...]
    path: str
    summary: str
    handler: Handler
    status: int
    join: Join
    since: str = "2022-06-01"  # api-version, or OURS
    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    result: str | None = None  # name of the schema of the answer
    errors: tuple[tuple[int, str], ...] = ()  # those with a code of their own
    v1_status: int | None = None  # below /api/v1, where that differs
    v1_handler: Handler | None = None
    bare: bool = False  # also answers without the verb at the path's end, as of old

    @property
    def reach(self) -> Reach:
        """Whom it concerns."""
        for name, reach in _REACHES:
            if name in self.path:
                return reach
        return Reach.HUB
