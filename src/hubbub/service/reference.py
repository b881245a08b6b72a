"""The reference of the REST API as Markdown, made from the table of operations.

python -m hubbub.service.reference > docs/rest-api.md
"""

from typing import Final

from hubbub.service.operations.operation import OURS, Operation, Parameter
from hubbub.service.operations.table import OPERATIONS, PREVIEW_OPERATIONS

__all__ = ["rest_reference"]

_HEAD: Final = """\
# The REST API

This page is made from the table that the service itself is made from
(`python -m hubbub.service.reference`); a test compares the two. The same as an OpenAPI document is
at `/api/swagger` of a running service.

## Calling it

- An operation is at `/api/hubs/{hub}` and the path below, with `?api-version=2024-12-01`. Other
  versions, and none, are answered in the same way.
- The header `Authorization: Bearer TOKEN` carries a JSON web token, signed with HS256 and an access
  key of the service, whose audience `aud` is the address of the call without its query.
  `hubbub token rest` makes one; `hubbub.client.ServiceClient` makes one for each call.
- Names in a path are percent-encoded, `/` included. Names of hubs are compared ignoring case, all
  others as they are.
- `application=NAME` in the query chooses the hub `NAME_hub`, by which apps share a service.
- A hub begins with a letter and has at most 128 letters, digits and the symbols ``_`,.[]``.
  Groups and users have 1 to 1024 characters, streams 1 to 100; a group is not blank.
- A body has at most 1 MB, path and query 12 KB, all headers 16 KB, a token 4096 characters.

## Bodies

What is sent to clients is one of:

- `application/json`: `{"target": "name", "arguments": [1, "two"]}`. Names are in any case of
  letters, `arguments` may be left out.
- `application/octet-stream`: a MessagePack map of `json` and `messagepack` to the framed invocation
  in that encoding. Clients of an encoding that is left out get nothing.
- `application/x-msgpack`: a MessagePack map of `target` and `arguments`, or an array of the two.

## Errors

An error has a body `{"code", "message", "target", "details", "inner"}`, where `target` is the field
at fault, and its code in the header `x-ms-error-code` too.

| status | code | when |
| --- | --- | --- |
| 400 | `BadRequest` | a name, a parameter or the body is wrong |
| 401 | `Unauthorized` | the token is missing, expired, of another key, or for another call |
| 403 | `Forbidden` | the Microsoft Entra identity has none of the roles that are required |
| 404 | `NotFound` | there is no such operation |
| 405 | `MethodNotAllowed` | the path has other methods, which the header `Allow` lists |
| 413 | `PayloadTooLarge` | the body or the token is too long |
| 414 | `UriTooLong` | path and query are too long |
| 415 | `UnsupportedMediaType` | the content type is none of those above |
| 431 | `RequestHeaderFieldsTooLarge` | the headers are too long |
| 503 | `ServiceUnavailable` | the store, other nodes or the issuer of tokens is away |
"""
_OLD: Final = """\
## Older paths

Below `/api/v1/hubs/{hub}` are the same operations; where a status differs, it is in the column v1.
A send may leave `/:send` out in both. Below `/api/v1-preview/hub/{hub}` are the sends, each a POST
that is answered with 202; lists have commas between names:
"""
_FILTERS: Final = """\
## Filters

A filter is the OData subset of Azure Web PubSub and Azure SignalR Service: the fields `userId`,
`connectionId` and `groups`; `eq`, `ne`, `gt`, `ge`, `lt`, `le`, `in`, `and`, `or`, `not`,
parentheses; the functions `startswith`, `endswith`, `contains`, `indexof`, `length`, `tolower`,
`toupper`, `trim`, `substring` and `concat`. Strings are in single quotes, a quote in one is
doubled, and they are compared exactly. A filter has at most 8192 characters, 1000 words and 32
levels.

    startswith(userId, 'listener-') and not ('muted' in groups)
"""


def rest_reference() -> str:
    """The page."""
    parts = [_HEAD, "## Operations\n", _table(OPERATIONS), _OLD]
    parts += [
        "\n".join(f"- `/api/v1-preview/hub/{{hub}}{path}`" for path, *_ in PREVIEW_OPERATIONS)
    ]
    parts += ["", _FILTERS, "## Parameters\n"]
    parts += [_parameters(operation) for operation in OPERATIONS if operation.query]
    parts.append(
        "Also: `GET` and `HEAD /api/health` answer 200 without a token; `GET /api/auth/accessKey` "
        "and `/api/v1/auth/accessKey` lend a key to a Microsoft Entra identity."
    )
    return "\n".join(parts).rstrip() + "\n"


def _table(operations: tuple[Operation, ...]) -> str:
    rows = [
        "| operation | path | status | v1 | errors of its own | since |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for operation in operations:
        methods = ", ".join(operation.methods)
        errors = ", ".join(f"{status} `{code}`" for status, code in operation.errors)
        v1 = operation.v1_status or operation.status
        rows.append(
            f"| {operation.summary} | `{methods} {operation.path}` | {operation.status} | {v1} | "
            f"{errors or '-'} | {_since(operation)} |"
        )
    return "\n".join([*rows, ""])


def _since(operation: Operation) -> str:
    return "Hubbub's own" if operation.since == OURS else operation.since


def _parameters(operation: Operation) -> str:
    lines = [f"`{operation.methods[0]} {operation.path}`", ""]
    lines += [
        f"- `{parameter.name}` ({_kind(parameter)}): {parameter.description}"
        for parameter in operation.query
    ]
    return "\n".join([*lines, ""])


def _kind(parameter: Parameter) -> str:
    schema = parameter.schema
    if schema["type"] != "integer":
        return {"string": "text", "array": "text, repeated", "boolean": "true or false"}[
            schema["type"]
        ]
    return f"{schema['minimum']} to {schema['maximum']}"


if __name__ == "__main__":
    print(rest_reference(), end="")
