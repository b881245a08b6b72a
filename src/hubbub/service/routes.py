"""Which operation a request is: one look-up by the words at the even places of its path.

In every path of the REST API words and names take turns, so no pattern has to be tried. Names stay
undecoded here: an escaped slash belongs to its name.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hubbub.service.calls import Handler, RestError
from hubbub.service.operations.operation import Join, Operation, Reach
from hubbub.service.operations.table import OPERATIONS, PREVIEW_OPERATIONS

__all__ = ["Match", "Route", "find_route", "route_named"]

_Key = tuple[int | str, ...]


class Route(Struct, frozen=True):
    """What handles a method of a path, its status, and the kinds of the names in the path.

    `key` names it between nodes.
    """

    key: str
    handler: Handler
    status: int
    kinds: tuple[str, ...]
    reach: Reach
    join: Join
    has_body: bool


_Methods = dict[str, Route]


class Match(Struct, frozen=True):
    """A route, and the undecoded names of one request: the hub's first."""

    route: Route
    segments: tuple[str, ...]


def find_route(method: str, path: str) -> Match:
    """The route of an undecoded path that begins with /api/. Raises `RestError`: 404 or 405."""
    parts = path[5:].split("/")
    if not parts[-1] and len(parts) > 1:
        parts.pop()
    prefix = parts[0].lower()
    family = _OLD.get(prefix)
    if family is None:
        family = _CURRENT
    else:
        del parts[0]
    words = parts[::2]
    methods = family.get((len(parts), *words))
    if methods is None:
        # The original compares the words of a path ignoring case.
        methods = family.get((len(parts), *(word.lower() for word in words)))
    names = tuple(parts[1::2])
    if methods is None or any(name[:1] == ":" for name in names):
        raise RestError(
            404,
            f"There is no operation at {path}. Operations are at /api/hubs/{{hub}}/…; "
            "/api/swagger lists them.",
        )
    route = methods.get(method)
    if route is None:
        allowed = ", ".join(methods)
        raise RestError(
            405,
            f"{method} is not a method of this path; {allowed} is.",
            headers={"Allow": allowed},
        )
    return Match(route, names)


def route_named(key: str) -> Route | None:
    """The route with this key, `None` where this release has none."""
    return _BY_KEY.get(key)


def _shapes(operation: Operation) -> Iterator[str]:
    """The paths of an operation: its own, the older one without a verb, names the other way."""
    yield operation.path
    if operation.bare:
        yield operation.path.removesuffix("/:send")
    segments = operation.path.strip("/").split("/")
    if len(segments) == 4 and segments[3].startswith("{"):
        yield "/" + "/".join(segments[2:] + segments[:2])


def _family(prefix: str, operations: Iterable[Operation], *, v1: bool) -> dict[_Key, _Methods]:
    family: dict[_Key, _Methods] = {}
    for operation in operations:
        route = Route(
            key=f"v1:{operation.id}" if v1 else operation.id,
            handler=operation.v1_handler or operation.handler if v1 else operation.handler,
            status=operation.v1_status or operation.status if v1 else operation.status,
            kinds=(),
            reach=operation.reach,
            join=operation.join,
            has_body=operation.body is not None,
        )
        for shape in _shapes(operation):
            _add(family, operation.methods, f"{prefix}{shape}", route)
    return family


def _add(
    family: dict[_Key, _Methods],
    methods: tuple[str, ...],
    path: str,
    route: Route,
) -> None:
    segments = path.split("/")
    route = replace(route, kinds=tuple(segment.strip("{}") for segment in segments[1::2]))
    assert all(segment[0] == "{" for segment in segments[1::2]), path
    for words in (segments[::2], [word.lower() for word in segments[::2]]):
        entry = family.setdefault((len(segments), *words), {})
        for method in methods:
            entry[method] = route


def _preview() -> dict[_Key, _Methods]:
    family: dict[_Key, _Methods] = {}
    for path, handler, reach in PREVIEW_OPERATIONS:
        route = Route(f"preview:{path}", handler, 202, (), reach, Join.NONE, has_body=True)
        _add(family, ("POST",), f"hub/{{hub}}{path}", route)
    return family


_CURRENT: Final = _family("hubs/{hub}", OPERATIONS, v1=False)
_OLD: Final = {
    "v1": _family("hubs/{hub}", OPERATIONS, v1=True),
    "v1-preview": _preview(),
}
_BY_KEY: Final = {
    route.key: route
    for family in (_CURRENT, *_OLD.values())
    for methods in family.values()
    for route in methods.values()
}
