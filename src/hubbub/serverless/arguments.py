"""Binds the arguments of a client to a method's parameters, in order and by type hint.

What a method returns goes the other way. Nothing is guessed: `"1"` is not an `int`.
"""

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from hubbub.errors import CallerError, ConfigError

__all__ = ["ArgumentError", "Parameters", "parameters_of", "plain"]

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_NODES: Final = (msgspec.inspect.Type, msgspec.inspect.Field)


class ArgumentError(CallerError):
    """A client has called a method with arguments that do not fit. It gets to read the message."""


class _Parameter(Struct, frozen=True):
    name: str
    hint: Any
    has_dataclasses: bool = False


class Parameters(Struct, frozen=True):
    """What a method takes from a client."""

    listed: tuple[_Parameter, ...]
    required: int  # how many of them a client has to give
    rest: _Parameter | None  # *arguments, which takes what is left

    def bind(self, target: str, arguments: Sequence[Any]) -> list[Any]:
        """The values to call with. Raises `ArgumentError`, which names what does not fit."""
        given = len(arguments)
        if given < self.required or (given > len(self.listed) and self.rest is None):
            raise ArgumentError(f"{target} takes {self}, but was called with {given}.")
        taking = [*self.listed, *[self.rest] * given][:given]
        return [
            _convert(target, place, parameter, value)
            for place, (parameter, value) in enumerate(zip(taking, arguments, strict=True), 1)
            if parameter is not None
        ]

    def __str__(self) -> str:
        most = len(self.listed)
        if self.rest is not None:
            count = f"{self.required} or more arguments"
        elif most != self.required:
            count = f"{self.required} to {most} arguments"
        else:
            count = "no arguments" if most == 0 else f"{most} argument{'' if most == 1 else 's'}"
        names = [parameter.name for parameter in self.listed]
        names += [f"*{self.rest.name}"] if self.rest is not None else []
        return f"{count} ({', '.join(names)})" if names else count


def parameters_of(method: Callable[..., Any], place: str) -> Parameters:
    """What `method` takes after `self`. Raises `ConfigError` where no client could call it."""
    try:
        hints = typing.get_type_hints(method, include_extras=True)
    except Exception as error:  # evaluating annotations runs the app's own code
        raise ConfigError(f"{place}: its annotations cannot be read: {error}") from error
    listed: list[_Parameter] = []
    required, rest = 0, None
    declared = list(inspect.signature(method).parameters.values())
    if not declared or declared[0].kind not in _POSITIONAL:
        raise ConfigError(f"{place} has no self. Add it, or write @staticmethod above it.")
    for found in declared[1:]:
        parameter = _Parameter(found.name, hints.get(found.name, Any))
        if found.kind in _POSITIONAL:
            listed.append(parameter)
            required += found.default is inspect.Parameter.empty
        elif found.kind is inspect.Parameter.VAR_POSITIONAL:
            rest = parameter
        elif found.default is inspect.Parameter.empty or found.kind is found.VAR_KEYWORD:
            raise ConfigError(
                f"{place}: clients pass arguments in order and without names, so nothing can be "
                f"given to '{found.name}'. Make it a positional parameter."
            )
    return Parameters(
        tuple(_checked(parameter, place) for parameter in listed),
        required,
        None if rest is None else _checked(rest, place),
    )


def plain(value: Any) -> Any:
    """`value` as JSON knows it: also dataclasses, structs, dates, and models of pydantic."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_dump)


def _convert(target: str, place: int, parameter: _Parameter, value: Any) -> Any:
    try:
        converted = msgspec.convert(value, type=parameter.hint, dec_hook=_load)
    except msgspec.ValidationError as error:
        raise ArgumentError(
            f"Argument {place} of {target}, '{parameter.name}', does not fit: {error}."
        ) from None
    return _complete(converted) if parameter.has_dataclasses else converted


def _complete(value: Any) -> Any:
    """Give dataclasses the defaults that msgspec leaves to their class, so that none gets lost.

    What is not in an object itself would not be in its JSON either.
    """
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _complete(item)
    elif isinstance(value, dict):
        _complete([*value, *value.values()])
    elif isinstance(value, Struct):
        _complete([getattr(value, name) for name in value.__struct_fields__])
    elif dataclasses.is_dataclass(value):
        members = getattr(value, "__dict__", None)  # one with slots has all it needs
        for field in dataclasses.fields(value):
            if members is not None and field.name not in members:
                members[field.name] = getattr(type(value), field.name)
            _complete(getattr(value, field.name))
    return value


def _checked(parameter: _Parameter, place: str) -> _Parameter:
    """Refuse what JSON can never become, when the hub is made and not when a client calls."""
    try:
        msgspec.json.Decoder(parameter.hint, dec_hook=_load)
        nodes = _nodes(msgspec.inspect.type_info(parameter.hint))
    except TypeError as error:
        raise ConfigError(
            f"{place}: the type of '{parameter.name}' cannot be read: {error}."
        ) from None
    for node in nodes:
        if isinstance(node, msgspec.inspect.CustomType) and not _is_model(node.cls):
            raise ConfigError(
                f"{place}: a client cannot give '{parameter.name}' a {node.cls.__name__}. "
                "Arguments are JSON: use built-in types, dataclasses, msgspec.Struct or models of "
                "pydantic."
            )
    has_dataclasses = any(isinstance(node, msgspec.inspect.DataclassType) for node in nodes)
    return msgspec.structs.replace(parameter, has_dataclasses=has_dataclasses)


def _nodes(info: Any) -> list[Any]:
    """All types in a type, those in fields of classes too."""
    found: dict[int, Any] = {}
    waiting = [info]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | tuple):
            waiting += node
        elif isinstance(node, _NODES) and id(node) not in found:
            found[id(node)] = node
            waiting += [getattr(node, name) for name in node.__struct_fields__]
    return list(found.values())


def _is_model(kind: Any) -> bool:
    pydantic = sys.modules.get("pydantic")  # who has a model has imported it
    return pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def _load(kind: Any, value: Any) -> Any:
    """Make a model of pydantic, for msgspec. `_checked` has let no other class through."""
    try:
        return kind.model_validate(value)
    except ValueError as error:
        raise ValueError("; ".join(_complaints(error))) from None


def _complaints(error: Any) -> list[str]:
    """What pydantic finds wrong, without the values that it shows."""
    return [
        ": ".join(filter(None, (".".join(map(str, found["loc"])), found["msg"])))
        for found in error.errors()
    ]


def _dump(value: Any) -> Any:
    if _is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"A {type(value).__name__} is not JSON. Give the values that are in it.")
