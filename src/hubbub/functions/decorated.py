"""The programming model with decorators: one script with one `FunctionApp`.

An app that cannot be imported, or that declares something the library refuses, is one ConfigError.
"""

import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hubbub.errors import ConfigError
from hubbub.functions.declaration import Declaration
from hubbub.functions.importing import ImportFailure, extend_path, import_module, message
from hubbub.functions.trail import relative


def declared_by(root: Path, script: str) -> list[Declaration]:
    """Import the script with the app's folder first on the path; what it declares."""
    extend_path(root)
    stem = script.removesuffix(".py")
    # A registry of functions can be read once only, so a second load needs a new module.
    sys.modules.pop(stem, None)
    try:
        module = import_module(stem, root, script)
    except ImportFailure as error:
        text = f"{error.location}: the app cannot be loaded. {error}"
        raise ConfigError(text) from error.__cause__
    register = _app_object(module)
    try:
        return [_declaration(function, root, script) for function in register.get_functions()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # the library's own checks
        raise ConfigError(f"{script}: the app cannot be loaded. {message(error)}") from error


def _app_object(module: ModuleType) -> Any:
    from azure.functions import FunctionRegister

    script = f"{module.__name__}.py"
    found: dict[int, Any] = {}
    for name in dir(module):
        value = getattr(module, name, None)
        if isinstance(value, FunctionRegister):
            found[id(value)] = value
    if not found:
        raise ConfigError(
            f"Could not find top level function app instances in {script}. "
            "Write `app = func.FunctionApp()` at its top level and decorate functions with it."
        )
    apps = list(found.values())
    if len(apps) > 1:
        raise ConfigError(
            f"{script}: More than one {type(apps[0]).__name__} or other top level function app "
            "instances are defined. Keep one, and make the others blueprints."
        )
    return apps[0]


def _declaration(function: Any, root: Path, script: str) -> Declaration:
    call = function.get_user_function()
    code = getattr(inspect.unwrap(call), "__code__", None)
    filename = code.co_filename if code else str(root / script)
    line = f":{code.co_firstlineno}" if code else ""
    bindings = [json.loads(raw) for raw in function.get_raw_bindings()]
    config: dict[str, Any] = {"scriptFile": script, "bindings": bindings}
    if retry := function.get_settings_dict("retry_policy"):
        config["retry"] = retry
    return Declaration(
        name=function.get_function_name(),
        bindings=bindings,
        call=call,
        directory=str(Path(filename).resolve().parent),
        location=f"{relative(filename, root)}{line}",
        config=config,
    )
