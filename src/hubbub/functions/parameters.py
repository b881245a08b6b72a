"""Compares a Python function's parameters with the bindings declared for it.

The rules and the fixed words are those of the original's worker,
so that a function which loads here loads there.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import azure.functions as func

from hubbub.functions.declaration import Declaration
from hubbub.functions.function import RETURN, Binding, Function, FunctionError
from hubbub.functions.webtypes import WebTypes, imported_types

_GENERIC_IN = (str, bytes)
_GENERIC_OUT = (str, bytes, bytearray)
_WEB_FRAMEWORKS = {"fastapi", "starlette"}
_RETURNED = {"http": "-> func.HttpResponse or -> str"}
_RETURNED_WEB = {"http": "-> Response of azurefunctions.extensions.http.fastapi"}
_registry: Any = func.get_binding_registry()  # type: ignore[no-untyped-call]


def bind(declared: Declaration, bindings: Sequence[Binding]) -> Function:
    """The function value, or a FunctionError that says which part of the declaration is wrong."""
    name, call = declared.name, declared.call
    check = _Check(name, call, is_folder=declared.is_folder)
    web_types = check.choose_types(bindings)
    named = {binding.name: binding for binding in bindings if binding.name != RETURN}
    wants_context = check.names(named)
    for binding in named.values():
        check.parameter(binding)
    returned = next((binding for binding in bindings if binding.name == RETURN), None)
    if returned is not None:
        check.returned(returned)
    return Function(
        name=name,
        bindings=tuple(bindings),
        call=call,
        directory=declared.directory,
        location=declared.location,
        is_async=inspect.iscoroutinefunction(call),
        wants_context=wants_context,
        may_return=returned is not None or any(_has_implicit_output(b) for b in bindings),
        web_types=web_types,
    )


class _Check:
    """The signature and the annotations of one function, and what is wrong with them."""

    def __init__(self, name: str, call: Callable[..., Any], *, is_folder: bool) -> None:
        self._name = name
        self._is_folder = is_folder
        self._types: WebTypes | None = None
        try:
            self._parameters: Mapping[str, Any] = inspect.signature(call).parameters
            self._hints = typing.get_type_hints(call)
        except Exception as error:  # evaluating annotations runs the app's own code
            raise self._error(f"its annotations cannot be read: {error}") from error

    def choose_types(self, bindings: Sequence[Binding]) -> WebTypes | None:
        """Whether HTTP is meant to have FastAPI's types. To be asked before anything is checked."""
        types = imported_types()
        for binding in bindings:
            if binding.type == "httpTrigger" and types is not None:
                hint = self._hints.get(binding.name)
                if types.is_meant(hint, self._hints.get("return")):
                    self._types = types
        return self._types

    def _error(self, text: str) -> FunctionError:
        return FunctionError(f"cannot load the {self._name} function: {text}")

    def names(self, bindings: Mapping[str, Binding]) -> bool:
        """Check that parameters and bindings are the same set. True: `context` is wanted."""
        parameters = set(self._parameters)
        wants_context = "context" in parameters and "context" not in bindings
        if wants_context:
            parameters.discard("context")
            self._check_context()
        extra, missing = parameters - set(bindings), set(bindings) - parameters
        if extra:
            advice = "Remove them, or declare a binding with the name of each."
            if missing:
                advice = f"The bindings {missing!r} have no parameters: give both the same names."
            raise self._error(
                "the following parameters are declared in Python but not in the function "
                f"definition (function.json or function decorators):  {extra!r}. {advice}"
            )
        if missing:
            if self._is_folder:
                raise self._error(
                    "the following parameters are declared in function.json but not in Python: "
                    f"{missing!r}. Add them to the function, or remove the bindings."
                )
            raise self._error(
                "Extra parameters in binding definition — the following parameters are declared "
                f"as bindings but are not present in Python: {missing!r}. Add them to the "
                "function, or remove the decorators."
            )
        return wants_context

    def _check_context(self) -> None:
        hint = self._hints.get("context")
        if hint is not None and not (isinstance(hint, type) and issubclass(hint, func.Context)):
            raise self._error(
                'the "context" parameter is expected to be of type azure.functions.Context, '
                f"got {hint!r}; write context: func.Context"
            )

    def parameter(self, binding: Binding) -> None:
        """Check one parameter's annotation against its binding."""
        hint = self._hints.get(binding.name)
        if hint is None:
            return
        origin = typing.get_origin(hint) or hint
        is_out = isinstance(origin, type) and issubclass(origin, func.Out)
        if is_out:
            hint = self._out_argument(binding, hint)
        if not isinstance(hint, type):
            raise self._error(
                f"binding {binding.name} has invalid non-type annotation {hint!r}; name one class, "
                "or leave the annotation out"
            )
        self._check_direction(binding, is_out)
        if not self._accepts(binding, hint):
            if hint.__module__.partition(".")[0] in _WEB_FRAMEWORKS:
                raise self._error(
                    f"binding {binding.name} is a {hint.__module__}.{hint.__qualname__}. Install "
                    "azurefunctions-extensions-http-fastapi and import Request from "
                    "azurefunctions.extensions.http.fastapi, or write func.HttpRequest"
                )
            raise self._error(
                f'binding type "{binding.type}" and dataType "{binding.option("dataType")}" in '
                "the binding decorator do not match the corresponding function parameter's Python "
                f'type annotation "{hint.__name__}"; change the annotation of {binding.name!r}'
            )

    def _out_argument(self, binding: Binding, hint: Any) -> Any:
        arguments = typing.get_args(hint)
        if len(arguments) != 1:
            raise self._error(
                f"binding {binding.name} has invalid Out annotation {hint!r}; write func.Out[str]"
            )
        return arguments[0]

    def _check_direction(self, binding: Binding, is_out: bool) -> None:
        if binding.direction == "out" and not is_out:
            raise self._error(
                f'binding {binding.name} is declared to have the "out" direction, but its '
                f"annotation in Python is not a subclass of azure.functions.Out; write "
                f"{binding.name}: func.Out[str]"
            )
        if binding.direction == "in" and is_out:
            raise self._error(
                f'binding {binding.name} is declared to have the "in" direction in the binding '
                "decorator, but its annotation is azure.functions.Out in Python; annotate it as "
                "what comes in, or make it an output binding"
            )

    def returned(self, binding: Binding) -> None:
        """Check the return annotation against the `$return` binding."""
        if "return" not in self._hints:
            return
        hint = self._hints["return"]
        origin = typing.get_origin(hint) or hint
        if isinstance(origin, type) and issubclass(origin, func.Out):
            raise self._error(
                "return annotation should not be azure.functions.Out; annotate the value itself"
            )
        if not isinstance(hint, type):
            raise self._error(
                f"has invalid non-type return annotation {hint!r}; name one class, or leave it out"
            )
        if not self._accepts(binding, hint):
            advice = _RETURNED if self._types is None else _RETURNED_WEB
            raise self._error(
                f'Python return annotation "{hint.__name__}" does not match binding type '
                f'"{binding.type}"; write {advice.get(binding.type, "-> str")}, or leave it out'
            )

    def _accepts(self, binding: Binding, hint: type) -> bool:
        """Whether what the binding gives or takes is of the annotation's type."""
        if self._types is not None and binding.type == "httpTrigger":
            return self._types.is_request(hint)
        if self._types is not None and binding.type == "http":
            return self._types.is_response(hint)
        return _accepts(binding, hint)


def _accepts(binding: Binding, hint: type) -> bool:
    """Whether the official converter of the binding's type takes the annotation."""
    converter = _registry.get(binding.type)
    if binding.direction == "out":
        if converter is None:
            return issubclass(hint, _GENERIC_OUT)
        return bool(converter.check_output_type_annotation(hint))
    if converter is None:
        return issubclass(hint, _GENERIC_IN)
    return bool(converter.check_input_type_annotation(hint))


def _has_implicit_output(binding: Binding) -> bool:
    """Generic bindings allow a return value without `$return`; known types say so themselves."""
    converter = _registry.get(binding.type)
    if converter is None:
        return True
    implicit = getattr(converter, "has_implicit_output", None)
    return bool(implicit is not None and implicit())
