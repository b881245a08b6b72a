"""What there is to know about one operation of the REST API: for routing, OpenAPI and the docs."""

from typing import Any, Final

from msgspec import Struct

from hubbub.service.calls import Handler

__all__ = ["OURS", "Body", "Operation", "Parameter"]

OURS: Final = "Hubbub"  # an operation that the original does not have


class Parameter(Struct, frozen=True):
    """One parameter of a query. `schema` is JSON Schema; repeated ones are arrays."""

    name: str
    description: str
    schema: dict[str, Any]


class Body(Struct, frozen=True):
    """What an operation reads: names of schemas by content type."""

    schemas: dict[str, str]


class Operation(Struct, frozen=True, kw_only=True):
    """One operation. `path` is below /api/hubs/{hub}; braces in it name what a caller chooses."""

    id: str
    methods: tuple[str, ...]
    path: str
    summary: str
    handler: Handler
    status: int
    since: str = "2022-06-01"  # api-version, or OURS
    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    result: str | None = None  # name of the schema of the answer
    errors: tuple[tuple[int, str], ...] = ()  # those with a code of their own
    v1_status: int | None = None  # below /api/v1, where that differs
    v1_handler: Handler | None = None
    bare: bool = False  # also answers without the verb at the path's end, as of old
