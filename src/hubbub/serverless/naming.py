"""How a Python name becomes the name on the wire: `send_to_group` is `sendToGroup` to clients.

It holds for the methods of hubs and for those of typed clients. `target` says otherwise.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from hubbub.errors import ConfigError

__all__ = ["target", "target_of"]

_ATTRIBUTE: Final = "__hubbub_target__"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def target(name: str) -> Callable[[_Function], _Function]:
    """Give a method another name on the wire than its own in camel case."""
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"@target takes the name that clients call, not {name!r}.")

    def named(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, name)
        return function

    return named


def target_of(function: Callable[..., Any], name: str) -> str:
    """The name on the wire of a method that is called `name` in Python."""
    given: str | None = getattr(function, _ATTRIBUTE, None)
    return given if given is not None else _camel_case(name)


def _camel_case(name: str) -> str:
    first, *rest = [part for part in name.split("_") if part]
    return first + "".join(part[0].upper() + part[1:] for part in rest)
