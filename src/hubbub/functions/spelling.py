"""What a binding may have besides name, type and direction, and what a misspelled name was to be.

The decorators take any keyword and say nothing; so does the original's host.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from hubbub.functions.function import Binding, Function

_CONNECTION = ("connectionStringSetting",)
_NEGOTIATION = ("hubName", "userId", "idToken", "claimTypeList", *_CONNECTION)
_KNOWN = {
    "httpTrigger": ("route", "methods", "authLevel", "webHookType"),
    "http": (),
    "timerTrigger": ("schedule", "runOnStartup", "useMonitor"),
    "warmupTrigger": (),
    "signalRTrigger": ("hubName", "category", "event", "parameterNames", *_CONNECTION),
    "signalRConnectionInfo": _NEGOTIATION,
    "signalRNegotiation": _NEGOTIATION,
    "signalREndpoints": ("hubName", *_CONNECTION),
    "signalR": ("hubName", *_CONNECTION),
}
_OF_ALL = {"datatype", "properties", "supportsdeferredbinding", "isbatched", "cardinality"}


def unknown_options(functions: Iterable[Function]) -> list[str]:
    """One warning for each option of a binding that nobody reads."""
    return [
        f"Function '{function.name}' ({function.location}): '{name}' of the {binding.type} "
        f"'{binding.name}' is not known and has no effect.{_advice(name, binding)}"
        for function in functions
        for binding in function.bindings
        for name in _unknown(binding)
    ]


def meant(binding: Binding, name: str) -> str:
    """A sentence for a missing option `name`, where another looks as if it was to be it."""
    found = get_close_matches(name.lower(), _unknown(binding), n=1, cutoff=0.5)
    return f" Is '{found[0]}' a slip of it?" if found else ""


def _unknown(binding: Binding) -> list[str]:
    known = {name.lower() for name in _KNOWN.get(binding.type, ())} | _OF_ALL
    return [name for name in binding.properties if name not in known]


def _advice(name: str, binding: Binding) -> str:
    known = {option.lower(): option for option in _KNOWN.get(binding.type, ())}
    found = get_close_matches(name, known, n=1, cutoff=0.5)
    if found:
        return f" Did you mean '{known[found[0]]}'?"
    return f" Known are {', '.join(known.values())}." if known else " Remove it."
