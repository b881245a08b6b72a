"""What either programming model says of one function, before anything of it is checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Declaration:
    """One function as the app declares it."""

    name: str
    bindings: list[Any]  # JSON objects, if the app is right
    call: Callable[..., Any]
    directory: str  # the folder of the file that defines it
    location: str  # "function_app.py:12", for messages
    config: Mapping[str, Any] = field(default_factory=dict)  # the rest of its function.json
    is_folder: bool = False  # from a folder with a function.json, not from a decorator
