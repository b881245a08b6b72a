"""Chooses the function that answers an HTTP request, by its path and method.

The most specific route wins, where the original asks routes one by one in the order of their
functions' names; where that makes a difference a warning says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from urllib.parse import unquote

from hubbub.functions.access import Level, parse_level
from hubbub.functions.function import Binding, Function, FunctionError, Refusal
from hubbub.functions.template import RouteTemplate, parse_template

METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS", "QUERY"})
_RESERVED = ("admin", "runtime")  # the host's own addresses


@dataclass(frozen=True, slots=True)
class Route:
    """Where one function listens."""

    name: str  # the function's
    path: str  # the whole template, prefix included, as it is shown
    methods: frozenset[str] | None  # upper case; None: every method
    template: RouteTemplate
    level: Level = Level.ANONYMOUS  # the keys that are good for it


class RouteTable:
    """The routes of an app, ready to be asked."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(sorted(routes, key=_specificity))
        self._literal: dict[str, list[Route]] = {}
        self._others: list[Route] = []
        self._exact: dict[bytes, list[Route]] = {}  # literal ones by the path as clients write it
        for route in self.routes:
            if route.template.is_literal:
                text = _unescaped(route.path)
                self._literal.setdefault(text.lower(), []).append(route)
                if text.isascii() and "%" not in text and not text.lower().startswith(_RESERVED):
                    self._exact.setdefault(f"/{text}".encode(), [])
            else:
                self._others.append(route)

        for raw in self._exact:
            self._exact[raw] = self._literal[raw[1:].decode().lower()]

    def find_exact(self, raw: bytes, method: str) -> Route | None:
        """The route of a path that is written as the route is, which is the quickest to find."""
        for route in self._exact.get(raw, ()):
            if route.methods is None or method in route.methods:
                return route
        return None

    def find(self, path: str, method: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a decoded path without its leading slash, and its parameters.

        A route that does not allow the method is passed over, so a wrong method is no match.
        """
        for route in self._literal.get(path.removesuffix("/").lower(), ()):
            if route.methods is None or method in route.methods:
                return route, {}
        for route in self._others:
            if route.methods is None or method in route.methods:
                values = route.template.match(path)
                if values is not None:
                    return route, values
        return None


def _unescaped(path: str) -> str:
    return path.replace("{{", "{").replace("}}", "}")


def _specificity(route: Route) -> tuple[tuple[int, ...], int, str]:
    # A catch-all that ends early would otherwise go before a longer, more exact route.
    return (*route.template.rank, 9), -len(route.template.rank), route.name.lower()


def decode_path(raw: bytes) -> str:
    """A request's path as routes see it: no leading slash, decoded but for escaped slashes."""
    text = raw.decode("ascii", "replace").removeprefix("/")
    if "%" not in text:
        return text
    return "%2F".join(unquote(part) for part in text.replace("%2f", "%2F").split("%2F"))


def build_routes(
    functions: Sequence[Function], prefix: str
) -> tuple[list[Route], list[Refusal], list[str]]:
    """The routes of the HTTP functions, those that conflict, and the warnings about order."""
    routes: list[Route] = []
    refused: list[Refusal] = []
    for function in functions:
        if function.trigger.type != "httpTrigger":
            continue
        try:
            routes.append(_route(function, prefix, routes))
        except FunctionError as error:
            refused.append(Refusal(function.name, str(error), function.location))
    return routes, refused, _order_warnings(routes)


def _route(function: Function, prefix: str, others: Iterable[Route]) -> Route:
    trigger = function.trigger
    text = str(trigger.option("route") or function.name).strip("/")
    if text.lower().startswith(_RESERVED):
        raise FunctionError(
            f"The specified route conflicts with one or more built in routes. '{text}' begins "
            "with 'admin' or 'runtime'; choose another."
        )
    path = f"{prefix}/{text}".strip("/")
    level = parse_level(trigger.option("authLevel"))
    route = Route(function.name, path, _methods(trigger), parse_template(path), level)
    for other in others:
        if other.path.lower() == path.lower() and _overlap(route.methods, other.methods):
            raise FunctionError(
                "The route specified conflicts with the route defined by function "
                f"'{other.name}'. Change the route or the methods of one of them."
            )
    return route


def _methods(trigger: Binding) -> frozenset[str] | None:
    """The allowed methods. Absent or empty means every one."""
    declared = trigger.option("methods", [])
    if not isinstance(declared, list) or not all(isinstance(name, str) for name in declared):
        raise FunctionError('\'methods\' must be a list of HTTP methods, such as ["GET", "POST"].')
    names = frozenset(name.upper() for name in declared)
    if unknown := names - METHODS:
        raise FunctionError(
            f"'methods' names {', '.join(sorted(unknown))}; known are {', '.join(sorted(METHODS))}."
        )
    return names or None


def _overlap(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or bool(one & other)


def _order_warnings(routes: Sequence[Route]) -> list[str]:
    """One for each pair that the original, which goes by name, would answer the other way."""
    return [
        f"'{later.path}' is answered by '{later.name}' here; on Azure, where routes go by function "
        f"name, '{earlier.path}' of '{earlier.name}' answers it. Rename a function so that "
        f"'{later.name}' comes first."
        for earlier, later in combinations(routes, 2)  # routes are in the order of names
        if _specificity(later) < _specificity(earlier)
        and _overlap(later.methods, earlier.methods)
        and _covers(earlier, later)
    ]


def _covers(wide: Route, narrow: Route) -> bool:
    """Whether `wide` surely or probably matches what `narrow` is for: its literal text does."""
    sample = "/".join(
        "0" if "{" in segment.replace("{{", "") else segment
        for segment in _unescaped(narrow.path).split("/")
    )
    return wide.template.match(sample) is not None
