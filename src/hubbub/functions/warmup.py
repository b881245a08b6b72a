"""`warmupTrigger`: what an app does before the first request reaches a new process."""

from types import SimpleNamespace
from typing import Any

import azure.functions as func


def warmup_context() -> Any:
    """The value that the function gets, from the official converter."""
    registry: Any = func.get_binding_registry()  # type: ignore[no-untyped-call]
    datum = SimpleNamespace(type="json", value="{}")
    return registry.get("warmupTrigger").decode(datum, trigger_metadata=None)
