"""What operations take and say in the same way: parameters of queries, bodies, errors. No paths."""

from typing import Any, Final

from hubbub.service.operations.operation import Body, Parameter

__all__ = [
    "COMPLETED",
    "EXCLUDED",
    "EXISTS",
    "FILTER",
    "MINUTES",
    "NO_CONNECTION",
    "NO_STREAM",
    "PAGING",
    "PAYLOAD",
    "REASON",
    "STREAM_ERROR",
    "STREAM_REASON",
    "TTL",
    "USER_ID",
]

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TEXTS: Final[dict[str, Any]] = {"type": "array", "items": {"type": "string"}}
_INT32: Final = 2**31 - 1

EXCLUDED: Final = Parameter("excluded", "Connections that are left out; may be repeated.", _TEXTS)
REASON: Final = Parameter("reason", "What the clients are told.", _TEXT)
FILTER: Final = Parameter(
    "filter", "An OData filter of connections, as in `startswith(userId, 'a')`.", _TEXT
)
TTL: Final = Parameter(
    "ttl",
    "Seconds. Absent: up to a year, the newest 100 of a user. 0: only those now connected.",
    {"type": "integer", "format": "int32", "minimum": 0, "maximum": _INT32},
)
USER_ID: Final = Parameter("userId", "Whose token it is.", _TEXT)
MINUTES: Final = Parameter(
    "minutesToExpire",
    "Minutes that the token lasts; default 60.",
    {"type": "integer", "format": "int32", "minimum": 1, "maximum": _INT32},
)
COMPLETED: Final = Parameter("completed", "Whether the stream ends here.", {"type": "boolean"})
STREAM_REASON: Final = Parameter("reason", "The error that ends the stream, if one does.", _TEXT)
STREAM_ERROR: Final = Parameter("error", "The same under the name that the SDK uses.", _TEXT)
PAGING: Final = (
    Parameter(
        "maxPageSize",
        "Entries of one page; default 100.",
        {"type": "integer", "format": "int32", "minimum": 1, "maximum": 200},
    ),
    Parameter(
        "top",
        "Entries of all pages together.",
        {"type": "integer", "format": "int32", "minimum": 1, "maximum": _INT32},
    ),
    Parameter("continuationToken", "Where to go on, as nextLink has it.", _TEXT),
)
PAYLOAD: Final = Body(
    {
        "application/json": "PayloadMessage",
        "application/octet-stream": "Records",
        "application/x-msgpack": "PayloadMessage",
    }
)
EXISTS: Final = ("HEAD", "GET")
NO_CONNECTION: Final = (404, "Error.Connection.NotExisted")
NO_STREAM: Final = (404, "Error.Stream.NotExisted")
