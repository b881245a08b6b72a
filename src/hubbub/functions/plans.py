"""What each function needs to be called: its bindings, made ready once when the app is loaded.

Here is the table of binding types. It invokes nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any

from hubbub.functions.bindings import InputBinding, OutputBinding, Plan
from hubbub.functions.connections import Connections, setting_name
from hubbub.functions.function import Binding, Function, FunctionError, Refusal
from hubbub.functions.negotiation import ConnectionInfo, Endpoints, Negotiation
from hubbub.functions.response import HttpOutput
from hubbub.functions.settings import AppSettings
from hubbub.functions.signalr import SignalROutput
from hubbub.functions.webtypes import WebOutput

_INPUTS: dict[str, Callable[..., InputBinding]] = {
    "signalRConnectionInfo": ConnectionInfo,
    "signalRNegotiation": Negotiation,
    "signalREndpoints": Endpoints,
}
_OUTPUTS: dict[str, Callable[..., OutputBinding]] = {
    "signalR": SignalROutput,
    "http": lambda _, function, *rest: WebOutput() if function.web_types else HttpOutput(),
}
_SERVICE_TYPES = {*_INPUTS, "signalR"}  # bindings that make a call to a service, or a token for it


def build_plan(function: Function, settings: AppSettings, connections: Connections) -> Plan:
    """The plan of one function. Raises FunctionError where a binding cannot be what it says."""

    def build(table: dict[str, Callable[..., Any]], binding: Binding) -> Any:
        if binding.type not in table:
            raise FunctionError(
                f"the binding '{binding.name}' of type {binding.type} cannot have the direction "
                f"'{binding.direction}'."
            )
        return table[binding.type](binding, function, settings, connections)

    return Plan(
        function=function,
        trigger=function.trigger.name,
        inputs={binding.name: build(_INPUTS, binding) for binding in function.inputs},
        outputs={binding.name: build(_OUTPUTS, binding) for binding in function.outputs},
    )


def build_plans(
    functions: Iterable[Function],
    conflicts: Iterable[Refusal],
    settings: AppSettings,
    connections: Connections,
    start: Callable[[Plan], None],
) -> tuple[dict[str, Plan], list[Refusal]]:
    """The plans by function name, and the functions whose bindings are wrong.

    `start` is told each plan, to listen for its trigger; its FunctionError counts too.
    """
    taken = {refusal.name for refusal in conflicts}
    plans: dict[str, Plan] = {}
    failed: list[Refusal] = []
    for function in functions:
        if function.name in taken:
            continue
        try:
            plan = build_plan(function, settings, connections)
            start(plan)
            plans[function.name] = plan
        except FunctionError as error:
            failed.append(Refusal(function.name, str(error), function.location))
    return plans, failed


def talks_to_a_service(functions: Iterable[Function]) -> bool:
    """Whether a function has a binding that needs the client of a service."""
    kinds = {binding.type for function in functions for binding in function.bindings}
    return bool(kinds & _SERVICE_TYPES)


def connection_warnings(functions: Iterable[Function], connections: Connections) -> list[str]:
    """One for each connection setting that is missing or wrong, naming who needs it."""
    users: dict[str, list[str]] = {}
    for function in functions:
        for binding in function.bindings:
            if binding.type in _SERVICE_TYPES or binding.type == "signalRTrigger":
                names = users.setdefault(setting_name(binding), [])
                names += [] if function.name in names else [function.name]
    return [
        f"{problem} Needed by: {', '.join(names)}."
        for setting, names in users.items()
        if (problem := connections.problem(setting)) is not None
    ]
