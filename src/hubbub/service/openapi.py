"""The OpenAPI document of the REST API, made from the table of operations."""

from functools import cache
from typing import Any, Final

import msgspec

from hubbub import __version__
from hubbub.service.operations.operation import OURS, Operation
from hubbub.service.operations.table import OPERATIONS

__all__ = ["openapi_document"]

_HUB: Final = r"^[A-Za-z][A-Za-z0-9_`,.[\]]{0,127}$"
_DESCRIPTION: Final = (
    "Sends to clients, manages groups and tells who is online. Operations that are marked as "
    f"{OURS}'s are not in Azure SignalR Service. Older shapes of paths are served too and are left "
    "out here."
)
_JSON: Final = "application/json"
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_COUNT: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_NAMES: Final[dict[str, dict[str, Any]]] = {
    "hub": {"type": "string", "pattern": _HUB},
    "user": {"type": "string", "minLength": 1, "maxLength": 1024},
    "group": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": r"\S"},
    "connectionId": {"type": "string", "minLength": 1, "maxLength": 1024},
    "streamId": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"\S"},
}
# What any operation with a token may be refused with, and why.
_REFUSALS: Final = {
    400: "Something in the request is wrong; `target` names it.",
    401: "The token is missing or does not allow the call; `message` says why.",
    404: "There is no such operation, or what the path names is not there.",
    408: "The body took too long.",
    413: "The token or the body is too long.",
    414: "Path and query are too long.",
    431: "The headers are too long.",
    503: "The store cannot be written.",
}
_BODY_REFUSALS: Final = {
    415: "The content type is not one that the operation reads.",
}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _page(entry: dict[str, Any]) -> dict[str, Any]:
    link = {"type": "string", "format": "uri"}
    return _object(["value"], value={"type": "array", "items": entry}, nextLink=link)


def _command(kind: str, required: list[str], **properties: Any) -> dict[str, Any]:
    return _object(["type", *required], type={"type": "string", "enum": [kind]}, **properties)


_GROUP: Final = _NAMES["group"]
_SCHEMAS: Final[dict[str, Any]] = {
    "PayloadMessage": _object(
        ["target"],
        target={"type": "string", "minLength": 1},
        arguments={"type": "array", "items": {}, "nullable": True},
    ),
    "Records": {"type": "string", "format": "binary"},
    "Item": {},
    "Commands": {
        "type": "array",
        "maxItems": 100,
        "items": {
            "oneOf": [
                _command("SendMessage", ["message"], message=_ref("PayloadMessage")),
                _command("JoinGroup", ["group"], group=_GROUP),
                _command("LeaveGroup", ["group"], group=_GROUP),
                _command("CloseConnection", [], reason={"type": "string", "nullable": True}),
            ]
        },
    },
    "Token": _object(["token"], token=_TEXT),
    "InvocationResult": _object(["result"], result={}, protocol=_TEXT),
    "Connections": _page(
        _object(
            ["connectionId"],
            connectionId=_TEXT,
            userId=_TEXT,
            groups={"type": "array", "items": _TEXT},
        )
    ),
    "Users": _page(_object(["userId", "connections"], userId=_TEXT, connections=_COUNT)),
    "Groups": _page(_object(["group", "connections"], group=_TEXT, connections=_COUNT)),
    "Memberships": _page(
        _object(
            ["group", "expires"], group=_TEXT, expires={"type": "string", "format": "date-time"}
        )
    ),
    "ErrorDetail": _object(
        ["code", "message"],
        code=_TEXT,
        message=_TEXT,
        target={"type": "string", "nullable": True},
        details={"type": "array", "items": _ref("ErrorDetail")},
        inner={"allOf": [_ref("InnerError")], "nullable": True},
    ),
    "InnerError": _object([], code=_TEXT),
}


@cache
def openapi_document() -> bytes:
    """The document as JSON, OpenAPI 3.0."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        path = f"/api/hubs/{{hub}}{operation.path}"
        for method in operation.methods:
            paths.setdefault(path, {})[method.lower()] = _operation(operation, method)
    paths["/api/health"] = {
        method: {
            "operationId": f"health{suffix}",
            "summary": "Whether the service answers.",
            "security": [],
            "responses": {"200": {"description": "It does."}},
        }
        for method, suffix in (("head", ""), ("get", "ByGet"))
    }
    return msgspec.json.encode(
        {
            "openapi": "3.0.3",
            "info": {"title": "Hubbub", "version": __version__, "description": _DESCRIPTION},
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "schemas": _SCHEMAS,
                "securitySchemes": {
                    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
                },
            },
        }
    )


def _operation(operation: Operation, method: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id + ("ByGet" if method != operation.methods[0] else ""),
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation, method),
        "x-since": operation.since,
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {
                kind: {"schema": _ref(schema)} for kind, schema in operation.body.schemas.items()
            },
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _NAMES[name]}
        for name in ("hub", *names)
    ]
    in_query = [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": parameter.schema,
        }
        for parameter in operation.query
    ]
    always = [
        {"name": "application", "in": "query", "schema": {"type": "string", "pattern": _HUB}},
        {"name": "api-version", "in": "query", "schema": _TEXT},
    ]
    return [*in_path, *in_query, *always]


def _responses(operation: Operation, method: str) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if operation.result is not None and method != "HEAD":
        success["content"] = {_JSON: {"schema": _ref(operation.result)}}
    if method == "HEAD" and operation.id.startswith("count"):
        success["headers"] = {"X-Total-Count": {"required": True, "schema": _COUNT}}
    refusals = dict(_REFUSALS)
    if operation.body is not None:
        refusals |= _BODY_REFUSALS
    for status, code in operation.errors:
        known = refusals.get(status, "")
        refusals[status] = f"{known} {code}".strip()
    responses = {str(operation.status): success}
    for status, description in sorted(refusals.items()):
        responses[str(status)] = _refusal(description, has_body=method != "HEAD")
    return responses


def _refusal(description: str, *, has_body: bool) -> dict[str, Any]:
    refusal: dict[str, Any] = {
        "description": description,
        "headers": {"x-ms-error-code": {"required": True, "schema": _TEXT}},
    }
    if has_body:
        refusal["content"] = {_JSON: {"schema": _ref("ErrorDetail")}}
    return refusal
